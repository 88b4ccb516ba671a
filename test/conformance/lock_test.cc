// LOCK (RFC 8881 §18.10), LOCKT (§18.11), LOCKU (§18.12), and FREE_STATEID (§18.38) of locks.
#include "conformance/conformance.h"

namespace perdure::conformance {
namespace {

struct Denied {
  uint64_t offset = 0, length = 0;
  uint32_t kind = 0;
  std::string owner;
};
Denied denied_of(wire::XdrDecoder in) {
  Denied denied;
  denied.offset = in.get_u64();
  denied.length = in.get_u64();
  denied.kind = in.get_u32();
  in.get_u64();
  denied.owner = std::string(in.get_string(1024));
  EXPECT_TRUE(in.ok());
  return denied;
}

class Lock : public WithClients {
 public:
  void SetUp() override {
    WithClients::SetUp();
    file = alice.create_file("f");
    bobs = bob.open_file("f", 3, 0, "owner");
  }
  // The first lock of Alice's lock-owner.
  Stateid lock_new(uint32_t kind, uint64_t offset, uint64_t length, const std::string& owner = "l") {
    return stateid_of(
        alice.ok(alice.seq().fh(file.handle).lock_new(kind, offset, length, file.stateid, owner)), OP_LOCK);
  }
  Stateid lock(uint32_t kind, uint64_t offset, uint64_t length, const Stateid& stateid) {
    return stateid_of(alice.ok(alice.seq().fh(file.handle).lock(kind, offset, length, stateid)), OP_LOCK);
  }
  Stateid unlock(uint64_t offset, uint64_t length, const Stateid& stateid) {
    return stateid_of(alice.ok(alice.seq().fh(file.handle).locku(write_lock, offset, length, stateid)),
                      OP_LOCKU);
  }
  // Which of the bytes from 0 on Bob cannot lock: "w" for writing, "r": only reading is possible, ".": free.
  std::string map(uint64_t bytes) {
    std::string result;
    for (uint64_t i = 0; i < bytes; ++i) {
      const auto possible = [&](uint32_t kind) {
        return bob.call(bob.seq().fh(file.handle).lockt(kind, i, 1, "bob")).status == NFS4_OK;
      };
      const bool write = possible(write_lock);
      result += write ? '.' : possible(read_lock) ? 'r' : 'w';
    }
    return result;
  }
  Client::Opened file, bobs;
};

TEST_F(Lock, ReadersAndWriters) {
  for (const uint32_t held : {read_lock, write_lock, read_lock_waiting, write_lock_waiting}) {
    const Stateid stateid = lock_new(held, 0, 10);
    EXPECT_EQ(map(12), (held % 2 != 0 ? "rrrrrrrrrr.." : "wwwwwwwwww.."));
    unlock(0, UINT64_MAX, stateid);
    EXPECT_EQ(map(12), "............");
    alice.ok(alice.seq().free_stateid(with_seqid(stateid, 0)));
  }
}

TEST_F(Lock, WhatIsInTheWayIsTold) {
  lock_new(write_lock, 10, 20, "holder");
  for (const bool test : {false, true}) {
    Ops ops = bob.seq().fh(file.handle);
    if (test)
      ops.lockt(read_lock, 0, 15, "x");
    else
      ops.lock_new(read_lock, 0, 15, bobs.stateid, "x");
    const Reply reply = bob.expect(NFS4ERR_DENIED, ops);
    const Denied denied = denied_of(reply.in(test ? OP_LOCKT : OP_LOCK));
    EXPECT_EQ(denied.offset, 10U);
    EXPECT_EQ(denied.length, 20U);
    EXPECT_EQ(denied.kind, uint32_t{write_lock});
    EXPECT_EQ(denied.owner, "holder");
  }
  // Waiting forms are answered as the others.
  bob.expect(NFS4ERR_DENIED,
             bob.seq().fh(file.handle).lock_new(write_lock_waiting, 29, 1, bobs.stateid, "x"));
  bob.ok(bob.seq().fh(file.handle).lock_new(write_lock, 30, 1, bobs.stateid, "x"));
  bob.expect(NFS4ERR_DENIED,
             bob.seq().fh(file.handle).lock_new(write_lock, 0, UINT64_MAX, bobs.stateid, "y"));
}

TEST_F(Lock, ToTheEnd) {
  const Stateid stateid = lock_new(write_lock, 5, UINT64_MAX);
  const Reply reply =
      bob.expect(NFS4ERR_DENIED, bob.seq().fh(file.handle).lockt(read_lock, UINT64_MAX - 1, 1, "x"));
  EXPECT_EQ(denied_of(reply.in(OP_LOCKT)).length, UINT64_MAX);
  bob.ok(bob.seq().fh(file.handle).lockt(write_lock, 0, 5, "x"));
  unlock(7, 3, stateid);
  EXPECT_EQ(map(12), ".....ww...ww");
}

TEST_F(Lock, Ranges) {
  const auto refused = [&](uint64_t offset, uint64_t length) {
    alice.expect(NFS4ERR_INVAL,
                 alice.seq().fh(file.handle).lock_new(write_lock, offset, length, file.stateid, "l"));
    alice.expect(NFS4ERR_INVAL, alice.seq().fh(file.handle).lockt(write_lock, offset, length, "l"));
  };
  refused(0, 0);
  refused(5, 0);
  refused(2, UINT64_MAX - 1);
  refused(UINT64_MAX, 2);
  refused(UINT64_MAX - 10, 12);
  const Stateid stateid = lock_new(write_lock, UINT64_MAX - 10, 10);
  alice.expect(NFS4ERR_INVAL, alice.seq().fh(file.handle).locku(write_lock, 0, 0, stateid));
  alice.expect(NFS4ERR_INVAL, alice.seq().fh(file.handle).locku(write_lock, 2, UINT64_MAX - 1, stateid));
  unlock(0, UINT64_MAX, stateid);
}

TEST_F(Lock, SplitMergeAndUpgrade) {
  Stateid s = lock_new(write_lock, 0, 10);
  s = unlock(3, 4, s);
  EXPECT_EQ(map(12), "www....www..");
  s = lock(read_lock, 2, 6, s);
  EXPECT_EQ(map(12), "wwrrrrrrww..");
  s = lock(write_lock, 4, 1, s);
  EXPECT_EQ(map(12), "wwrrwrrrww..");
  s = lock(read_lock, 0, 12, s);
  EXPECT_EQ(map(13), "rrrrrrrrrrrr.");
  s = lock(write_lock, 0, UINT64_MAX, s);
  EXPECT_EQ(map(4), "wwww");
  s = unlock(20, 10, s);
  s = unlock(20, 10, s);  // what is not locked can be unlocked
  s = unlock(0, UINT64_MAX, s);
  EXPECT_EQ(map(4), "....");
  EXPECT_EQ(seqid_of(s), 9U);
}

TEST_F(Lock, LocksSurviveACrash) {
  Stateid s = lock_new(write_lock, 0, 4);
  s = lock(read_lock, 6, 2, s);
  restart();
  EXPECT_EQ(map(9), "wwww..rr.");
  s = unlock(0, 2, s);
  EXPECT_EQ(map(9), "..ww..rr.");
  bob.expect(NFS4ERR_DENIED, bob.seq().fh(file.handle).lock_new(write_lock, 3, 1, bobs.stateid, "x"));
}

TEST_F(Lock, OwnersOfOneClientConflictToo) {
  lock_new(write_lock, 0, 10, "one");
  alice.expect(NFS4ERR_DENIED, alice.seq().fh(file.handle).lock_new(read_lock, 5, 1, file.stateid, "two"));
  alice.expect(NFS4ERR_DENIED, alice.seq().fh(file.handle).lockt(read_lock, 5, 1, "two"));
  alice.ok(alice.seq().fh(file.handle).lockt(write_lock, 5, 1, "one"));
}

TEST_F(Lock, Stateids) {
  const Stateid first = lock_new(write_lock, 0, 1);
  const Stateid second = lock(write_lock, 1, 1, first);
  EXPECT_EQ(second, with_seqid(first, 2));
  const auto locku = [&](Nfsstat4 status, const Stateid& s) {
    alice.expect(status, alice.seq().fh(file.handle).locku(write_lock, 0, 1, s));
  };
  locku(NFS4ERR_OLD_STATEID, first);
  locku(NFS4ERR_BAD_STATEID, with_seqid(first, 3));
  locku(NFS4ERR_BAD_STATEID, file.stateid);
  locku(NFS4ERR_BAD_STATEID, anonymous());
  locku(NFS4ERR_BAD_STATEID, current_stateid());
  alice.expect(NFS4ERR_OLD_STATEID, alice.seq().fh(file.handle).lock(write_lock, 5, 1, first));
  alice.expect(NFS4ERR_BAD_STATEID, alice.seq().fh(file.handle).lock(write_lock, 5, 1, file.stateid));
  alice.expect(NFS4ERR_BAD_STATEID, alice.seq().fh(file.handle).lock_new(write_lock, 5, 1, second, "m"));
  alice.expect(NFS4ERR_BAD_STATEID, alice.seq().fh(file.handle).lock_new(write_lock, 5, 1, anonymous(), "m"));
  bob.expect(NFS4ERR_BAD_STATEID, bob.seq().fh(file.handle).locku(write_lock, 0, 1, second));
  // An owner that is known to the file may come as a new one: it goes on with its stateid.
  EXPECT_EQ(lock_new(write_lock, 9, 1), with_seqid(first, 3));
}

TEST_F(Lock, TheOpenMustAllowIt) {
  const Client::Opened reader = alice.open_file("f", 1, 0, "reader"),
                       writer = alice.open_file("f", 2, 0, "writer");
  const auto lock_with = [&](Nfsstat4 status, uint32_t kind, const Stateid& open, const char* owner) {
    alice.expect(status, alice.seq().fh(file.handle).lock_new(kind, 0, 1, open, owner));
  };
  lock_with(NFS4ERR_OPENMODE, write_lock, reader.stateid, "a");
  lock_with(NFS4_OK, read_lock, reader.stateid, "a");
  lock_with(NFS4ERR_OPENMODE, read_lock, writer.stateid, "b");
}

TEST_F(Lock, OtherTypes) {
  alice.mkdir("d");
  alice.ok(alice.seq().root().symlink("s", "t"));
  alice.ok(alice.seq().root().create(7, "p"));
  const std::pair<const char*, Nfsstat4> cases[] = {
      {"d", NFS4ERR_ISDIR}, {"s", NFS4ERR_SYMLINK}, {"p", NFS4ERR_WRONG_TYPE}};
  for (const auto& [name, status] : cases) {
    alice.expect(status, alice.seq().root().lookup(name).lockt(read_lock, 0, 1, "o"));
    alice.expect(status, alice.seq().root().lookup(name).lock_new(read_lock, 0, 1, file.stateid, "o"));
  }
}

TEST_F(Lock, BadArguments) {
  for (const uint32_t kind : {0U, 5U, 99U}) {
    alice.expect(NFS4ERR_BADXDR, alice.seq().fh(file.handle).lock_new(kind, 0, 1, file.stateid, "o"));
    alice.expect(NFS4ERR_BADXDR, alice.seq().fh(file.handle).lockt(kind, 0, 1, "o"));
  }
  alice.expect(NFS4ERR_BADXDR, alice.seq().fh(file.handle).lockt(read_lock, 0, 1, std::string(1025, 'o')));
  lock_new(read_lock, 0, 1, std::string(1024, 'o'));
  alice.expect(NFS4ERR_NO_GRACE,
               alice.seq().fh(file.handle).lock_new(read_lock, 0, 1, file.stateid, "o", true));
}

TEST_F(Lock, ADenialMustFitIntoTheReply) {
  lock_new(write_lock, 0, 1, std::string(1024, 'o'));
  const SessionCreated small =
      created_of(expect(NFS4_OK, create_session(bob.id(), 2, 1, {.response_max = 500})));
  const Reply reply =
      expect(NFS4ERR_REP_TOO_BIG,
             Ops().sequence(small.id, 1, 0, 0, false).fh(file.handle).lockt(read_lock, 0, 1, "x"));
  EXPECT_LE(reply.bytes.size(), 500U);
}

TEST_F(Lock, CloseReleasesLocks) {
  lock_new(write_lock, 0, 10);
  const Nfsstat4 closed = alice.call(alice.seq().fh(file.handle).close(file.stateid)).status;
  // RFC 8881 §18.2.3 lets a server refuse instead; this one does not.
  EXPECT_EQ(closed, NFS4_OK);
  EXPECT_EQ(map(10), "..........");
}

TEST_F(Lock, FreeStateid) {
  const Stateid held = lock_new(write_lock, 0, 10);
  alice.expect(NFS4ERR_LOCKS_HELD, alice.seq().free_stateid(held));
  const Stateid empty = unlock(0, 10, held);
  alice.expect(NFS4ERR_OLD_STATEID, alice.seq().free_stateid(held));
  bob.expect(NFS4ERR_BAD_STATEID, bob.seq().free_stateid(empty));
  alice.ok(alice.seq().free_stateid(empty));
  alice.expect(NFS4ERR_BAD_STATEID, alice.seq().free_stateid(empty));
  alice.expect(NFS4ERR_BAD_STATEID, alice.seq().fh(file.handle).lock(write_lock, 0, 1, empty));
  alice.ok(alice.seq().fh(file.handle).close(file.stateid));
}

TEST_F(Lock, ManyRanges) {
  Stateid s = lock_new(write_lock, 0, 1);
  for (uint64_t i = 1; i < 200; ++i) s = lock(i % 2 != 0 ? read_lock : write_lock, 2 * i, 1, s);
  restart();
  const std::string expected = "w.r.w.r.w.";
  EXPECT_EQ(map(10), expected);
  bob.expect(NFS4ERR_DENIED, bob.seq().fh(file.handle).lockt(write_lock, 398, 1, "x"));
  unlock(0, 400, s);
  bob.ok(bob.seq().fh(file.handle).lockt(write_lock, 0, UINT64_MAX, "x"));
}

// Leases (RFC 8881 §8.3), in virtual time.
class Lease : public Lock {
 public:
  std::chrono::seconds lease() {
    return std::chrono::seconds(alice.u32_attribute(file.handle, Attribute::lease_time));
  }
};

TEST_F(Lease, SequenceRenewsIt) {
  lock_new(write_lock, 0, 1);
  const std::chrono::seconds step = lease() / 2;
  for (int i = 0; i < 6; ++i) {
    pass(step);
    alice.ok(alice.seq());
    bob.ok(bob.seq());
  }
  EXPECT_EQ(map(2), "w.");
  alice.ok(alice.seq().fh(file.handle).read(file.stateid, 0, 1));
}

TEST_F(Lease, WhatAnExpiredClientHeldIsFree) {
  lock_new(write_lock, 0, 10);
  const std::chrono::seconds step = lease() / 2;
  for (int i = 0; i < 6; ++i) {
    pass(step);
    bob.ok(bob.seq());
  }
  EXPECT_EQ(map(10), "..........");
  bob.ok(bob.seq().fh(file.handle).lock_new(write_lock, 0, 10, bobs.stateid, "x"));
  const Nfsstat4 status = call(alice.seq().fh(file.handle)).status;
  EXPECT_EQ(nfs4::name(status), std::string("NFS4ERR_BADSESSION"));
  expect(NFS4ERR_STALE_CLIENTID, create_session(alice.id(), alice.create_seqid() + 1));
  // It comes back as a new client.
  alice.connect();
  alice.expect(NFS4ERR_BAD_STATEID, alice.seq().fh(file.handle).read(file.stateid, 0, 1));
}

// A server whose log is slow does not punish its clients for it.
TEST_F(Lease, ItDoesNotEndBeforeAnAnswerHasLeft) {
  const std::chrono::seconds time = lease();  // not again: asking renews it
  server.env.hold_io(true);
  const uint32_t xid = server.send(alice.seq().root().mkdir("late").finish());
  for (int i = 0; i < 4; ++i) pass(time);
  EXPECT_FALSE(server.replied(xid));
  server.env.hold_io(false);
  EXPECT_TRUE(server.pump_until([&] { return server.replied(xid); }));
  pass(time * 3 / 4);
  alice.ok(alice.seq().root().lookup("late"));
}

TEST_F(Lease, ItBeginsWhenAnAnswerLeaves) {
  const std::chrono::seconds time = lease();  // not again: asking renews it
  server.env.hold_io(true);
  const uint32_t xid = server.send(alice.seq().root().mkdir("late").finish());
  pass(time / 2);
  EXPECT_FALSE(server.replied(xid));
  server.env.hold_io(false);
  EXPECT_TRUE(server.pump_until([&] { return server.replied(xid); }));
  pass(time * 3 / 4);
  alice.ok(alice.seq().root().lookup("late"));
}

TEST_F(Lease, ACrashDoesNotShortenIt) {
  lock_new(write_lock, 0, 10);
  const std::chrono::seconds most = lease() * 3 / 4;
  pass(most);
  restart();
  pass(most);
  alice.ok(alice.seq().fh(file.handle).read(file.stateid, 0, 1));
}

}  // namespace
}  // namespace perdure::conformance
