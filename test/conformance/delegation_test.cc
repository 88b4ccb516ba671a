// Delegations (RFC 8881 §10.4), their recall over the back channel (§20.2), DELEGRETURN (§18.6).
#include "conformance/callbacks.h"

namespace perdure::conformance {
namespace {

constexpr uint32_t read_access = 1, both = 3;

struct Delegated {
  uint32_t type = 0;  // 0 none, 1 read, 2 write
  Stateid open, delegation;
  ByteVector handle;
};

class Delegations : public Conformance {
 public:
  void SetUp() override {
    Conformance::SetUp();
    alice.connect(true, keep_session | with_back_channel);
    bob.connect(true, keep_session | with_back_channel);
    const Client::Opened made = alice.create_file("f");
    alice.ok(alice.seq().fh(made.handle).close(made.stateid));
  }
  static Delegated delegated(const Reply& reply) {
    Delegated d;
    wire::XdrDecoder in = reply.in(OP_OPEN);
    const Bytes open = in.get_opaque_fixed(16);
    d.open.assign(open.begin(), open.end());
    in.get_opaque_fixed(20 + 4);
    const uint32_t words = in.get_u32();
    for (uint32_t i = 0; i < words; ++i) in.get_u32();
    d.type = in.get_u32();
    if (d.type == 1 || d.type == 2) {
      const Bytes delegation = in.get_opaque_fixed(16);
      d.delegation.assign(delegation.begin(), delegation.end());
      EXPECT_FALSE(in.get_bool());
    }
    if (d.type == 3) d.type = 0;
    const Bytes handle = reply.in(OP_GETFH).get_opaque(128);
    d.handle.assign(handle.begin(), handle.end());
    return d;
  }
  static Ops open_ops(Client& client, uint32_t access, const std::string& owner = "owner", uint32_t want = 0,
                      uint32_t slot = 0) {
    OpenCall call{.name = "f"};
    call.access = access | want;
    call.owner = owner;
    return client.seq(slot).root().open(call).getfh();
  }
  Delegated open(Client& client, uint32_t access, const std::string& owner = "owner", uint32_t want = 0) {
    return delegated(client.ok(open_ops(client, access, owner, want)));
  }
  // Sends it, and gives nothing if it waits.
  uint32_t send_waiting(Client& client, const Ops& ops) {
    const uint32_t xid = server.send(ops.finish(), client.uid());
    server.env.run_until_idle();
    EXPECT_FALSE(server.replied(xid));
    return xid;
  }
  Reply answer_of(uint32_t xid) {
    EXPECT_TRUE(server.pump_until([&] { return server.replied(xid); }));
    return server.replied(xid) ? parse_reply(server.await(xid).bytes()) : Reply{};
  }
  struct Recall {
    ByteVector session, stateid, handle;
    uint32_t seqid = 0;
  };
  static Recall recall_of(const server::testing::VserverFixture::Callback& callback) {
    const CalledBack called = CalledBack::of(callback);
    EXPECT_EQ(called.operation, cb_recall);
    Recall r{.session = called.session, .stateid = {}, .handle = {}, .seqid = called.seqid};
    wire::XdrDecoder in(called.arguments);
    const Bytes stateid = in.get_opaque_fixed(16);
    r.stateid.assign(stateid.begin(), stateid.end());
    in.get_bool();
    const Bytes handle = in.get_opaque(128);
    r.handle.assign(handle.begin(), handle.end());
    EXPECT_TRUE(in.finished());
    return r;
  }
  void answer(Nfsstat4 sequence, Nfsstat4 operation = NFS4_OK) {
    answer_callback(server, sequence, operation);
  }
  Ops give_back(const Delegated& d) {
    return alice.seq(1).fh(d.handle).op(OP_DELEGRETURN).fixed(d.delegation);
  }

  Client alice{*this, "alice"}, bob{*this, "bob"};
};

TEST_F(Delegations, ReadersGetThemAndWritersOne) {
  const Delegated a = open(alice, read_access), b = open(bob, read_access);
  EXPECT_EQ(a.type, 1U);
  EXPECT_EQ(b.type, 1U);
  EXPECT_EQ(open(alice, read_access, "another").type, 0U) << "it has one";
  alice.ok(give_back(a));
  alice.expect(NFS4ERR_BAD_STATEID, give_back(a));
  EXPECT_EQ(open(alice, read_access, "owner", 0x400).type, 0U) << "it does not want one";
  EXPECT_TRUE(server.callbacks.empty());
}

// Linux would send a LOCK that is under way again and again (client/delegation.cc).
TEST_F(Delegations, NoneOfAFileWithALockOwner) {
  constexpr uint32_t write_lock = 2, no_delegation = 0x400;
  const Delegated a = open(alice, both, "owner", no_delegation);
  const Reply locked = alice.ok(alice.seq().fh(a.handle).lock_new(write_lock, 0, 1, a.open, "l"));
  const Bytes lock = locked.in(OP_LOCK).get_opaque_fixed(16);
  const Stateid stateid(lock.begin(), lock.end());
  EXPECT_EQ(open(alice, both, "another").type, 0U);
  const Reply unlocked = alice.ok(alice.seq().fh(a.handle).locku(write_lock, 0, 1, stateid));
  EXPECT_EQ(open(alice, both, "a third").type, 0U) << "it may lock again";
  const Bytes free = unlocked.in(OP_LOCKU).get_opaque_fixed(16);
  alice.ok(alice.seq().free_stateid(Stateid(free.begin(), free.end())));
  EXPECT_EQ(open(alice, both, "a fourth").type, 2U);
}

TEST_F(Delegations, AnOpenForWritingWaitsForTheirReturn) {
  const Delegated a = open(alice, read_access);
  const uint32_t xid = send_waiting(bob, open_ops(bob, both));
  ASSERT_EQ(server.callbacks.size(), 1U);
  const Recall recall = recall_of(server.callbacks[0]);
  EXPECT_EQ(recall.session, alice.session());
  EXPECT_EQ(recall.seqid, 1U);
  EXPECT_EQ(recall.stateid, a.delegation);
  EXPECT_EQ(recall.handle, a.handle);
  answer(NFS4_OK);
  EXPECT_FALSE(server.replied(xid));
  alice.ok(give_back(a));
  const Reply opened = answer_of(xid);
  EXPECT_EQ(opened.status, NFS4_OK);
  EXPECT_EQ(delegated(opened).type, 0U) << "nobody gets one right after a conflict";
  EXPECT_EQ(open(alice, read_access, "again").type, 0U);
}

TEST_F(Delegations, AWriteDelegationHindersReaders) {
  const Delegated a = open(alice, both);
  EXPECT_EQ(a.type, 2U);
  alice.ok(alice.seq().fh(a.handle).write(a.delegation, 0, "data", 2));
  const uint32_t xid = send_waiting(bob, bob.seq().fh(a.handle).read(Stateid(16), 0, 10));
  answer(NFS4_OK);
  alice.ok(give_back(a));
  EXPECT_EQ(answer_of(xid).status, NFS4_OK);
}

TEST_F(Delegations, RemovalRenameLinkAndSetattrOfOthersWait) {
  const std::vector<Ops (*)(Client&, const ByteVector&)> calls{
      [](Client& c, const ByteVector& f) { return c.seq().fh(f).setattr(mode(0600)); },
      [](Client& c, const ByteVector& f) { return c.seq().fh(f).savefh().root().link("g"); },
      [](Client& c, const ByteVector&) { return c.seq().root().savefh().rename("f", "h"); },
      [](Client& c, const ByteVector&) { return c.seq().root().savefh().rename("h", "f"); },
      [](Client& c, const ByteVector&) { return c.seq().root().remove("f"); }};
  for (const auto& call : calls) {
    pass(std::chrono::seconds(11));  // nobody gets one right after a conflict
    const bool there = alice.call(alice.seq().root().lookup("f")).status == NFS4_OK;
    const Delegated a = there ? open(alice, read_access) : Delegated{};
    if (!there) {
      bob.ok(call(bob, {}));
      continue;
    }
    ASSERT_EQ(a.type, 1U);
    server.callbacks.clear();
    const uint32_t xid = send_waiting(bob, call(bob, a.handle));
    answer(NFS4_OK);
    alice.ok(give_back(a));
    EXPECT_EQ(answer_of(xid).status, NFS4_OK);
    alice.ok(alice.seq().fh(a.handle).close(a.open));
  }
}

TEST_F(Delegations, ItsOwnClientIsNotHindered) {
  const Delegated a = open(alice, read_access);
  alice.ok(alice.seq().fh(a.handle).setattr(mode(0600)));
  open(alice, both, "another");
  alice.ok(alice.seq().root().remove("f"));
  alice.ok(alice.seq().fh(a.handle).read(a.delegation, 0, 10));
  alice.ok(give_back(a));
  EXPECT_TRUE(server.callbacks.empty());
}

TEST_F(Delegations, AClientThatDoesNotReturnItLosesIt) {
  const Delegated a = open(alice, read_access);
  const uint32_t xid = send_waiting(bob, open_ops(bob, both));
  answer(NFS4_OK);
  for (int i = 0; i < 9; ++i) {
    if (i > 0) bob.expect(NFS4ERR_DELAY, open_ops(bob, both, "owner", 0, 1));
    pass(std::chrono::seconds(5));
    alice.ok(alice.seq());
  }
  EXPECT_EQ(answer_of(xid).status, NFS4ERR_DELAY);
  bob.ok(open_ops(bob, both, "owner", 0, 1));
  constexpr uint32_t state_revoked = 0x40;
  const Reply told = alice.ok(alice.seq());
  wire::XdrDecoder in = told.in(OP_SEQUENCE);
  in.get_opaque_fixed(16 + 16);
  EXPECT_EQ(in.get_u32(), state_revoked);
  alice.expect(NFS4ERR_DELEG_REVOKED, alice.seq().fh(a.handle).read(a.delegation, 0, 10));
  alice.expect(NFS4ERR_DELEG_REVOKED, give_back(a));
  alice.ok(alice.seq().fh(a.handle).read(a.open, 0, 10));
  alice.ok(alice.seq().op(OP_FREE_STATEID).fixed(a.delegation));
  alice.expect(NFS4ERR_BAD_STATEID, give_back(a));
}

// A slot is held for a while only, and the recall goes on.
TEST_F(Delegations, WhoeverWaitsIsToldToComeAgain) {
  const Delegated a = open(alice, read_access);
  const uint32_t xid = send_waiting(bob, open_ops(bob, both));
  answer(NFS4_OK);
  pass(std::chrono::seconds(4));
  EXPECT_FALSE(server.replied(xid));
  pass(std::chrono::seconds(2));
  EXPECT_EQ(answer_of(xid).status, NFS4ERR_DELAY);
  const uint32_t again = send_waiting(bob, open_ops(bob, both));
  EXPECT_EQ(server.callbacks.size(), 1U) << "it was recalled";
  restart();
  const uint32_t after = server.send(
      bob.seq_again(0).root().open({.name = "f", .access = both}).getfh().finish(), bob.uid(), again);
  pass(std::chrono::seconds(6));
  EXPECT_EQ(answer_of(after).status, NFS4ERR_DELAY);
  alice.ok(give_back(a));
  EXPECT_EQ(open(bob, both).type, 0U) << "nobody gets one right after a conflict";
}

TEST_F(Delegations, HalfOfASessionsSlotsAreLeftToIt) {
  const Delegated a = open(alice, read_access);
  std::vector<uint32_t> waiting;
  for (uint32_t slot = 0; slot < session_slots / 2; ++slot)
    waiting.push_back(send_waiting(bob, open_ops(bob, both, fmt::format("owner {}", slot), 0, slot)));
  bob.expect(NFS4ERR_DELAY, open_ops(bob, both, "one too many", 0, session_slots / 2));
  alice.ok(give_back(a));
  for (const uint32_t xid : waiting) EXPECT_EQ(answer_of(xid).status, NFS4_OK);
}

TEST_F(Delegations, WhatWasRecalledIsRecalledAgainAfterARestart) {
  const Delegated a = open(alice, read_access);
  Ops ops = open_ops(bob, both);
  send_waiting(bob, ops);
  ASSERT_EQ(server.callbacks.size(), 1U);
  const Recall before = recall_of(server.callbacks[0]);
  restart();
  server.env.run_until_idle();
  EXPECT_EQ(server.callbacks.size(), 1U) << "there is no connection";
  const uint32_t xid = server.send(ops.finish(), bob.uid());  // the same again
  server.env.run_until_idle();
  EXPECT_FALSE(server.replied(xid));
  alice.expect(NFS4_OK, bind_conn(alice.session(), 3));
  server.env.run_until_idle();
  ASSERT_EQ(server.callbacks.size(), 2U);
  const Recall after = recall_of(server.callbacks[1]);
  EXPECT_EQ(after.seqid, before.seqid);
  EXPECT_EQ(after.stateid, before.stateid);
  answer(NFS4ERR_RETRY_UNCACHED_REP);  // it had arrived
  alice.ok(give_back(a));
  EXPECT_EQ(answer_of(xid).status, NFS4_OK);
}

TEST_F(Delegations, ALostConnectionIsReplaced) {
  const Delegated a = open(alice, read_access);
  const uint32_t xid = send_waiting(bob, open_ops(bob, both));
  server.reconnect();
  EXPECT_EQ(server.callbacks.size(), 1U);
  constexpr uint32_t path_down = 0x201;
  const Reply told = alice.ok(alice.seq());
  wire::XdrDecoder in = told.in(OP_SEQUENCE);
  in.get_opaque_fixed(16 + 16);
  EXPECT_EQ(in.get_u32(), path_down);
  alice.expect(NFS4_OK, bind_conn(alice.session(), 3));
  server.env.run_until_idle();
  ASSERT_EQ(server.callbacks.size(), 2U);
  EXPECT_EQ(recall_of(server.callbacks[1]).seqid, 1U);
  answer(NFS4_OK, NFS4ERR_BAD_STATEID);  // the answer to its OPEN is still on the way
  pass(std::chrono::seconds(1));
  ASSERT_EQ(server.callbacks.size(), 3U);
  EXPECT_EQ(recall_of(server.callbacks[2]).seqid, 2U);
  answer(NFS4_OK);
  alice.ok(give_back(a));
  server.env.run_until_idle();
  (void)xid;
}

// As soon as the call that was under way is given up.
TEST_F(Delegations, ARecallGoesOverANewSessionWhenItsOwnIsDestroyed) {
  const Delegated a = open(alice, read_access);
  const uint32_t xid = send_waiting(bob, open_ops(bob, both));
  ASSERT_EQ(server.callbacks.size(), 1U);  // and is not answered
  const ByteVector destroyed = alice.session();
  alice.expect(NFS4_OK, destroy_session(destroyed));
  alice.new_session(with_back_channel);
  pass(std::chrono::seconds(12));
  ASSERT_EQ(server.callbacks.size(), 2U);
  const Recall recall = recall_of(server.callbacks[1]);
  EXPECT_EQ(recall.session, alice.session());
  EXPECT_NE(recall.session, destroyed);
  EXPECT_EQ(recall.seqid, 1U);
  EXPECT_EQ(answer_of(xid).status, NFS4ERR_DELAY);
  answer(NFS4_OK);
  alice.ok(give_back(a));
  EXPECT_EQ(open(bob, both).type, 0U);
}

TEST_F(Delegations, OpensUnderARecalledOne) {
  const Delegated a = open(alice, both);
  send_waiting(bob, open_ops(bob, both));
  answer(NFS4_OK);
  const Reply opened = alice.ok(alice.seq()
                                    .fh(a.handle)
                                    .op(OP_OPEN)
                                    .u32(0)
                                    .u32(both)
                                    .u32(0)
                                    .u64(alice.id())
                                    .text("local")
                                    .u32(0)
                                    .u32(5)  // CLAIM_DELEG_CUR_FH
                                    .fixed(a.delegation)
                                    .getfh());
  EXPECT_EQ(delegated(opened).type, 0U);
  alice.ok(give_back(a));
}

TEST_F(Delegations, ADeadClientsAreInNobodysWay) {
  open(alice, read_access);
  for (int i = 0; i < 12; ++i) {
    pass(std::chrono::seconds(10));
    bob.ok(bob.seq());
  }
  EXPECT_EQ(open(bob, both).type, 2U);
  EXPECT_TRUE(server.callbacks.empty());
}

// Ten times a second, and not more and more often.
TEST_F(Delegations, WhoeverRefusesARecallIsCalledAgain) {
  open(alice, read_access);
  const uint32_t xid = send_waiting(bob, open_ops(bob, both));
  size_t answered = 0;
  constexpr int tenths = 600;
  for (int i = 0; i < tenths; ++i) {
    if (answered != server.callbacks.size()) {
      answered = server.callbacks.size();
      answer(NFS4_OK, NFS4ERR_BADHANDLE);
    }
    server.env.advance(std::chrono::milliseconds(100));
    server.env.run_until_idle();
  }
  EXPECT_EQ(answer_of(xid).status, NFS4ERR_DELAY);
  EXPECT_GE(server.callbacks.size(), tenths / 2);
  EXPECT_LE(server.callbacks.size(), tenths + 1);
}

// ----------------------------------------------------------------------------------- CB_GETATTR (§20.1)

class HeldForWriting : public Delegations {
 public:
  struct Seen {
    uint64_t change = 0, size = 0;
    auto operator<=>(const Seen&) const = default;
  };
  void SetUp() override {
    Delegations::SetUp();
    held = open(alice, both);
    ASSERT_EQ(held.type, 2U);
    alice.ok(alice.seq().fh(held.handle).write(held.delegation, 0, "data", 2));
    granted = look_as_alice();
    alice.ok(give_back(held));
    held = open(alice, both);
    ASSERT_EQ(held.type, 2U);
  }
  static Seen seen_of(const Reply& reply) {
    EXPECT_EQ(reply.status, NFS4_OK);
    wire::XdrDecoder in = reply.in(OP_GETATTR);
    EXPECT_EQ(in.get_u32(), 1U);
    EXPECT_EQ(in.get_u32(), change_and_size);
    in.get_u32();
    return {.change = in.get_u64(), .size = in.get_u64()};
  }
  Seen look_as_alice() {
    return seen_of(alice.ok(alice.seq(2).fh(held.handle).getattr({Attribute::change, Attribute::size})));
  }
  uint32_t look(uint32_t slot = 0) {
    return send_waiting(bob, bob.seq(slot).fh(held.handle).getattr({Attribute::change, Attribute::size}));
  }
  void expect_asked(uint32_t seqid) {
    ASSERT_FALSE(server.callbacks.empty());
    const CalledBack called = CalledBack::of(server.callbacks.back());
    EXPECT_EQ(called.operation, cb_getattr);
    EXPECT_EQ(called.seqid, seqid);
    wire::XdrDecoder in(called.arguments);
    EXPECT_TRUE(std::ranges::equal(in.get_opaque(128), held.handle));
    EXPECT_EQ(in.get_u32(), 1U);
    EXPECT_EQ(in.get_u32(), change_and_size);
    EXPECT_TRUE(in.finished());
  }
  void say(const Seen& seen) {
    wire::XdrEncoder out;
    out.put_u32(1);
    out.put_u32(change_and_size);
    out.put_u32(16);
    out.put_u64(seen.change);
    out.put_u64(seen.size);
    answer_callback(server, NFS4_OK, NFS4_OK, out.flatten());
  }
  void expect_recalled() {
    ASSERT_FALSE(server.callbacks.empty());
    EXPECT_EQ(CalledBack::of(server.callbacks.back()).operation, cb_recall);
  }

  static constexpr uint32_t change_and_size = 1U << 3U | 1U << 4U;
  Delegated held;
  Seen granted;  // what alice knows since she has the delegation
};

TEST_F(HeldForWriting, IsAskedWhatItHasChanged) {
  uint32_t xid = look();
  expect_asked(1);
  say(granted);
  EXPECT_EQ(seen_of(answer_of(xid)), granted) << "it has changed nothing";
  xid = look();
  expect_asked(2);
  say({granted.change + 1, 777});
  const Seen first = seen_of(answer_of(xid));
  EXPECT_EQ(first.size, 777U);
  EXPECT_GT(first.change, granted.change);
  xid = look();
  say({granted.change + 1, 5});
  const Seen second = seen_of(answer_of(xid));
  EXPECT_EQ(second.size, 5U);
  EXPECT_GT(second.change, first.change);
  EXPECT_EQ(server.callbacks.size(), 3U);
  alice.ok(give_back(held));
  const Seen after = seen_of(bob.ok(bob.seq().fh(held.handle).getattr({Attribute::change, Attribute::size})));
  EXPECT_EQ(after.size, granted.size) << "nothing of it was written";
  EXPECT_GT(after.change, second.change);
}

TEST_F(HeldForWriting, MaySayMoreThanItIsAsked) {
  const uint32_t xid = look();
  wire::XdrEncoder out;
  out.put_u32(3);
  out.put_u32(change_and_size);
  out.put_u32(0);
  out.put_u32(1U << 21U);  // time_deleg_modify
  out.put_u32(28);
  out.put_u64(granted.change + 1);
  out.put_u64(777);
  out.put_u64(1'700'000'000);
  out.put_u32(0);
  answer_callback(server, NFS4_OK, NFS4_OK, out.flatten());
  EXPECT_EQ(seen_of(answer_of(xid)).size, 777U);
}

TEST_F(HeldForWriting, OnlyWhereTheAnswerDependsOnIt) {
  bob.ok(bob.seq().fh(held.handle).getattr({Attribute::fileid, Attribute::mode}));
  look_as_alice();
  EXPECT_TRUE(server.callbacks.empty());
}

TEST_F(HeldForWriting, WhatItWritesWhileItIsAskedIsNotTakenForOlder) {
  const uint32_t xid = look();
  alice.ok(alice.seq().fh(held.handle).write(held.delegation, 0, "much more data", 2));
  say({granted.change + 1, 777});
  const Seen told = seen_of(answer_of(xid));
  EXPECT_EQ(told.size, 777U);
  EXPECT_GT(look_as_alice().change, told.change);
}

TEST_F(HeldForWriting, IsRecalledUnlessItAnswers) {
  const auto refused = [&](Nfsstat4 status, Bytes result) {
    answer_callback(server, NFS4_OK, status, result);
    server.env.run_until_idle();
    expect_recalled();
  };
  const std::vector<std::function<void()>> answers{
      [&] { refused(NFS4ERR_NOTSUPP, {}); }, [&] { refused(NFS4_OK, {}); },
      [&] { say({granted.change + 1, UINT64_MAX}), server.env.run_until_idle(), expect_recalled(); },
      [&] { pass(std::chrono::seconds(2)), expect_recalled(); }};
  for (const auto& answers_so : answers) {
    const uint32_t xid = look();
    answers_so();
    EXPECT_FALSE(server.replied(xid));
    answer_callback(server, NFS4_OK);
    alice.ok(give_back(held));
    EXPECT_EQ(seen_of(answer_of(xid)).size, granted.size);
    alice.ok(alice.seq().fh(held.handle).close(held.open));
    pass(std::chrono::seconds(11));  // nobody gets one right after a conflict
    held = open(alice, both);
    ASSERT_EQ(held.type, 2U);
    granted = look_as_alice();
  }
}

TEST_F(HeldForWriting, OneThatIsNotReadyIsAskedAgain) {
  const uint32_t xid = look();
  answer_callback(server, NFS4_OK, NFS4ERR_DELAY);
  server.env.advance(std::chrono::milliseconds(200));
  server.env.run_until_idle();
  expect_asked(2);
  say({granted.change + 1, 777});
  EXPECT_EQ(seen_of(answer_of(xid)).size, 777U);
}

TEST_F(HeldForWriting, OneThatGivesItBackInsteadHasAnswered) {
  const uint32_t xid = look();
  alice.ok(give_back(held));
  EXPECT_EQ(seen_of(answer_of(xid)), granted);
  // The slot of its back channel is free again.
  pass(std::chrono::seconds(1));
  held = open(alice, both);
  ASSERT_EQ(held.type, 2U);
  look();
  expect_asked(2);
}

TEST_F(HeldForWriting, IsAskedAgainAfterARestart) {
  const Ops ops = bob.seq().fh(held.handle).getattr({Attribute::change, Attribute::size});
  send_waiting(bob, ops);
  expect_asked(1);
  restart();
  const uint32_t xid = server.send(ops.finish(), bob.uid());  // the same again
  alice.expect(NFS4_OK, bind_conn(alice.session(), 3));
  server.env.run_until_idle();
  expect_asked(1);
  answer(NFS4ERR_RETRY_UNCACHED_REP);  // it had arrived, but what was the answer?
  server.env.run_until_idle();
  expect_asked(2);
  say({granted.change + 1, 777});
  EXPECT_EQ(seen_of(answer_of(xid)).size, 777U);
}

}  // namespace
}  // namespace perdure::conformance
