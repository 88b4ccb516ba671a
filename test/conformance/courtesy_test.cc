// What a client keeps that has not been heard of for longer than a lease, and when it is taken away (RFC 8881
// §8.4.3).
#include "conformance/conformance.h"

namespace perdure::conformance {
namespace {

using std::chrono::seconds;

class Courtesy : public WithClients {
 public:
  void SetUp() override {
    server.options.clients.courtesy_seconds = 1000;
    WithClients::SetUp();
    file = alice.create_file("f");
    bobs = bob.open_file("f", 3, 0, "owner");
    lock = stateid_of(
        alice.ok(alice.seq().fh(file.handle).lock_new(write_lock, 0, 10, file.stateid, "locker")), OP_LOCK);
  }
  // Nothing is heard of alice.
  void silence(int times) {
    for (; times > 0; --times) {
      pass(seconds(50));
      bob.ok(bob.seq().root());
    }
  }
  void expect_alice_is_there() {
    alice.ok(alice.seq().fh(file.handle).write(lock, 0, "x"));
    bob.expect(NFS4ERR_DENIED, bob.seq().fh(file.handle).lockt(write_lock, 0, 10, "locker"));
  }
  void expect_alice_is_gone() {
    alice.expect(NFS4ERR_BADSESSION, alice.seq().root());
    EXPECT_EQ(server.vserver().clients().clients.size(), 1U);
  }
  // Of a file of her own.
  void deny_writing() {
    denied = alice.create_file("g");
    alice.ok(alice.seq().fh(denied.handle).close(denied.stateid));
    alice.open_file("g", 3, 2, "owner");
  }
  Client::Opened file, bobs, denied;
  Stateid lock;
};

TEST_F(Courtesy, WhoIsInNobodysWayKeepsAll) {
  silence(10);
  expect_alice_is_there();
  silence(5);
  restart();
  silence(10);
  bob.ok(bob.seq().fh(file.handle).lock_new(write_lock, 10, 10, bobs.stateid, "locker"));
  expect_alice_is_there();
}

TEST_F(Courtesy, AConflictingLockEndsIt) {
  bob.expect(NFS4ERR_DENIED, bob.seq().fh(file.handle).lock_new(write_lock, 5, 1, bobs.stateid, "locker"));
  silence(3);
  bob.ok(bob.seq().fh(file.handle).lock_new(write_lock, 5, 1, bobs.stateid, "locker"));
  expect_alice_is_gone();
  EXPECT_EQ(server.vserver().clients().lock_states.size(), 1U);
}

TEST_F(Courtesy, AskingForALockEndsItToo) {
  silence(3);
  bob.ok(bob.seq().fh(file.handle).lockt(read_lock, 5, 1, "locker"));
  restart();
  expect_alice_is_gone();
}

TEST_F(Courtesy, AConflictingOpenEndsIt) {
  deny_writing();
  bob.expect(NFS4ERR_SHARE_DENIED, bob.seq().root().open({.name = "g", .access = 2}));
  bob.expect(NFS4ERR_LOCKED, bob.seq().fh(denied.handle).write(anonymous(), 0, "x"));
  silence(3);
  bob.ok(bob.seq().root().open({.name = "g", .access = 2}));
  expect_alice_is_gone();
}

TEST_F(Courtesy, ADeniedWriteEndsIt) {
  deny_writing();
  silence(3);
  bob.ok(bob.seq().fh(denied.handle).write(anonymous(), 0, "x"));
  expect_alice_is_gone();
}

TEST_F(Courtesy, ADelegationIsNotWaitedFor) {
  constexpr uint32_t keep_session = 1, with_back_channel = 2;
  Client carol(*this, "carol");
  carol.connect(true, keep_session | with_back_channel);
  const Client::Opened made = carol.create_file("d");
  carol.ok(carol.seq().fh(made.handle).close(made.stateid));
  carol.ok(carol.seq().root().open({.name = "d", .access = 1}));
  EXPECT_EQ(server.vserver().clients().delegations.size(), 1U);
  silence(3);
  bob.ok(bob.seq().root().open({.name = "d", .access = 3}));
  EXPECT_EQ(server.vserver().clients().delegations.size(), 0U);
  carol.expect(NFS4ERR_BADSESSION, carol.seq().root());
}

TEST_F(Courtesy, HasItsTime) {
  silence(20);
  EXPECT_EQ(server.vserver().clients().clients.size(), 2U);
  silence(5);
  expect_alice_is_gone();
  // Who has not even confirmed that it is there has no claim to it.
  expect(NFS4_OK, exchange_id(1, "carol"));
  EXPECT_EQ(server.vserver().clients().clients.size(), 2U);
  silence(3);
  EXPECT_EQ(server.vserver().clients().clients.size(), 1U);
}

TEST_F(Courtesy, MakesRoomForNewClients) {
  server.crash();
  server.options.clients.clients_max = 2;
  server.start();
  expect(NFS4ERR_DELAY, exchange_id(1, "carol"));
  silence(3);
  Client carol(*this, "carol");
  carol.connect();
  alice.expect(NFS4ERR_BADSESSION, alice.seq().root());
  expect(NFS4ERR_DELAY, exchange_id(1, "dave"));
  bob.ok(bob.seq().root());
}

}  // namespace
}  // namespace perdure::conformance
