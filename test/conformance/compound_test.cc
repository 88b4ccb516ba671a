// COMPOUND as a whole (RFC 8881 §16.2): minor versions, tags, what may stand where, operations that are not
// there, and requests that are not well-formed.
#include "conformance/conformance.h"

namespace perdure::conformance {
namespace {

class Compound : public WithClients {};

TEST_F(Compound, MinorVersions) {
  for (const uint32_t minor : {3U, 99U, UINT32_MAX}) {
    const Reply reply = expect(NFS4ERR_MINOR_VERS_MISMATCH, Ops(minor).root());
    EXPECT_TRUE(reply.results.empty());
  }
  for (const uint32_t minor : {1U, 2U}) {
    Client client(*this, "minor" + std::to_string(minor), 0, minor);
    client.connect();
    client.ok(client.seq().root().mkdir("d" + std::to_string(minor)));
  }
}

TEST_F(Compound, OfNoOperations) {
  EXPECT_TRUE(expect(NFS4_OK, Ops(1)).results.empty());
  EXPECT_TRUE(expect(NFS4_OK, Ops(2)).results.empty());
}

TEST_F(Compound, TagsComeBack) {
  for (const std::string& tag : {std::string(), std::string("x"), std::string("a tag"),
                                 std::string(1000, 't'), std::string("\xc3\xa4\0", 3)}) {
    EXPECT_EQ(expect(NFS4_OK, Ops(2, tag)).tag, tag);
    EXPECT_EQ(expect(NFS4ERR_OP_NOT_IN_SESSION, Ops(2, tag).root()).tag, tag);
    EXPECT_EQ(expect(NFS4ERR_MINOR_VERS_MISMATCH, Ops(9, tag).root()).tag, tag);
    Ops ops(2, tag);
    ops.sequence(alice.session(), 1, 5, 5, false);
    const Reply reply = call(ops);
    EXPECT_EQ(reply.tag, tag);
    restart();
    expect(NFS4_OK, destroy_session(alice.session()));
    alice.connect(false);
  }
}

TEST_F(Compound, WithoutASession) {
  for (const Opnum4 operation : {OP_PUTROOTFH, OP_GETFH, OP_GETATTR, OP_OPEN, OP_WRITE, OP_TEST_STATEID,
                                 OP_RECLAIM_COMPLETE, OP_LAYOUTGET, OP_SETCLIENTID, OP_RENEW}) {
    const Reply reply = expect(NFS4ERR_OP_NOT_IN_SESSION, Ops().op(operation));
    ASSERT_EQ(reply.results.size(), 1U);
    EXPECT_EQ(reply.results[0].operation, operation);
  }
}

TEST_F(Compound, OperationsThatAreNotThere) {
  for (const Opnum4 operation :
       {OP_DELEGPURGE, OP_OPENATTR, OP_OPEN_CONFIRM, OP_RENEW, OP_SETCLIENTID, OP_SETCLIENTID_CONFIRM,
        OP_RELEASE_LOCKOWNER, OP_GET_DIR_DELEGATION, OP_GETDEVICEINFO, OP_GETDEVICELIST, OP_LAYOUTCOMMIT,
        OP_LAYOUTGET, OP_LAYOUTRETURN, OP_SET_SSV, OP_WANT_DELEGATION}) {
    const Reply reply = alice.expect(NFS4ERR_NOTSUPP, alice.seq().root().op(operation).root());
    EXPECT_EQ(reply.results.size(), 3U);
    EXPECT_EQ(reply.results.back().operation, operation);
  }
}

// Of 4.2 each is either there or NFS4ERR_NOTSUPP; in 4.1 there is no such number.
TEST_F(Compound, OperationsOfMinorVersionTwo) {
  Client old(*this, "old", 0, 1);
  old.connect();
  for (auto n = static_cast<uint32_t>(OP_ALLOCATE); n <= static_cast<uint32_t>(OP_REMOVEXATTR); ++n) {
    const auto operation = static_cast<Opnum4>(n);
    const Reply reply = old.expect(NFS4ERR_OP_ILLEGAL, old.seq().root().op(operation));
    EXPECT_EQ(reply.results.back().operation, OP_ILLEGAL);
    EXPECT_NE(alice.call(alice.seq().root().op(operation)).status, NFS4ERR_OP_ILLEGAL) << n;
  }
}

TEST_F(Compound, NumbersThatAreNoOperations) {
  for (const uint32_t n : {0U, 1U, 2U, 76U, 100U, 1000U, static_cast<uint32_t>(OP_ILLEGAL), UINT32_MAX}) {
    const Reply first = expect(NFS4ERR_OP_ILLEGAL, Ops().op(static_cast<Opnum4>(n)));
    EXPECT_EQ(first.results.back().operation, OP_ILLEGAL);
    const Reply behind =
        alice.expect(NFS4ERR_OP_ILLEGAL, alice.seq().root().op(static_cast<Opnum4>(n)).getfh());
    EXPECT_EQ(behind.results.back().operation, OP_ILLEGAL);
    EXPECT_EQ(behind.results.size(), 3U);
  }
}

TEST_F(Compound, ItEndsWithItsFirstError) {
  const Reply reply = alice.expect(NFS4ERR_NOENT, alice.seq().root().mkdir("a").lookup("x").mkdir("b"));
  EXPECT_EQ(reply.results.size(), 4U);
  alice.ok(alice.seq().root().lookup("a"));
  alice.expect(NFS4ERR_NOENT, alice.seq().root().lookup("a").lookup("b"));
}

// Each of them is answered: until an operation lacks arguments the ones before it are executed.
TEST_F(Compound, CutOffAtEachByte) {
  const Client::Opened f = alice.create_file("f");
  const Ops ops = alice.seq(3)
                      .root()
                      .lookup("f")
                      .getattr({Attribute::type, Attribute::size, Attribute::owner})
                      .savefh()
                      .read(f.stateid, 0, 100)
                      .write(f.stateid, 5, "some data")
                      .lock_new(write_lock, 0, 5, f.stateid, "lock owner")
                      .root()
                      .readdir(0, 0, 1000, 1000, {Attribute::fileid})
                      .open({.name = "g", .how = How::exclusive_41, .attributes = mode(0600), .verifier = 5})
                      .close(current_stateid())
                      .root()
                      .setxattr(set_either, "name", "value")
                      .getxattr("name")
                      .listxattrs(0, 1000)
                      .removexattr("name")
                      .rename("nothing", "else");
  const ByteVector whole = ops.finish();
  constexpr size_t header = 12, sequence = 36;
  uint32_t seqid = 0;
  for (size_t size = 0; size < whole.size(); ++size) {
    SCOPED_TRACE(size);
    ByteVector part(whole.begin(), whole.begin() + static_cast<ptrdiff_t>(size));
    if (size >= header + sequence) {
      wire::XdrEncoder next;
      next.put_u32(++seqid);
      const ByteVector word = next.flatten();
      std::memcpy(part.data() + 32, word.data(), word.size());
    }
    const std::optional<Reply> reply = send(part);
    EXPECT_EQ(reply.has_value(), size >= header) << "without a header it is RPC's GARBAGE_ARGS";
    if (!reply) continue;
    EXPECT_EQ(nfs4::name(reply->status), std::string("NFS4ERR_BADXDR"));
    EXPECT_EQ(reply->results.size() > 1, size >= header + sequence);
  }
  EXPECT_EQ(seqid, whole.size() - header - sequence);
}

TEST_F(Compound, CountsThatPromiseTooMuch) {
  // More operations than there are bytes.
  wire::XdrEncoder out;
  out.put_string("");
  out.put_u32(2);
  out.put_u32(UINT32_MAX);
  const std::optional<Reply> reply = send(out.flatten());
  ASSERT_TRUE(reply.has_value());
  EXPECT_EQ(nfs4::name(reply->status), std::string("NFS4ERR_BADXDR"));
  alice.expect(NFS4ERR_BADXDR, alice.seq().op(OP_TEST_STATEID).u32(UINT32_MAX));
  alice.expect(NFS4ERR_BADXDR, alice.seq().op(OP_TEST_STATEID).u32(1U << 28U));
  alice.expect(NFS4ERR_BADXDR, alice.seq().root().op(OP_GETATTR).u32(UINT32_MAX));
  alice.expect(NFS4ERR_BADXDR, alice.seq().root().op(OP_LOOKUP).u32(UINT32_MAX));
  alice.expect(NFS4ERR_BADXDR, alice.seq().root().op(OP_LOOKUP).u32(UINT32_MAX - 3));
  alice.expect(NFS4ERR_BADXDR, alice.seq().root().op(OP_PUTFH).u32(128));
  alice.expect(NFS4ERR_BADXDR, alice.seq().root().op(OP_SETXATTR).u32(0).text("a").u32(UINT32_MAX));
  alice.expect(NFS4ERR_BADXDR, alice.seq().root().op(OP_SETXATTR).u32(0).u32(UINT32_MAX));
  alice.expect(NFS4ERR_BADXDR, alice.seq().root().op(OP_GETXATTR).u32(UINT32_MAX - 2));
}

// What stands behind the last operation is nobody's.
TEST_F(Compound, BytesBehindTheLastOperation) {
  ByteVector bytes = alice.seq().root().finish();
  bytes.resize(bytes.size() + 8);
  const std::optional<Reply> reply = send(bytes);
  ASSERT_TRUE(reply.has_value());
  EXPECT_EQ(reply->status, NFS4_OK);
}

class ReadOnly : public WithClients {};

TEST_F(ReadOnly, NothingChanges) {
  const Client::Opened f = alice.create_file("f");
  alice.mkdir("d");
  alice.ok(alice.seq().fh(f.handle).setxattr(set_either, "x", "value"));
  server.crash();
  server.options.nfs.exports[0].read_only = true;
  server.start();
  alice.expect(NFS4ERR_ROFS, alice.seq().root().mkdir("x"));
  alice.expect(NFS4ERR_ROFS, alice.seq().root().remove("f"));
  alice.expect(NFS4ERR_ROFS, alice.seq().root().savefh().rename("f", "g"));
  alice.expect(NFS4ERR_ROFS, alice.seq().fh(f.handle).savefh().root().link("g"));
  alice.expect(NFS4ERR_ROFS, alice.seq().fh(f.handle).setattr(mode(0)));
  alice.expect(NFS4ERR_ROFS, alice.seq().fh(f.handle).write(f.stateid, 0, "x"));
  alice.expect(NFS4ERR_ROFS, alice.seq().root().open({.name = "x", .how = How::guarded}));
  alice.expect(NFS4ERR_ROFS, alice.seq().root().open({.name = "f", .access = 2}));
  alice.ok(alice.seq().root().open({.name = "f", .access = 1}).read(current_stateid(), 0, 1));
  alice.expect(NFS4ERR_EXIST, alice.seq().root().open({.name = "f", .how = How::guarded, .access = 1}));
  alice.ok(alice.seq().root().readdir(0, 0, 1000, 1000));
  alice.expect(NFS4ERR_ROFS, alice.seq().fh(f.handle).setxattr(set_either, "x", "other"));
  alice.expect(NFS4ERR_ROFS, alice.seq().fh(f.handle).removexattr("x"));
  alice.ok(alice.seq().fh(f.handle).getxattr("x").listxattrs(0, 1000));
  constexpr uint32_t xattr_read = 0x40, xattr_write = 0x80, xattr_list = 0x100;
  const Reply access = alice.ok(alice.seq().fh(f.handle).access(xattr_read | xattr_write | xattr_list));
  wire::XdrDecoder in = access.in(OP_ACCESS);
  EXPECT_EQ(in.get_u32(), xattr_read | xattr_write | xattr_list);
  EXPECT_EQ(in.get_u32(), xattr_read | xattr_list);
}

}  // namespace
}  // namespace perdure::conformance
