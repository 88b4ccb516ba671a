// Waiting for a lock: READW_LT and WRITEW_LT (RFC 8881 §18.10.3, §9.6), CB_NOTIFY_LOCK (§20.11).
#include "conformance/callbacks.h"

namespace perdure::conformance {
namespace {

constexpr uint32_t writew = write_lock_waiting, readw = read_lock_waiting;

class LockWait : public WithClients {
 public:
  struct Owner {
    Client& client;
    std::string name;
    Stateid open;
    Stateid lock = {};
  };

  void SetUp() override {
    Conformance::SetUp();
    alice.connect(true, keep_session | with_back_channel);
    bob.connect(true, keep_session | with_back_channel);
    file = alice.create_file("f");
    a.open = file.stateid;
    b.open = bob.open_file("f", 3, 0, "b").stateid;
    c.open = bob.open_file("f", 3, 0, "c").stateid;
  }
  Reply ask(Nfsstat4 status, Owner& owner, uint32_t kind, uint64_t offset, uint64_t length) {
    Ops ops = owner.client.seq().fh(file.handle);
    if (owner.lock.empty())
      ops.lock_new(kind, offset, length, owner.open, owner.name);
    else
      ops.lock(kind, offset, length, owner.lock);
    return owner.client.expect(status, ops);
  }
  void gets(Owner& owner, uint32_t kind, uint64_t offset = 0, uint64_t length = 10) {
    owner.lock = stateid_of(ask(NFS4_OK, owner, kind, offset, length), OP_LOCK);
  }
  void is_denied(Owner& owner, uint32_t kind, uint64_t offset = 0, uint64_t length = 10) {
    ask(NFS4ERR_DENIED, owner, kind, offset, length);
  }
  void unlocks(Owner& owner, uint64_t offset = 0, uint64_t length = 10) {
    owner.lock = stateid_of(
        owner.client.ok(owner.client.seq().fh(file.handle).locku(write_lock, offset, length, owner.lock)),
        OP_LOCKU);
    server.env.run_until_idle();
  }
  // Who was called last.
  std::string called() {
    if (server.callbacks.size() == answered) return "nobody";
    const CalledBack last = CalledBack::of(server.callbacks.back());
    EXPECT_EQ(last.operation, cb_notify_lock);
    wire::XdrDecoder in(last.arguments);
    const Bytes handle = in.get_opaque(128);
    EXPECT_TRUE(std::ranges::equal(handle, file.handle));
    in.get_u64();
    const std::string owner(in.get_string(1024));
    EXPECT_TRUE(in.finished());
    return owner;
  }
  void answer(Nfsstat4 operation = NFS4_OK) {
    answered = server.callbacks.size();
    answer_callback(server, NFS4_OK, operation);
    server.env.run_until_idle();
  }

  Client::Opened file;
  Owner a{alice, "a", {}}, b{bob, "b", {}}, c{bob, "c", {}};
  size_t answered = 0;
};

TEST_F(LockWait, AnOpenSaysThatCallsMayCome) {
  constexpr uint32_t may_notify = 32;
  OpenCall call{.name = "f"};
  call.access = 1;
  const Reply reply = alice.ok(alice.seq().root().open(call));
  wire::XdrDecoder in = reply.in(OP_OPEN);
  in.get_opaque_fixed(16 + 20);
  EXPECT_NE(in.get_u32() & may_notify, 0U);
}

TEST_F(LockWait, TheyAreCalledInTheirOrder) {
  gets(a, writew);
  is_denied(b, writew);
  is_denied(c, writew);
  is_denied(c, writew);  // it only asks again
  server.env.run_until_idle();
  EXPECT_EQ(called(), "nobody");
  unlocks(a);
  ASSERT_EQ(called(), "b");
  answer();
  is_denied(a, writew);  // it is b's turn
  gets(b, writew);
  unlocks(b);
  ASSERT_EQ(called(), "c");
  answer();
  gets(c, writew);
  unlocks(c);
  ASSERT_EQ(called(), "a");
  answer();
  gets(a, writew);
  unlocks(a);
  EXPECT_EQ(called(), "nobody");
}

TEST_F(LockWait, WhoDoesNotWaitHasWhatIsFree) {
  gets(a, write_lock);
  is_denied(b, writew);
  unlocks(a);
  ASSERT_EQ(called(), "b");
  gets(a, write_lock);
  answer();
  is_denied(b, writew);  // it keeps its place
  unlocks(a);
  ASSERT_EQ(called(), "b");
  answer();
  gets(b, writew);
}

TEST_F(LockWait, ReadersAreCalledTogether) {
  gets(a, write_lock);
  is_denied(b, readw);
  is_denied(c, readw);
  unlocks(a);
  ASSERT_EQ(called(), "b");
  answer();
  ASSERT_EQ(called(), "c") << "one call at a time goes to a client";
  answer();
  gets(c, readw);
  gets(b, readw);
}

TEST_F(LockWait, RangesThatAreApartDoNotWaitForEachOther) {
  gets(a, write_lock, 0, 100);
  is_denied(b, writew, 0, 10);
  is_denied(c, writew, 50, 10);
  unlocks(a, 50, 50);
  ASSERT_EQ(called(), "c");
  answer();
  gets(c, writew, 50, 10);
  EXPECT_EQ(called(), "nobody");
}

TEST_F(LockWait, WhoDoesNotComeLosesItsTurn) {
  gets(a, write_lock);
  is_denied(b, writew);
  is_denied(c, writew);
  unlocks(a);
  ASSERT_EQ(called(), "b");
  answer();
  pass(std::chrono::seconds(4));
  EXPECT_EQ(called(), "nobody");
  pass(std::chrono::seconds(2));
  ASSERT_EQ(called(), "c");
  answer();
  gets(c, writew);
}

TEST_F(LockWait, WhoCannotBeToldKeepsThePlaceAndIsInNobodysWay) {
  gets(a, write_lock);
  is_denied(b, writew);
  server.reconnect();
  unlocks(a);
  gets(a, writew);
  unlocks(a);
  EXPECT_EQ(called(), "nobody");
  constexpr uint32_t path_down = 0x201;
  const Reply told = bob.ok(bob.seq());
  wire::XdrDecoder in = told.in(OP_SEQUENCE);
  in.get_opaque_fixed(16 + 16);
  EXPECT_EQ(in.get_u32(), path_down);
  bob.expect(NFS4_OK, bind_conn(bob.session(), 3));
  server.env.run_until_idle();
  ASSERT_EQ(called(), "b");
  answer();
  gets(b, writew);
}

TEST_F(LockWait, AClientThatDoesNotKnowTheCallIsLeftAlone) {
  gets(a, write_lock);
  is_denied(b, writew);
  is_denied(c, writew);
  unlocks(a);
  ASSERT_EQ(called(), "b");
  answer(NFS4ERR_NOTSUPP);
  ASSERT_EQ(called(), "c");
  answer();
  gets(c, writew);
}

TEST_F(LockWait, TheLineSurvivesARestart) {
  gets(a, write_lock);
  is_denied(b, writew);
  is_denied(c, writew);
  restart();
  alice.expect(NFS4_OK, bind_conn(alice.session(), 3));
  bob.expect(NFS4_OK, bind_conn(bob.session(), 3));
  unlocks(a);
  ASSERT_EQ(called(), "b");
  answer();
  restart();  // it is still b's turn
  alice.expect(NFS4_OK, bind_conn(alice.session(), 3));
  is_denied(a, writew);
  gets(b, writew);
  bob.expect(NFS4_OK, bind_conn(bob.session(), 3));
  unlocks(b);
  ASSERT_EQ(called(), "c");
}

TEST_F(LockWait, WhoHasClosedTheFileWaitsNoMore) {
  gets(a, write_lock);
  is_denied(b, writew);
  bob.ok(bob.seq().fh(file.handle).close(b.open));
  bob.ok(bob.seq().fh(file.handle).close(c.open));
  unlocks(a);
  EXPECT_EQ(called(), "nobody");
}

}  // namespace
}  // namespace perdure::conformance
