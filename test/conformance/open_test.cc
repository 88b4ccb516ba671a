// OPEN (RFC 8881 §18.16), OPEN_DOWNGRADE (§18.18), CLOSE (§18.2).
#include "conformance/conformance.h"

namespace perdure::conformance {
namespace {

using A = Attribute;

constexpr uint32_t claim_previous = 1, claim_delegate_cur = 2, claim_fh = 4, claim_delegate_prev_fh = 6;

class Open : public WithClients {
 public:
  Reply open(Client& client, const OpenCall& call, Nfsstat4 status = NFS4_OK) {
    return client.expect(status, client.seq().root().open(call).getfh());
  }
};

TEST_F(Open, ItsResult) {
  const uint64_t before = alice.u64_attribute(alice.handle({}), A::change);
  const Reply reply = open(alice, {.name = "f", .how = How::guarded, .attributes = mode(0640)});
  wire::XdrDecoder in = reply.in(OP_OPEN);
  EXPECT_EQ(in.get_u32(), 1U) << "the seqid of a new stateid";
  in.get_opaque_fixed(12);
  EXPECT_TRUE(in.get_bool());
  EXPECT_EQ(in.get_u64(), before);
  EXPECT_EQ(in.get_u64(), alice.u64_attribute(alice.handle({}), A::change));
  EXPECT_EQ(in.get_u32() & 2U, 0U) << "OPEN4_RESULT_CONFIRM is of 4.0";
  EXPECT_EQ(alice.handle({"f"}), handle_of(reply));
  EXPECT_EQ(alice.u32_attribute(handle_of(reply), A::mode), 0640U);
}

TEST_F(Open, OfWhatIsThere) {
  const Client::Opened f = alice.create_file("f");
  EXPECT_EQ(bob.open_file("f", 1, 0, "o").handle, f.handle);
  open(bob, {.name = "nothing"}, NFS4ERR_NOENT);
  alice.mkdir("d");
  alice.ok(alice.seq().root().symlink("s", "f"));
  alice.ok(alice.seq().root().create(7, "p"));
  alice.ok(alice.seq().root().device(4, "c", 1, 3));
  for (const How how : {How::no_create, How::unchecked}) {
    open(bob, {.name = "d", .how = how}, NFS4ERR_ISDIR);
    open(bob, {.name = "s", .how = how}, NFS4ERR_SYMLINK);
    open(bob, {.name = "p", .how = how}, NFS4ERR_WRONG_TYPE);
    open(bob, {.name = "c", .how = how}, NFS4ERR_WRONG_TYPE);
  }
  bob.expect(NFS4ERR_NOTDIR, bob.seq().fh(f.handle).open({.name = "x"}));
  const Nfsstat4 on_link = bob.call(bob.seq().root().lookup("s").open({.name = "x"})).status;
  EXPECT_TRUE(on_link == NFS4ERR_NOTDIR || on_link == NFS4ERR_SYMLINK) << nfs4::name(on_link);
}

TEST_F(Open, Unchecked) {
  const Reply made = open(alice, {.name = "f", .how = How::unchecked, .attributes = mode(0600)});
  const ByteVector f = handle_of(made);
  alice.ok(alice.seq().fh(f).write(stateid_of(made, OP_OPEN), 0, "content"));
  // Of an existing file nothing is set but a size of zero.
  open(bob, {.name = "f", .how = How::unchecked, .attributes = mode(0777)});
  EXPECT_EQ(alice.u32_attribute(f, A::mode), 0600U);
  EXPECT_EQ(alice.content(f), "content");
  open(bob, {.name = "f", .how = How::unchecked, .attributes = mode(0777).u64(A::size, 3)});
  EXPECT_EQ(alice.content(f), "content");
  open(bob, {.name = "f", .how = How::unchecked, .attributes = file_size(0)});
  EXPECT_EQ(alice.content(f), "");
  EXPECT_EQ(alice.u32_attribute(f, A::mode), 0600U);
}

TEST_F(Open, Guarded) {
  open(alice, {.name = "f", .how = How::guarded, .attributes = file_size(100)});
  EXPECT_EQ(alice.u64_attribute(alice.handle({"f"}), A::size), 100U);
  open(alice, {.name = "f", .how = How::guarded}, NFS4ERR_EXIST);
  alice.mkdir("d");
  open(alice, {.name = "d", .how = How::guarded}, NFS4ERR_EXIST);
}

TEST_F(Open, Exclusive) {
  for (const How how : {How::exclusive, How::exclusive_41}) {
    const std::string name = how == How::exclusive ? "old" : "new";
    const Reply first = open(alice, {.name = name, .how = how, .verifier = 77});
    restart();
    const Reply again = open(alice, {.name = name, .how = how, .verifier = 77});
    EXPECT_EQ(handle_of(again), handle_of(first));
    open(alice, {.name = name, .how = how, .verifier = 78}, NFS4ERR_EXIST);
    open(bob, {.name = name, .how = how, .verifier = 0}, NFS4ERR_EXIST);
  }
  alice.create_file("guarded");
  open(alice, {.name = "guarded", .how = How::exclusive_41, .verifier = 0}, NFS4ERR_EXIST);
}

TEST_F(Open, ExclusiveWithAttributes) {
  const Reply reply =
      open(alice, {.name = "f", .how = How::exclusive_41, .attributes = mode(0604), .verifier = 5});
  EXPECT_EQ(alice.u32_attribute(handle_of(reply), A::mode), 0604U);
  open(alice, {.name = "g", .how = How::exclusive_41, .attributes = Fattr().u64(A::fileid, 1), .verifier = 5},
       NFS4ERR_INVAL);
  open(alice, {.name = "g"}, NFS4ERR_NOENT);
}

TEST_F(Open, BadAttributes) {
  for (const How how : {How::unchecked, How::guarded, How::exclusive_41}) {
    open(alice, {.name = "f", .how = how, .attributes = Fattr().u32(A::type, 1)}, NFS4ERR_INVAL);
    open(alice, {.name = "f", .how = how, .attributes = Fattr().u32(static_cast<A>(14), 1)},
         NFS4ERR_ATTRNOTSUPP);
    open(alice, {.name = "f", .how = how, .attributes = Fattr().text(A::owner, "x")}, NFS4ERR_BADOWNER);
    open(alice, {.name = "f", .how = how, .attributes = file_size(UINT64_MAX)}, NFS4ERR_FBIG);
  }
  alice.expect(NFS4ERR_NOENT, alice.seq().root().lookup("f"));
}

TEST_F(Open, BadArguments) {
  alice.create_file("f");
  open(alice, {.name = "f", .access = 0}, NFS4ERR_INVAL);
  open(alice, {.name = "f", .access = 4}, NFS4ERR_INVAL);
  open(alice, {.name = "f", .access = 0x400001}, NFS4ERR_INVAL);
  open(alice, {.name = "f", .access = 0x300001});  // wishes of RFC 9754
  open(alice, {.name = "f", .deny = 4}, NFS4ERR_INVAL);
  open(alice, {.name = "f", .owner = std::string(1025, 'o')}, NFS4ERR_BADXDR);
  open(alice, {.name = "f", .owner = std::string(1024, 'o')});
  open(alice, {.claim = 7}, NFS4ERR_BADXDR);
  const auto raw = [&](uint32_t type, uint32_t how) {
    return alice.seq().root().op(OP_OPEN).u32(0).u32(3).u32(0).u64(0).text("o").u32(type).u32(how).u32(0).u32(
        0);
  };
  alice.expect(NFS4ERR_BADXDR, raw(2, 0));
  alice.expect(NFS4ERR_BADXDR, raw(1, 4));
}

TEST_F(Open, ByHandle) {
  const Client::Opened f = alice.create_file("f");
  const Reply reply = bob.ok(bob.seq().fh(f.handle).open({.claim = claim_fh}).getfh());
  EXPECT_EQ(handle_of(reply), f.handle);
  bob.ok(bob.seq().fh(f.handle).write(stateid_of(reply, OP_OPEN), 0, "x"));
  bob.expect(NFS4ERR_ISDIR, bob.seq().root().open({.claim = claim_fh}));
  bob.expect(NFS4ERR_INVAL, bob.seq().fh(f.handle).open({.how = How::unchecked, .claim = claim_fh}));
}

TEST_F(Open, OtherClaims) {
  const Client::Opened f = alice.create_file("f");
  alice.expect(NFS4ERR_NO_GRACE, alice.seq().fh(f.handle).open({.claim = claim_previous}));
  for (const uint32_t claim : {claim_delegate_prev_fh, 3U}) {
    const Nfsstat4 status = alice.call(alice.seq().fh(f.handle).open({.name = "f", .claim = claim})).status;
    EXPECT_TRUE(status == NFS4ERR_NOTSUPP || status == NFS4ERR_NO_GRACE) << nfs4::name(status);
  }
  const Ops delegated =
      alice.seq().root().open({.claim = claim_delegate_cur}).fixed(special_stateid(1, 0x12)).text("f");
  const Nfsstat4 status = alice.call(delegated).status;
  EXPECT_TRUE(status == NFS4ERR_NOTSUPP || status == NFS4ERR_BAD_STATEID) << nfs4::name(status);
}

TEST_F(Open, WhatAClientWantsIsNotGiven) {
  const Client::Opened f = alice.create_file("f");
  for (const uint32_t want : {0x100U, 0x200U, 0x300U, 0x400U, 0x500U, 0x10100U, 0x20100U})
    alice.ok(alice.seq().fh(f.handle).open({.access = 1 | want, .claim = claim_fh}));
}

TEST_F(Open, Permissions) {
  const Client::Opened f = alice.create_file("f", "o", 0604);
  const Client::Opened program = alice.create_file("program", "o", 0711);
  Client user(*this, "user", 1000);
  user.connect();
  open(user, {.name = "f", .access = 1});
  open(user, {.name = "f", .access = 2}, NFS4ERR_ACCESS);
  open(user, {.name = "f", .access = 3}, NFS4ERR_ACCESS);
  open(user, {.name = "program", .access = 1});
  open(user, {.name = "program", .access = 3}, NFS4ERR_ACCESS);
  open(user, {.name = "g", .how = How::unchecked}, NFS4ERR_ACCESS);
  open(user, {.name = "f", .how = How::unchecked, .access = 1, .attributes = file_size(0)}, NFS4ERR_ACCESS);
  alice.mkdir("d", 0777);
  // Its creator may write a file that nobody may.
  const Reply made = user.ok(user.seq()
                                 .root()
                                 .lookup("d")
                                 .open({.name = "mine", .how = How::guarded, .attributes = mode(0)})
                                 .getfh());
  user.ok(user.seq().fh(handle_of(made)).write(stateid_of(made, OP_OPEN), 0, "x"));
}

TEST_F(Open, ShareReservations) {
  constexpr uint32_t none = 0, both = 3;
  int n = 0;
  for (uint32_t access = 1; access <= both; ++access) {
    for (uint32_t deny = none; deny <= both; ++deny) {
      const std::string name = "f" + std::to_string(n++);
      const Client::Opened made = alice.create_file(name);
      alice.ok(alice.seq().fh(made.handle).close(made.stateid));
      const Client::Opened held = alice.open_file(name, access, deny, "holder");
      for (uint32_t other_access = 1; other_access <= both; ++other_access) {
        for (uint32_t other_deny = none; other_deny <= both; ++other_deny) {
          SCOPED_TRACE(fmt::format("{}/{} against {}/{}", access, deny, other_access, other_deny));
          const bool conflict = (access & other_deny) != 0 || (deny & other_access) != 0;
          const Reply reply =
              open(bob, {.name = name, .access = other_access, .deny = other_deny, .owner = "other"},
                   conflict ? NFS4ERR_SHARE_DENIED : NFS4_OK);
          if (!conflict) bob.ok(bob.seq().fh(held.handle).close(stateid_of(reply, OP_OPEN)));
        }
      }
    }
  }
}

TEST_F(Open, ShareReservationsSurviveACrash) {
  const Client::Opened f = alice.create_file("f");
  open(alice, {.name = "f", .access = 1, .deny = 2, .owner = "denier"}, NFS4ERR_SHARE_DENIED);
  alice.ok(alice.seq().fh(f.handle).close(f.stateid));
  alice.open_file("f", 1, 2, "denier");
  restart();
  open(bob, {.name = "f", .access = 2}, NFS4ERR_SHARE_DENIED);
  open(bob, {.name = "f", .access = 1});
}

TEST_F(Open, AnOwnersOpensAreOne) {
  const Client::Opened first = alice.create_file("f");
  const Client::Opened second = alice.open_file("f", 1, 0, "owner");
  EXPECT_EQ(second.stateid, with_seqid(first.stateid, 2));
  EXPECT_NE(alice.open_file("f", 1, 0, "another").stateid, second.stateid);
  alice.expect(NFS4ERR_OLD_STATEID, alice.seq().fh(first.handle).close(first.stateid));
  alice.ok(alice.seq().fh(first.handle).close(second.stateid));
  alice.expect(NFS4ERR_BAD_STATEID, alice.seq().fh(first.handle).close(second.stateid));
}

TEST_F(Open, TheSameOwnerOfTwoClientsIsTwoOwners) {
  const Client::Opened first = alice.create_file("f");
  const Client::Opened second = bob.open_file("f", 3, 0, "owner");
  EXPECT_NE(first.stateid, second.stateid);
  bob.expect(NFS4ERR_BAD_STATEID, bob.seq().fh(first.handle).close(first.stateid));
}

TEST_F(Open, Upgrade) {
  const Client::Opened made = alice.create_file("f");
  alice.ok(alice.seq().fh(made.handle).close(made.stateid));
  const Client::Opened reader = alice.open_file("f", 1, 0, "o");
  alice.expect(NFS4ERR_OPENMODE, alice.seq().fh(made.handle).write(reader.stateid, 0, "x"));
  const Client::Opened writer = alice.open_file("f", 2, 0, "o");
  alice.ok(alice.seq().fh(made.handle).write(writer.stateid, 0, "x"));
  alice.ok(alice.seq().fh(made.handle).read(writer.stateid, 0, 1));
  bob.open_file("f", 1, 0, "b");
  open(alice, {.name = "f", .access = 1, .deny = 1, .owner = "o"}, NFS4ERR_SHARE_DENIED);
  // The refused upgrade has changed nothing.
  alice.ok(alice.seq().fh(made.handle).write(writer.stateid, 0, "y"));
}

TEST_F(Open, Downgrade) {
  const Client::Opened made = alice.create_file("f");
  alice.ok(alice.seq().fh(made.handle).close(made.stateid));
  alice.open_file("f", 1, 0, "o");
  Stateid stateid = alice.open_file("f", 3, 2, "o").stateid;
  const auto downgrade = [&](Nfsstat4 status, const Stateid& given, uint32_t access, uint32_t deny) {
    return alice.expect(status, alice.seq().fh(made.handle).downgrade(given, access, deny));
  };
  downgrade(NFS4ERR_INVAL, stateid, 0, 0);
  downgrade(NFS4ERR_INVAL, stateid, 4, 0);
  downgrade(NFS4ERR_INVAL, stateid, 1, 4);
  downgrade(NFS4ERR_INVAL, stateid, 3, 3);
  downgrade(NFS4ERR_INVAL, stateid, 2, 0);  // it was never opened this way
  downgrade(NFS4ERR_OLD_STATEID, with_seqid(stateid, 1), 1, 0);
  downgrade(NFS4ERR_BAD_STATEID, with_seqid(stateid, 3), 1, 0);
  downgrade(NFS4ERR_BAD_STATEID, anonymous(), 1, 0);
  const Stateid narrowed = stateid_of(downgrade(NFS4_OK, stateid, 1, 0), OP_OPEN_DOWNGRADE);
  EXPECT_EQ(narrowed, with_seqid(stateid, 3));
  alice.expect(NFS4ERR_OPENMODE, alice.seq().fh(made.handle).write(narrowed, 0, "x"));
  open(bob, {.name = "f", .access = 2});
  downgrade(NFS4ERR_INVAL, narrowed, 3, 0);
  restart();
  alice.expect(NFS4ERR_OPENMODE, alice.seq().fh(made.handle).write(narrowed, 0, "x"));
}

TEST_F(Open, Close) {
  const Client::Opened f = alice.create_file("f"), g = alice.create_file("g");
  const auto close = [&](Nfsstat4 status, Bytes handle, const Stateid& stateid) {
    return alice.expect(status, alice.seq().fh(handle).close(stateid));
  };
  close(NFS4ERR_BAD_STATEID, g.handle, f.stateid);
  close(NFS4ERR_BAD_STATEID, f.handle, with_seqid(f.stateid, 2));
  for (const Stateid& special : {anonymous(), read_bypass(), current_stateid(), special_stateid(7, 0),
                                 special_stateid(1, 0xff), special_stateid(UINT32_MAX, 0)})
    close(NFS4ERR_BAD_STATEID, f.handle, special);
  close(NFS4_OK, f.handle, with_seqid(f.stateid, 0));
  close(NFS4ERR_BAD_STATEID, f.handle, f.stateid);
  const Reply reply = close(NFS4_OK, g.handle, g.stateid);
  EXPECT_EQ(stateid_of(reply, OP_CLOSE), special_stateid(UINT32_MAX, 0)) << "RFC 8881 §18.2.4";
  restart();
  close(NFS4ERR_BAD_STATEID, g.handle, g.stateid);
}

TEST_F(Open, TheCurrentStateid) {
  const Reply reply = alice.ok(alice.seq()
                                   .root()
                                   .open({.name = "f", .how = How::guarded})
                                   .write(current_stateid(), 0, "content")
                                   .read(current_stateid(), 0, 100)
                                   .close(current_stateid()));
  EXPECT_EQ(data_of(reply).data, "content");
  const ByteVector f = alice.handle({"f"});
  alice.expect(NFS4ERR_BAD_STATEID, alice.seq().fh(f).read(current_stateid(), 0, 1));
  // A new current file handle has none; SAVEFH and RESTOREFH take it along.
  alice.expect(NFS4ERR_BAD_STATEID,
               alice.seq().root().open({.name = "f"}).fh(f).read(current_stateid(), 0, 1));
  alice.ok(alice.seq().root().open({.name = "f"}).savefh().root().restorefh().read(current_stateid(), 0, 1));
  alice.expect(NFS4ERR_BAD_STATEID,
               alice.seq().root().open({.name = "f"}).close(current_stateid()).read(current_stateid(), 0, 1));
}

TEST_F(Open, TestAndFreeStateid) {
  const Client::Opened f = alice.create_file("f");
  const Client::Opened again = alice.open_file("f", 3, 0, "owner");
  const Reply reply = alice.ok(
      alice.seq().test_stateids({again.stateid, f.stateid, with_seqid(f.stateid, 9), with_seqid(f.stateid, 0),
                                 anonymous(), read_bypass(), special_stateid(1, 0x33)}));
  wire::XdrDecoder in = reply.in(OP_TEST_STATEID);
  ASSERT_EQ(in.get_u32(), 7U);
  for (const Nfsstat4 expected : {NFS4_OK, NFS4ERR_OLD_STATEID, NFS4ERR_BAD_STATEID, NFS4_OK,
                                  NFS4ERR_BAD_STATEID, NFS4ERR_BAD_STATEID, NFS4ERR_BAD_STATEID})
    EXPECT_EQ(nfs4::name(static_cast<Nfsstat4>(in.get_u32())), std::string(nfs4::name(expected)));
  EXPECT_EQ(alice.ok(alice.seq().test_stateids({})).in(OP_TEST_STATEID).get_u32(), 0U);
  const Reply of_bob = bob.ok(bob.seq().test_stateids({again.stateid}));
  wire::XdrDecoder in_bob = of_bob.in(OP_TEST_STATEID);
  in_bob.get_u32();
  EXPECT_EQ(in_bob.get_u32(), static_cast<uint32_t>(NFS4ERR_BAD_STATEID));
  alice.expect(NFS4ERR_LOCKS_HELD, alice.seq().free_stateid(again.stateid));
  alice.expect(NFS4ERR_OLD_STATEID, alice.seq().free_stateid(f.stateid));
  alice.expect(NFS4ERR_BAD_STATEID, alice.seq().free_stateid(anonymous()));
  bob.expect(NFS4ERR_BAD_STATEID, bob.seq().free_stateid(again.stateid));
}

}  // namespace
}  // namespace perdure::conformance
