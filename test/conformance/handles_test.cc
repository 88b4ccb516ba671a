// File handles, current and saved (RFC 8881 §4, §16.2.3.1), LOOKUP, LOOKUPP, names, SECINFO, and ACCESS.
#include "conformance/conformance.h"

namespace perdure::conformance {
namespace {

class Handles : public WithClients {};

TEST_F(Handles, TheRootAndThePublicHandleAreOne) {
  const Reply reply = alice.ok(alice.seq().root().getfh());
  EXPECT_EQ(handle_of(alice.ok(alice.seq().op(OP_PUTPUBFH).getfh())), handle_of(reply));
  EXPECT_EQ(handle_of(bob.ok(bob.seq().root().getfh())), handle_of(reply));
}

TEST_F(Handles, HandlesStayValidForEver) {
  const ByteVector d = alice.mkdir("d");
  const Client::Opened f = alice.create_file("f");
  for (int i = 0; i < 3; ++i) {
    restart();
    alice.ok(alice.seq().fh(d).getattr({Attribute::type}));
    bob.ok(bob.seq().fh(f.handle).getattr({Attribute::type}));
  }
  // Also when the object moves.
  alice.ok(alice.seq().root().savefh().fh(d).rename("f", "g"));
  alice.ok(alice.seq().fh(f.handle).getattr({Attribute::type}));
  EXPECT_EQ(alice.handle({"d", "g"}), f.handle);
}

TEST_F(Handles, HandlesOfWhatWasRemovedAreStale) {
  const ByteVector d = alice.mkdir("d");
  alice.ok(alice.seq().root().remove("d"));
  alice.expect(NFS4ERR_STALE, alice.seq().fh(d));
  const ByteVector again = alice.mkdir("d");
  EXPECT_NE(again, d);
  alice.expect(NFS4ERR_STALE, alice.seq().fh(d));
  restart();
  alice.expect(NFS4ERR_STALE, alice.seq().fh(d));
}

TEST_F(Handles, TheCurrentHandleMayBecomeStaleWithinACompound) {
  const ByteVector d = alice.mkdir("d");
  alice.expect(NFS4ERR_STALE,
               alice.seq().fh(d).savefh().root().remove("d").restorefh().getattr({Attribute::type}));
  const ByteVector e = alice.mkdir("e");
  alice.expect(NFS4ERR_STALE, alice.seq().fh(e).savefh().root().remove("e").restorefh().mkdir("f"));
}

TEST_F(Handles, BadHandles) {
  ByteVector handle = alice.mkdir("d");
  alice.expect(NFS4ERR_BADHANDLE, alice.seq().fh({}));
  alice.expect(NFS4ERR_BADHANDLE, alice.seq().fh(ByteVector(128)));
  alice.expect(NFS4ERR_BADXDR, alice.seq().fh(ByteVector(129)));
  for (size_t i = 0; i < handle.size(); ++i) {
    ByteVector other = handle;
    other[i] ^= std::byte{0x40};
    const Nfsstat4 status = alice.call(alice.seq().fh(other)).status;
    EXPECT_TRUE(status == NFS4ERR_BADHANDLE || status == NFS4ERR_STALE) << i << nfs4::name(status);
  }
  handle.pop_back();
  alice.expect(NFS4ERR_BADHANDLE, alice.seq().fh(handle));
}

TEST_F(Handles, SaveAndRestore) {
  const ByteVector d = alice.mkdir("d");
  alice.expect(NFS4ERR_NOFILEHANDLE, alice.seq().savefh());
  alice.expect(NFS4ERR_NOFILEHANDLE, alice.seq().restorefh());
  alice.expect(NFS4ERR_NOFILEHANDLE, alice.seq().root().restorefh());
  EXPECT_EQ(handle_of(alice.ok(alice.seq().fh(d).savefh().root().restorefh().getfh())), d);
  // What is saved stays saved.
  EXPECT_EQ(handle_of(alice.ok(alice.seq().fh(d).savefh().restorefh().root().restorefh().getfh())), d);
  // And only within its COMPOUND.
  alice.expect(NFS4ERR_NOFILEHANDLE, alice.seq().getfh());
}

TEST_F(Handles, OperationsNeedThem) {
  const Ops without[] = {
      alice.seq().getfh(),
      alice.seq().lookup("x"),
      alice.seq().lookupp(),
      alice.seq().getattr({Attribute::type}),
      alice.seq().setattr(mode(0)),
      alice.seq().access(1),
      alice.seq().readdir(0, 0, 1000, 1000),
      alice.seq().mkdir("x"),
      alice.seq().remove("x"),
      alice.seq().readlink(),
      alice.seq().open({.name = "x"}),
      alice.seq().close(anonymous()),
      alice.seq().downgrade(anonymous(), 1, 0),
      alice.seq().read(anonymous(), 0, 1),
      alice.seq().write(anonymous(), 0, "x"),
      alice.seq().commit(0, 0),
      alice.seq().lock_new(1, 0, 1, anonymous(), "o"),
      alice.seq().lockt(1, 0, 1, "o"),
      alice.seq().locku(1, 0, 1, anonymous()),
      alice.seq().verify({}),
      alice.seq().nverify({}),
      alice.seq().secinfo("x"),
      alice.seq().secinfo_no_name(0),
      alice.seq().link("x"),
      alice.seq().rename("x", "y"),
      alice.seq().getxattr("x"),
      alice.seq().setxattr(set_either, "x", "y"),
      alice.seq().listxattrs(0, 1000),
      alice.seq().removexattr("x"),
      alice.seq().root().link("x"),
      alice.seq().root().rename("x", "y"),
  };
  for (const Ops& ops : without) alice.expect(NFS4ERR_NOFILEHANDLE, ops);
}

TEST_F(Handles, Lookup) {
  const ByteVector d = alice.mkdir("d");
  EXPECT_EQ(alice.handle({"d"}), d);
  alice.expect(NFS4ERR_NOENT, alice.seq().root().lookup("nothing"));
  alice.expect(NFS4ERR_NOENT, alice.seq().root().lookup("d").lookup("e").lookup("f"));
  alice.create_file("f");
  alice.expect(NFS4ERR_NOTDIR, alice.seq().root().lookup("f").lookup("x"));
  alice.ok(alice.seq().root().symlink("s", "d"));
  alice.expect(NFS4ERR_SYMLINK, alice.seq().root().lookup("s").lookup("x"));
  alice.ok(alice.seq().root().create(7, "p"));
  alice.expect(NFS4ERR_NOTDIR, alice.seq().root().lookup("p").lookup("x"));
  // An error leaves the results of what came before.
  EXPECT_EQ(alice.expect(NFS4ERR_NOENT, alice.seq().root().lookup("x").getfh()).results.size(), 3U);
}

TEST_F(Handles, Lookupp) {
  const ByteVector d = alice.mkdir("d");
  const ByteVector e = handle_of(alice.ok(alice.seq().fh(d).mkdir("e").getfh()));
  EXPECT_EQ(handle_of(alice.ok(alice.seq().fh(e).lookupp().getfh())), d);
  alice.expect(NFS4ERR_NOENT, alice.seq().fh(e).lookupp().lookupp().lookupp());
  alice.ok(alice.seq().fh(d).savefh().root().rename("e", "f"));
  EXPECT_EQ(handle_of(alice.ok(alice.seq().fh(e).lookupp().lookup("d").getfh())), d);
  const Client::Opened f = alice.create_file("file");
  alice.expect(NFS4ERR_NOTDIR, alice.seq().fh(f.handle).lookupp());
  alice.ok(alice.seq().root().symlink("s", "d"));
  alice.expect(NFS4ERR_SYMLINK, alice.seq().root().lookup("s").lookupp());
}

TEST_F(Handles, DirectoriesThatOneMayNotPass) {
  const ByteVector d = alice.mkdir("d", 0700);
  alice.ok(alice.seq().fh(d).mkdir("e", mode(0777)));
  Client user(*this, "user", 1000);
  user.connect();
  user.expect(NFS4ERR_ACCESS, user.seq().root().lookup("d").lookup("e"));
  user.expect(NFS4ERR_ACCESS, user.seq().fh(d).lookupp());
  user.expect(NFS4ERR_ACCESS, user.seq().fh(d).secinfo("e"));
  user.expect(NFS4ERR_ACCESS, user.seq().fh(d).lookup("nothing"));
}

class Names : public WithClients {
 public:
  // With each operation that has a name.
  void expect_all(Nfsstat4 status, const std::string& name) {
    SCOPED_TRACE("a name of " + std::to_string(name.size()) + " bytes");
    alice.expect(status, alice.seq().root().lookup(name));
    alice.expect(status, alice.seq().root().mkdir(name));
    alice.expect(status, alice.seq().root().symlink(name, "target"));
    alice.expect(status, alice.seq().root().remove(name));
    alice.expect(status, alice.seq().root().secinfo(name));
    alice.expect(status, alice.seq().root().open({.name = name}));
    alice.expect(status, alice.seq().root().open({.name = name, .how = How::guarded}));
    alice.expect(status, alice.seq().root().lookup("f").savefh().root().link(name));
    alice.expect(status, alice.seq().root().savefh().rename(name, "to"));
    alice.expect(status, alice.seq().root().savefh().rename("f", name));
  }
};

TEST_F(Names, WhatIsNoName) {
  alice.create_file("f");
  expect_all(NFS4ERR_INVAL, "");
  expect_all(NFS4ERR_BADNAME, ".");
  expect_all(NFS4ERR_BADNAME, "..");
  expect_all(NFS4ERR_BADCHAR, "a/b");
  expect_all(NFS4ERR_BADCHAR, "/");
  expect_all(NFS4ERR_BADCHAR, std::string("a\0b", 3));
  expect_all(NFS4ERR_NAMETOOLONG, std::string(256, 'a'));
  expect_all(NFS4ERR_NAMETOOLONG, std::string(1025, 'a'));
  expect_all(NFS4ERR_NAMETOOLONG, std::string(70000, 'a'));
}

TEST_F(Names, NamesAreBytes) {
  const std::string names[] = {std::string(255, 'a'), "...", "a b", "A", "a", "\xff\xfe", "\xc3\xa4",
                               "a\xcc\x88",           "\n",  "~",   " "};
  std::set<ByteVector> handles;
  for (const std::string& name : names) handles.insert(alice.mkdir(name));
  EXPECT_EQ(handles.size(), std::size(names));
  restart();
  for (const std::string& name : names) EXPECT_TRUE(handles.contains(alice.handle({name})));
}

class Access : public WithClients {
 public:
  static constexpr uint32_t read = 1, lookup = 2, modify = 4, extend = 8, remove = 16, execute = 32;
  std::pair<uint32_t, uint32_t> of(Client& client, Bytes handle, uint32_t wanted = 63) {
    const Reply reply = client.ok(client.seq().fh(handle).access(wanted));
    wire::XdrDecoder in = reply.in(OP_ACCESS);
    const uint32_t supported = in.get_u32();
    return {supported, in.get_u32()};
  }
};

TEST_F(Access, OfFilesAndDirectories) {
  const ByteVector d = alice.mkdir("d", 0755), f = alice.create_file("f", "o", 0640).handle;
  using Pair = std::pair<uint32_t, uint32_t>;
  EXPECT_EQ(of(alice, d),
            Pair(read | lookup | modify | extend | remove, read | lookup | modify | extend | remove));
  EXPECT_EQ(of(alice, f), Pair(read | modify | extend | execute, read | modify | extend));
  Client user(*this, "user", 1000);
  user.connect();
  EXPECT_EQ(of(user, d), Pair(read | lookup | modify | extend | remove, read | lookup));
  EXPECT_EQ(of(user, f), Pair(read | modify | extend | execute, 0));
  EXPECT_EQ(of(user, d, read), Pair(read, read));
  EXPECT_EQ(of(user, d, 0), Pair(0, 0));
  EXPECT_EQ(of(user, f, lookup | remove), Pair(0, 0));
  // Bits that nobody knows are not supported, and no error.
  EXPECT_EQ(of(user, d, 0xfffffe00), Pair(0, 0));
}

TEST_F(Access, OfEachClassOfUsers) {
  Client owner(*this, "owner", 1000), other(*this, "other", 2000);
  owner.connect();
  other.connect();
  for (uint32_t bits = 0; bits < 8; ++bits) {
    const std::string name = "f" + std::to_string(bits);
    const ByteVector f = alice.create_file(name, "o", bits << 6U).handle;
    alice.ok(alice.seq().fh(f).setattr(Fattr().text(Attribute::owner, "1000")));
    const uint32_t expected = ((bits & 4) != 0 ? read : 0) | ((bits & 2) != 0 ? modify | extend : 0) |
                              ((bits & 1) != 0 ? execute : 0);
    EXPECT_EQ(of(owner, f).second, expected) << bits;
    EXPECT_EQ(of(other, f).second, 0U) << bits;
    alice.ok(alice.seq().fh(f).setattr(mode(bits)));
    EXPECT_EQ(of(other, f).second, expected) << bits;
    EXPECT_EQ(of(owner, f).second, 0U) << bits;
  }
}

class Secinfo : public WithClients {};

TEST_F(Secinfo, GivesFlavorsAndConsumesTheHandle) {
  alice.mkdir("d");
  for (const Ops& ops : {alice.seq().root().secinfo("d"), alice.seq(1).root().secinfo_no_name(0),
                         alice.seq(2).root().lookup("d").secinfo_no_name(1)}) {
    const Reply reply = alice.ok(ops);
    wire::XdrDecoder in(reply.results.back().body);
    ASSERT_GE(in.get_u32(), 1U);
    EXPECT_EQ(in.get_u32(), 1U) << "AUTH_SYS";
  }
  alice.expect(NFS4ERR_NOFILEHANDLE, alice.seq().root().secinfo("d").getfh());
  alice.expect(NFS4ERR_NOFILEHANDLE, alice.seq().root().secinfo_no_name(0).getfh());
  alice.ok(alice.seq().root().savefh().secinfo("d").restorefh().getfh());
}

TEST_F(Secinfo, Errors) {
  alice.create_file("f");
  alice.expect(NFS4ERR_NOENT, alice.seq().root().secinfo("nothing"));
  alice.expect(NFS4ERR_NOTDIR, alice.seq().root().lookup("f").secinfo("x"));
  alice.expect(NFS4ERR_NOENT, alice.seq().root().secinfo_no_name(1));
  alice.expect(NFS4ERR_NOTDIR, alice.seq().root().lookup("f").secinfo_no_name(1));
  alice.expect(NFS4ERR_BADXDR, alice.seq().root().secinfo_no_name(2));
}

}  // namespace
}  // namespace perdure::conformance
