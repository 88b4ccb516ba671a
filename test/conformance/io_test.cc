// READ (RFC 8881 §18.22), WRITE (§18.32), COMMIT (§18.3).
#include "conformance/conformance.h"

namespace perdure::conformance {
namespace {

using A = Attribute;

constexpr uint32_t unstable = 0, data_sync = 1, file_sync = 2;

struct Written {
  uint32_t count = 0, committed = 0;
  uint64_t verifier = 0;
};
Written written_of(const Reply& reply) {
  wire::XdrDecoder in = reply.in(OP_WRITE);
  Written w;
  w.count = in.get_u32();
  w.committed = in.get_u32();
  w.verifier = in.get_u64();
  EXPECT_TRUE(in.ok());
  return w;
}

class Io : public WithClients {
 public:
  void SetUp() override {
    WithClients::SetUp();
    file = alice.create_file("f");
  }
  Reply read(Nfsstat4 status, const Stateid& stateid, uint64_t offset = 0, uint32_t count = 10) {
    return alice.expect(status, alice.seq().fh(file.handle).read(stateid, offset, count));
  }
  Reply write(Nfsstat4 status, const Stateid& stateid, uint64_t offset = 0, const std::string& data = "x",
              uint32_t stable = file_sync) {
    return alice.expect(status, alice.seq().fh(file.handle).write(stateid, offset, data, stable));
  }
  uint64_t commit(uint64_t offset = 0, uint32_t count = 0) {
    return alice.ok(alice.seq().fh(file.handle).commit(offset, count)).in(OP_COMMIT).get_u64();
  }
  Client::Opened file;
};

TEST_F(Io, WhatWasWrittenIsRead) {
  for (const uint32_t stable : {unstable, data_sync, file_sync}) {
    const Written w = written_of(write(NFS4_OK, file.stateid, stable, "abc", stable));
    EXPECT_EQ(w.count, 3U);
    EXPECT_GE(w.committed, stable);
  }
  const ReadData all = data_of(read(NFS4_OK, file.stateid));
  EXPECT_EQ(all.data, "aaabc");
  EXPECT_TRUE(all.eof);
  EXPECT_EQ(data_of(read(NFS4_OK, file.stateid, 1, 2)).data, "aa");
  EXPECT_FALSE(data_of(read(NFS4_OK, file.stateid, 1, 2)).eof);
  EXPECT_TRUE(data_of(read(NFS4_OK, file.stateid, 3, 2)).eof);
  EXPECT_EQ(alice.u64_attribute(file.handle, A::size), 5U);
}

TEST_F(Io, AtAndBehindTheEnd) {
  write(NFS4_OK, file.stateid, 0, "0123456789");
  for (const uint64_t offset :
       {uint64_t{10}, uint64_t{11}, uint64_t{1} << 62U, uint64_t{INT64_MAX}, UINT64_MAX}) {
    const ReadData none = data_of(read(NFS4_OK, file.stateid, offset));
    EXPECT_EQ(none.data, "");
    EXPECT_TRUE(none.eof);
  }
  EXPECT_EQ(data_of(read(NFS4_OK, file.stateid, 9, UINT32_MAX)).data, "9");
  const ReadData nothing = data_of(read(NFS4_OK, file.stateid, 3, 0));
  EXPECT_EQ(nothing.data, "");
  EXPECT_FALSE(nothing.eof);
}

TEST_F(Io, HolesReadAsZeros) {
  write(NFS4_OK, file.stateid, 100000, "end");
  const ReadData hole = data_of(read(NFS4_OK, file.stateid, 5000, 3000));
  EXPECT_EQ(hole.data, std::string(3000, '\0'));
  EXPECT_FALSE(hole.eof);
  write(NFS4_OK, file.stateid, (uint64_t{1} << 62U), "far");
  EXPECT_EQ(data_of(read(NFS4_OK, file.stateid, (uint64_t{1} << 62U) - 2, 100)).data,
            std::string("\0\0far", 5));
  EXPECT_LT(alice.u64_attribute(file.handle, A::space_used), 1U << 20U);
}

TEST_F(Io, TheLargestOffsets) {
  constexpr uint64_t max = INT64_MAX;
  write(NFS4_OK, file.stateid, max - 1, "x");
  EXPECT_EQ(alice.u64_attribute(file.handle, A::size), max);
  EXPECT_EQ(data_of(read(NFS4_OK, file.stateid, max - 1)).data, "x");
  for (const uint64_t offset : {max, max + 1, UINT64_MAX - 1, UINT64_MAX}) {
    const Nfsstat4 status = alice.call(alice.seq().fh(file.handle).write(file.stateid, offset, "xx")).status;
    EXPECT_TRUE(status == NFS4ERR_FBIG || status == NFS4ERR_INVAL) << nfs4::name(status);
  }
  EXPECT_EQ(alice.u64_attribute(file.handle, A::size), max);
}

TEST_F(Io, AWriteOfNothing) {
  const uint64_t change = alice.u64_attribute(file.handle, A::change);
  EXPECT_EQ(written_of(write(NFS4_OK, file.stateid, 5, "")).count, 0U);
  EXPECT_EQ(alice.u64_attribute(file.handle, A::size), 0U);
  EXPECT_EQ(alice.u64_attribute(file.handle, A::change), change);
}

TEST_F(Io, MoreThanTheMaximum) {
  const uint64_t maxwrite = alice.u64_attribute(file.handle, A::maxwrite);
  const std::string much(maxwrite + 1000, 'm');
  const Written w = written_of(write(NFS4_OK, file.stateid, 0, much));
  EXPECT_GT(w.count, 0U);
  EXPECT_LE(w.count, much.size());
  EXPECT_EQ(alice.u64_attribute(file.handle, A::size), w.count);
}

TEST_F(Io, OpensAllowAccess) {
  const Client::Opened reader = alice.open_file("f", 1, 0, "reader");
  write(NFS4ERR_OPENMODE, reader.stateid);
  read(NFS4_OK, reader.stateid);
  const Client::Opened writer = alice.open_file("f", 2, 0, "writer");
  write(NFS4_OK, writer.stateid);
}

TEST_F(Io, SpecialStateids) {
  for (const Stateid& special : {anonymous(), read_bypass()}) {
    read(NFS4_OK, special);
    write(NFS4_OK, special);
  }
  for (const Stateid& invalid :
       {special_stateid(7, 0), special_stateid(0, 0xff), special_stateid(UINT32_MAX, 0)}) {
    read(NFS4ERR_BAD_STATEID, invalid);
    write(NFS4ERR_BAD_STATEID, invalid);
  }
}

TEST_F(Io, SpecialStateidsRespectShareReservations) {
  alice.ok(alice.seq().fh(file.handle).close(file.stateid));
  bob.open_file("f", 1, 3, "denier");
  write(NFS4ERR_LOCKED, anonymous());
  write(NFS4ERR_LOCKED, read_bypass());
  read(NFS4ERR_LOCKED, anonymous());
}

TEST_F(Io, WrongStateids) {
  const Client::Opened other = alice.create_file("g");
  for (const Stateid& wrong : {with_seqid(file.stateid, 2), other.stateid, special_stateid(1, 0x44)}) {
    read(NFS4ERR_BAD_STATEID, wrong);
    write(NFS4ERR_BAD_STATEID, wrong);
  }
  alice.open_file("f", 3, 0, "owner");
  read(NFS4ERR_OLD_STATEID, file.stateid);
  write(NFS4ERR_OLD_STATEID, file.stateid);
  read(NFS4_OK, with_seqid(file.stateid, 0));
  bob.expect(NFS4ERR_BAD_STATEID, bob.seq().fh(file.handle).read(with_seqid(file.stateid, 0), 0, 1));
  alice.ok(alice.seq().fh(file.handle).close(with_seqid(file.stateid, 2)));
  read(NFS4ERR_BAD_STATEID, with_seqid(file.stateid, 2));
}

TEST_F(Io, LockStateids) {
  const Stateid lock = stateid_of(
      alice.ok(alice.seq().fh(file.handle).lock_new(write_lock, 0, 10, file.stateid, "l")), OP_LOCK);
  write(NFS4_OK, lock);
  read(NFS4_OK, lock);
  read(NFS4ERR_BAD_STATEID, with_seqid(lock, 5));
  // Locks are advisory: what others read and write is not hindered.
  bob.ok(bob.seq().fh(file.handle).read(anonymous(), 0, 1));
}

TEST_F(Io, OtherTypes) {
  alice.mkdir("d");
  alice.ok(alice.seq().root().symlink("s", "t"));
  alice.ok(alice.seq().root().create(7, "p"));
  const std::pair<const char*, Nfsstat4> cases[] = {
      {"d", NFS4ERR_ISDIR}, {"s", NFS4ERR_SYMLINK}, {"p", NFS4ERR_WRONG_TYPE}};
  for (const auto& [name, status] : cases) {
    alice.expect(status, alice.seq().root().lookup(name).read(anonymous(), 0, 1));
    alice.expect(status, alice.seq().root().lookup(name).write(anonymous(), 0, "x"));
    alice.expect(status, alice.seq().root().lookup(name).commit(0, 0));
  }
}

TEST_F(Io, Permissions) {
  Client user(*this, "user", 1000);
  user.connect();
  user.ok(user.seq().fh(file.handle).read(anonymous(), 0, 1));
  user.expect(NFS4ERR_ACCESS, user.seq().fh(file.handle).write(anonymous(), 0, "x"));
  alice.ok(alice.seq().fh(file.handle).setattr(mode(0600)));
  user.expect(NFS4ERR_ACCESS, user.seq().fh(file.handle).read(anonymous(), 0, 1));
}

TEST_F(Io, BadStability) {
  alice.expect(NFS4ERR_BADXDR, alice.seq().fh(file.handle).write(file.stateid, 0, "x", 3));
}

TEST_F(Io, StableDataSurvives) {
  write(NFS4_OK, file.stateid, 0, std::string(50000, 's'));
  write(NFS4_OK, file.stateid, 20000, "data", data_sync);
  restart();
  EXPECT_EQ(data_of(read(NFS4_OK, file.stateid, 19998, 8)).data, "ssdatass");
}

TEST_F(Io, CommittedDataSurvives) {
  const Written w = written_of(write(NFS4_OK, file.stateid, 0, std::string(300000, 'u'), unstable));
  EXPECT_EQ(commit(), w.verifier);
  restart();
  EXPECT_EQ(data_of(read(NFS4_OK, file.stateid, 299995, 100)).data, "uuuuu");
  EXPECT_EQ(alice.u64_attribute(file.handle, A::size), 300000U);
}

// What was not committed may be lost: then the verifier says so.
TEST_F(Io, LostDataIsToldByTheVerifier) {
  const Written w = written_of(write(NFS4_OK, file.stateid, 0, std::string(100000, 'u'), unstable));
  if (w.committed != unstable) return;
  restart();
  const std::string now = alice.content(file.handle);
  if (now != std::string(100000, 'u')) {
    EXPECT_NE(commit(), w.verifier);
  }
}

TEST_F(Io, Commit) {
  write(NFS4_OK, file.stateid, 0, std::string(20000, 'x'), unstable);
  const uint64_t verifier = commit(4096, 100);
  EXPECT_EQ(commit(), verifier);
  EXPECT_EQ(commit(1U << 30U, 0), verifier);
  EXPECT_EQ(commit(UINT64_MAX, 0), verifier);
  EXPECT_EQ(written_of(write(NFS4_OK, file.stateid, 0, "x", unstable)).verifier, verifier);
  alice.expect(NFS4ERR_INVAL, alice.seq().fh(file.handle).commit(UINT64_MAX - 5, 100));
}

}  // namespace
}  // namespace perdure::conformance
