// Slots: every combination of what a slot has seen and what a client sends.
#include "client/sequence.h"

#include <gtest/gtest.h>

#include "client/bind_conn_to_session.h"
#include "client/destroy_session.h"
#include "client/open.h"
#include "client/testing/world.h"

namespace perdure::client {
namespace {

using testing::World;

constexpr uint32_t the_checksum = 77;

ByteVector bytes(std::string_view text) {
  const Bytes b = bytes_of(text);
  return {b.begin(), b.end()};
}

// How a request on a slot went.
enum class End : uint8_t {
  changed,      // it changed a row: its reply is in the slot's row
  cached,       // it changed nothing, sa_cachethis
  uncached,     // it changed nothing
  in_flight,    // it has not ended, and has changed nothing
  in_progress,  // it has not ended, and has changed something
};
constexpr End ends[] = {End::changed, End::cached, End::uncached, End::in_flight, End::in_progress};

// Sends a request as transaction `id`, which ends so. Gives its slot.
Outcome<SlotHandle> request(World& w, const World::Client& c, TransactionId id, uint32_t slot, uint32_t seqid,
                            End end) {
  return w.run(id, [&](state::Run& run) -> Outcome<SlotHandle> {
    const Sequenced s = TRY(sequence(
        w.cs(), run, {.session = c.session, .slot = slot, .seqid = seqid, .checksum = the_checksum}));
    EXPECT_FALSE(s.replay);
    if (end == End::in_progress) w.cs().mark_in_progress(run, s.slot, id);
    if (end == End::changed || end == End::cached || end == End::uncached)
      w.cs().finish(run, s.slot, bytes(fmt::format("reply {}", seqid)), end == End::changed,
                    end != End::uncached);
    return s.slot;
  });
}

// What a client is told.
struct Answer {
  enum class Kind : uint8_t { fresh, replay, wait, status } kind;
  Status status = Status::ok;
  std::string reply = {};
  bool operator==(const Answer&) const = default;
};

std::ostream& operator<<(std::ostream& out, const Answer& a) {
  return out << static_cast<int>(a.kind) << ' ' << name(a.status) << ' ' << a.reply;
}

Answer ask(World& w, const World::Client& c, uint32_t slot, uint32_t seqid, uint32_t checksum) {
  Answer answer{Answer::Kind::fresh};
  (void)w.run([&](state::Run& run) -> Outcome<void> {
    const auto s =
        sequence(w.cs(), run, {.session = c.session, .slot = slot, .seqid = seqid, .checksum = checksum});
    if (!s && s.error().is_wait()) answer.kind = Answer::Kind::wait;
    if (!s && s.error().is_status()) answer = {Answer::Kind::status, s.error().status()};
    if (s && s->replay) answer = {Answer::Kind::replay, Status::ok, std::string(text_of(*s->replay))};
    return {};
  });
  return answer;
}

// A slot as its owner sees it.
struct Slot {
  bool used = false;
  uint32_t seqid = 0;
  bool busy = false, may_jump = false;
  std::optional<std::string> reply = {};
};

Answer expected(const Slot& slot, uint32_t seqid, bool same_request) {
  const auto status = [](Status s) { return Answer{Answer::Kind::status, s}; };
  if (slot.used && seqid == slot.seqid) {
    if (!same_request) return status(Status::seq_false_retry);
    if (slot.busy) return {Answer::Kind::wait};
    return slot.reply ? Answer{Answer::Kind::replay, Status::ok, *slot.reply}
                      : status(Status::retry_uncached);
  }
  const uint32_t ahead = seqid - slot.seqid;
  if (slot.busy || ahead == 0 || ahead >= 0x80000000U || (ahead > 1 && !slot.may_jump))
    return status(Status::seq_misordered);
  return {Answer::Kind::fresh};
}

class Slots : public ::testing::TestWithParam<bool> {};

TEST_P(Slots, EveryStateMeetsEverySeqid) {
  const bool restored = GetParam();
  // The seqid of the slot's request; 0 stands for a slot that was never used.
  const std::optional<uint32_t> seqids[] = {std::nullopt, 1,          2,          0x7fffffff,
                                            0x80000000,   0xfffffffe, 0xffffffff, 0};
  const uint32_t deltas[] = {0,          1,          2,          3,          0x7ffffffe,
                             0x7fffffff, 0x80000000, 0x80000001, 0xfffffffe, 0xffffffff};
  struct Probe {
    uint32_t slot;
    Slot before;
    uint32_t delta;
    bool same_request;
  };
  for (const auto& seqid : seqids) {
    for (const End end : ends) {
      if (!seqid && end != End::changed) continue;
      World v;
      const World::Client client = v.make_client("owner");
      std::vector<Probe> probes;
      for (const uint32_t delta : deltas)
        for (const bool same : {true, false})
          probes.push_back({static_cast<uint32_t>(probes.size()), {}, delta, same});
      ASSERT_LE(probes.size(), 64U);
      // The request before the slot's one was an old one that changed something.
      const bool first = !seqid || *seqid == 1;
      for (const Probe& p : probes) {
        if (first) continue;
        (void)v.run([&](state::Run& run) -> Outcome<void> {
          v.cs().slots.put(run, {client.number, p.slot},
                           {*seqid - 1, the_checksum, TransactionId(0), bytes("base")});
          return {};
        });
      }
      v.restart();
      for (Probe& p : probes) {
        if (seqid) {
          ASSERT_TRUE(request(v, client, TransactionId(1000 + p.slot), p.slot, *seqid, end));
        }
        const bool kept = !restored || end == End::changed || end == End::in_progress;
        if (!seqid) {
          p.before = {};
        } else if (kept) {
          p.before = {
              .used = true, .seqid = *seqid, .busy = end == End::in_flight || end == End::in_progress};
          if (end == End::changed || end == End::cached) p.before.reply = fmt::format("reply {}", *seqid);
        } else {
          p.before = {.used = !first, .seqid = *seqid - 1};
          if (!first) p.before.reply = "base";
        }
        p.before.may_jump = (restored || !seqid) && !p.before.busy;
      }
      if (restored) v.restart();
      for (const Probe& p : probes) {
        const uint32_t given = p.before.seqid + p.delta;
        EXPECT_EQ(ask(v, client, p.slot, given, p.same_request ? the_checksum : 1),
                  expected(p.before, given, p.same_request))
            << "slot at " << p.before.seqid << " (" << static_cast<int>(end) << "), given " << given;
      }
    }
  }
}
INSTANTIATE_TEST_SUITE_P(Restored, Slots, ::testing::Bool());

TEST(Sequence, ANewSessionDoesNotJump) {
  World w;
  const World::Client c = w.make_client("owner");
  EXPECT_EQ(ask(w, c, 0, 0, 1).status, Status::seq_misordered);
  EXPECT_EQ(ask(w, c, 0, 2, 1).status, Status::seq_misordered);
  EXPECT_EQ(ask(w, c, 0, 1, 1).kind, Answer::Kind::fresh);
}

TEST(Sequence, OneJumpAfterARestorationAndNoMore) {
  World w;
  const World::Client c = w.make_client("owner");
  ASSERT_TRUE(request(w, c, w.next_id(), 0, 1, End::changed));
  for (uint32_t i = 2; i < 10; ++i) ASSERT_TRUE(request(w, c, w.next_id(), 0, i, End::uncached));
  w.restart();
  ASSERT_TRUE(request(w, c, w.next_id(), 0, 10, End::uncached)) << "the client's next one";
  EXPECT_EQ(ask(w, c, 0, 12, the_checksum).status, Status::seq_misordered);
  EXPECT_EQ(ask(w, c, 0, 9, the_checksum).status, Status::seq_misordered);
  ASSERT_TRUE(request(w, c, w.next_id(), 0, 11, End::changed));
  w.restart();
  EXPECT_EQ(ask(w, c, 0, 11, the_checksum).reply, "reply 11");
  ASSERT_TRUE(request(w, c, w.next_id(), 0, 12, End::uncached))
      << "a retry does not use up the jump, the next one does";
  EXPECT_EQ(ask(w, c, 0, 20, the_checksum).status, Status::seq_misordered);
}

TEST(Sequence, ARetransmissionWaitsForTheFirst) {
  World w;
  const World::Client c = w.make_client("owner");
  const TransactionId first = w.next_id();
  const SlotHandle slot = *request(w, c, first, 0, 1, End::in_flight);
  EXPECT_FALSE(w.cs().has_followers(slot));
  const auto follow = [&](TransactionId id) {
    return w.run(id, [&](state::Run& run) {
      return sequence(w.cs(), run, {.session = c.session, .slot = 0, .seqid = 1, .checksum = the_checksum});
    });
  };
  std::vector<TransactionId> followers;
  for (int i = 0; i < 4; ++i) followers.push_back(w.next_id());
  for (const TransactionId id : followers) EXPECT_TRUE(follow(id).error().is_wait());
  EXPECT_EQ(follow(w.next_id()).error(), Stop(Status::delay)) << "enough";
  EXPECT_TRUE(w.cs().has_followers(slot));
  EXPECT_TRUE(w.resumed.empty());
  (void)w.run(first, [&](state::Run& run) -> Outcome<void> {
    w.cs().finish(run, slot, bytes("the reply"), false, w.cs().has_followers(slot));
    return {};
  });
  EXPECT_EQ(w.resumed, followers);
  EXPECT_EQ(text_of(*follow(followers[0])->replay), "the reply");
  EXPECT_EQ(w.cs().figures().replays, 6U);
}

// A run that faults is abandoned, and executes again; meanwhile a retransmission comes.
TEST(Sequence, AnAbandonedRunFindsItselfInFlight) {
  World w;
  const World::Client c = w.make_client("owner");
  const SequenceArgs args{.session = c.session, .slot = 3, .seqid = 1, .checksum = the_checksum};
  const TransactionId abandoned = w.next_id();
  const std::string rows = w.describe_rows();
  for (int i = 0; i < 3; ++i) {
    w.abandon(abandoned, [&](state::Run& run) -> Outcome<void> {
      TRY(sequence(w.cs(), run, args));
      return {};
    });
  }
  EXPECT_EQ(w.describe_rows(), rows);
  EXPECT_TRUE(w.run([&](state::Run& run) { return sequence(w.cs(), run, args); }).error().is_wait());
  const auto again = w.run(abandoned, [&](state::Run& run) -> Outcome<void> {
    const Sequenced s = TRY(sequence(w.cs(), run, args));
    EXPECT_FALSE(s.replay);
    w.cs().finish(run, s.slot, bytes("done"), true, true);
    return {};
  });
  EXPECT_TRUE(again);
  EXPECT_EQ(ask(w, c, 3, 1, the_checksum).reply, "done");
  EXPECT_EQ(w.cs().client_twin(c.id)->in_flight, 0U);
}

TEST(Sequence, TheReplyOfAModifyingRequestIsCachedInAnyCase) {
  World w;
  const World::Client c = w.make_client("owner");
  (void)w.run([&](state::Run& run) -> Outcome<void> {
    const Sequenced s =
        TRY(sequence(w.cs(), run, {.session = c.session, .slot = 0, .seqid = 1, .checksum = 5}));
    w.cs().finish(run, s.slot, bytes("created"), true, false);
    return {};
  });
  EXPECT_EQ(ask(w, c, 0, 1, 5).reply, "created");
  w.checkpoint();
  w.restart();
  EXPECT_EQ(ask(w, c, 0, 1, 5).reply, "created");
  EXPECT_EQ(ask(w, c, 0, 1, 6).status, Status::seq_false_retry);
}

// Durability: a replay may leave no earlier than the reply that it repeats.
TEST(Sequence, AReplayWaitsForWhatTheFirstReplySaw) {
  World w;
  const World::Client c = w.make_client("owner");
  w.env().hold_io(true);
  state::Database& database = w.database();
  state::Run run(database);
  run.begin(w.next_id(), 0, w.env().wall_time());
  ASSERT_TRUE(open(w.cs(), run, {.client = c.id, .owner = bytes_of("o"), .inode = InodeId(9)}));
  run.end_step({});
  const Lsn opened = run.commit();
  EXPECT_LE(w.commit().durable(), opened);
  // A request that reads that open.
  run.begin(w.next_id(), 0, w.env().wall_time());
  const Sequenced s = *sequence(w.cs(), run, {.session = c.session, .slot = 0, .seqid = 1, .checksum = 5});
  ASSERT_TRUE(w.cs().opens.first(run, {InodeId(9), 0}, {InodeId(9), UINT32_MAX})->row);
  w.cs().finish(run, s.slot, bytes("seen"), false, true);
  run.end_step({});
  EXPECT_EQ(run.commit(), opened);
  run.begin(w.next_id(), 0, w.env().wall_time());
  EXPECT_TRUE(sequence(w.cs(), run, {.session = c.session, .slot = 0, .seqid = 1, .checksum = 5})->replay);
  run.end_step({});
  EXPECT_EQ(run.commit(), opened) << "the replay saw it too";
  w.env().hold_io(false);
  w.env().run_until_idle();
}

TEST(Sequence, BadSessionsAndSlots) {
  World w;
  const World::Client c = w.make_client("owner");
  EXPECT_EQ(ask(w, c, 64, 1, 1).status, Status::bad_slot);
  EXPECT_EQ(ask(w, c, UINT32_MAX, 1, 1).status, Status::bad_slot);
  World::Client forged = c;
  forged.session[15] ^= 1;
  EXPECT_EQ(ask(w, forged, 0, 1, 1).status, Status::bad_session) << "session ids cannot be guessed";
  forged = c;
  forged.session[7] ^= 1;
  EXPECT_EQ(ask(w, forged, 0, 1, 1).status, Status::bad_session);
  w.restart();
  EXPECT_EQ(ask(w, c, 0, 1, 1).kind, Answer::Kind::fresh);
}

TEST(Sequence, ASessionIsNotDestroyedUnderItsRequests) {
  World w;
  const World::Client c = w.make_client("owner");
  const TransactionId other = w.next_id();
  const SlotHandle slot = *request(w, c, other, 1, 1, End::in_progress);
  const auto destroy = [&] {
    return w.run([&](state::Run& run) { return destroy_session(w.cs(), run, c.session); });
  };
  EXPECT_EQ(destroy().error(), Stop(Status::delay));
  (void)w.run(other, [&](state::Run& run) -> Outcome<void> {
    w.cs().finish(run, slot, bytes("end"), true, true);
    return {};
  });
  // Its own request may be in flight on it, and a retransmission of that one waits.
  const TransactionId own = w.next_id(), follower = w.next_id();
  const SlotHandle own_slot = *request(w, c, own, 0, 1, End::in_flight);
  EXPECT_TRUE(w.run(follower,
                    [&](state::Run& run) {
                      return sequence(
                          w.cs(), run,
                          {.session = c.session, .slot = 0, .seqid = 1, .checksum = the_checksum});
                    })
                  .error()
                  .is_wait());
  EXPECT_TRUE(w.run(own, [&](state::Run& run) -> Outcome<void> {
    TRY(destroy_session(w.cs(), run, c.session));
    w.cs().finish(run, own_slot, bytes("destroyed"), true, true);
    return {};
  }));
  EXPECT_EQ(w.resumed, std::vector{follower});
  EXPECT_EQ(ask(w, c, 0, 1, the_checksum).status, Status::bad_session);
  EXPECT_EQ(w.cs().slots.size(), 0U);
  EXPECT_EQ(w.cs().client_twin(c.id)->in_flight, 0U);
  EXPECT_EQ(w.check_twins(), "");
}

TEST(Sequence, ARestoredTransactionGoesOnWithItsSlot) {
  World w;
  const World::Client c = w.make_client("owner");
  const TransactionId id = w.next_id();
  const SlotHandle slot = *request(w, c, id, 2, 1, End::in_progress);
  w.restart();
  w.cs().resumed(slot, id);
  EXPECT_EQ(ask(w, c, 2, 2, the_checksum).status, Status::seq_misordered) << "no jump over it";
  EXPECT_EQ(ask(w, c, 2, 1, the_checksum).kind, Answer::Kind::wait);
  EXPECT_FALSE(w.cs().lease_has_ended(c.id));
  w.pass(std::chrono::seconds(1000));
  EXPECT_FALSE(w.cs().lease_has_ended(c.id)) << "not while a transaction is in flight";
  (void)w.run(id, [&](state::Run& run) -> Outcome<void> {
    w.cs().finish(run, slot, bytes("late"), true, false);
    return {};
  });
  EXPECT_EQ(w.resumed.size(), 1U);
  EXPECT_EQ(ask(w, c, 2, 1, the_checksum).reply, "late");
  w.restart();
  EXPECT_EQ(ask(w, c, 2, 1, the_checksum).reply, "late");
}

TEST(Sequence, ConnectionsAreBoundByUse) {
  World w;
  const World::Client c = w.make_client("owner");
  const auto use = [&](uint64_t connection, uint32_t seqid) {
    return *w.run([&](state::Run& run) -> Outcome<uint32_t> {
      const Sequenced s = TRY(sequence(w.cs(), run,
                                       {.session = c.session,
                                        .slot = 0,
                                        .seqid = seqid,
                                        .checksum = 1,
                                        .connection = ConnectionId(connection)}));
      w.cs().finish(run, s.slot, {}, false, false);
      return s.status_flags;
    });
  };
  const auto bind = [&](uint64_t connection, uint32_t direction) {
    return w.run([&](state::Run& run) {
      return bind_conn_to_session(w.cs(), run, c.session, ConnectionId(connection), direction);
    });
  };
  const auto connections = [&] { return w.cs().session_twin(c.number)->connections.size(); };
  EXPECT_EQ(use(1, 1), 0U);
  EXPECT_EQ(use(1, 2), 0U);
  EXPECT_EQ(connections(), 1U);
  EXPECT_EQ(*bind(2, 7), Direction::both);
  EXPECT_EQ(*bind(3, 1), Direction::fore);
  EXPECT_EQ(*bind(4, 2), Direction::back);
  EXPECT_EQ(*bind(4, 3), Direction::both);
  EXPECT_EQ(bind(5, 0).error(), Stop(Status::invalid_argument));
  EXPECT_EQ(bind(5, 6).error(), Stop(Status::invalid_argument));
  EXPECT_EQ(connections(), 4U);
  for (uint64_t i = 1; i <= 4; ++i) w.cs().connection_closed(ConnectionId(i));
  w.cs().connection_closed(ConnectionId(99));
  EXPECT_EQ(connections(), 0U);
  for (uint64_t i = 100; i < 300; ++i) EXPECT_EQ(*bind(i, 1), Direction::fore);
  EXPECT_EQ(connections(), 64U) << "the oldest are forgotten";
  for (uint64_t i = 100; i < 300; ++i) w.cs().connection_closed(ConnectionId(i));
  EXPECT_EQ(connections(), 0U);
  EXPECT_TRUE(bind(1, 1));
}

TEST(Sequence, TheClientHearsThatItsCallbackPathIsDown) {
  World w;
  const World::Client c = w.make_client("owner");
  uint32_t seqid = 0;
  const auto flags = [&] {
    return *w.run([&](state::Run& run) -> Outcome<uint32_t> {
      const Sequenced s =
          TRY(sequence(w.cs(), run, {.session = c.session, .slot = 0, .seqid = ++seqid, .checksum = 1}));
      w.cs().finish(run, s.slot, {}, false, false);
      return s.status_flags;
    });
  };
  EXPECT_EQ(flags(), 0U) << "nothing to call back for";
  w.cs().client_twin(c.id)->delegations = 1;
  EXPECT_EQ(flags(), 0U) << "it has not asked for a back channel";
  (void)w.run([&](state::Run& run) -> Outcome<void> {
    SessionRow row = *TRY(w.cs().sessions.get(run, {c.number}));
    row.back_channel = true;
    w.cs().sessions.put(run, {c.number}, row);
    return {};
  });
  EXPECT_EQ(flags(), seq4_status_cb_path_down | seq4_status_cb_path_down_session);
  w.cs().bind_connection(c.number, ConnectionId(1), false, true);
  EXPECT_EQ(flags(), 0U);
  w.cs().connection_closed(ConnectionId(1));
  EXPECT_NE(flags(), 0U);
  w.cs().client_twin(c.id)->revoked = 1;
  EXPECT_EQ(flags(), seq4_status_recallable_state_revoked);
}

TEST(Sequence, WithManySessionsEachIsAskedToUseItsShareOfTheSlots) {
  ClientState::Options options;
  options.slots_per_session_max = 8;
  options.slots_total = 16;
  World w(options);
  std::vector<World::Client> clients;
  uint32_t seqid = 0;
  // Of the first client.
  const auto slots = [&] {
    return *w.run([&](state::Run& run) -> Outcome<std::pair<uint32_t, uint32_t>> {
      const Sequenced s = TRY(
          sequence(w.cs(), run, {.session = clients[0].session, .slot = 7, .seqid = ++seqid, .checksum = 1}));
      w.cs().finish(run, s.slot, {}, false, false);
      return std::pair(s.highest_slot, s.target_highest_slot);
    });
  };
  for (const uint32_t target : {7U, 7U, 4U, 3U, 3U, 3U}) {
    clients.push_back(w.make_client(fmt::format("owner {}", clients.size())));
    EXPECT_EQ(slots(), (std::pair(7U, target))) << clients.size();
  }
  while (clients.size() > 1) {
    ASSERT_TRUE(w.run([&](state::Run& run) { return destroy_session(w.cs(), run, clients.back().session); }));
    clients.pop_back();
  }
  EXPECT_EQ(slots(), (std::pair(7U, 7U)));
}

}  // namespace
}  // namespace perdure::client
