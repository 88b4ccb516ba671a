// The checker finds every kind of damage in client state. Each is made by editing rows of a state that is
// good.
#include "client/check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "client/lock.h"
#include "client/open.h"
#include "client/testing/world.h"

namespace perdure::client {
namespace {

using ::testing::Contains;
using testing::file;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::World;

// Alice and Bob have `file` open; both hold locks in it, Alice in two rows.
class State {
 public:
  State() {
    alice = world.make_client("alice");
    bob = world.make_client("bob");
    alice_open = open_file(alice);
    bob_open = open_file(bob);
    alice_lock = lock_bytes(alice, alice_open, LockType::write, {0, 9});
    bob_lock = lock_bytes(bob, bob_open, LockType::read, {10, 19});
    for (uint64_t i = 0; i < LockRow::ranges_max; ++i) {
      const LockArgs args{.client = alice.id,
                          .inode = file,
                          .type = LockType::read,
                          .range = {100 + 10 * i, 105 + 10 * i},
                          .stateid = alice_lock};
      alice_lock = world.run([&](Run& run) { return lock(cs(), run, args); })->stateid;
    }
    CHECK(world.run([&](Run& run) -> Outcome<void> {
      cs().slots.put(run, {alice.number, 0}, {1, 2, TransactionId(0), ByteVector(3)});
      return {};
    }));
  }

  ClientState& cs() { return world.cs(); }
  template <class Table, class Edit>
  void edit(Table& table, const typename Table::Key& key, Edit change) {
    CHECK(world.run([&](Run& run) -> Outcome<void> {
      const auto* row = TRY(table.get(run, key));
      CHECK(row != nullptr);
      auto copy = *row;
      change(copy);
      table.put(run, key, std::move(copy));
      return {};
    }));
  }
  template <class Table, class Row>
  void put(Table& table, const typename Table::Key& key, Row row) {
    CHECK(world.run([&](Run& run) -> Outcome<void> {
      table.put(run, key, row);
      return {};
    }));
  }
  template <class Table>
  void erase(Table& table, const typename Table::Key& key) {
    CHECK(world.run([&](Run& run) -> Outcome<void> {
      table.erase(run, key);
      return {};
    }));
  }
  StateKey key(const Stateid& stateid) { return {stateid.inode, stateid.number}; }
  ClientOwnerRow::Key owner_key(std::string_view owner) { return {cs().hash(bytes_of(owner)), 0}; }
  // The row of Alice's locks with the lowest, or highest, start.
  LockRow::Key lock_row(bool lowest) {
    std::vector<LockRow::Key> keys;
    cs().locks.for_each([&](const LockRow::Key& k, const LockRow&) {
      if (k.number == alice_lock.number) keys.push_back(k);
    });
    CHECK(keys.size() > 1);
    return lowest ? keys.back() : keys.front();
  }

  std::vector<std::string> findings() { return world.findings(); }

  World world;
  World::Client alice, bob;
  Stateid alice_open, bob_open, alice_lock, bob_lock;

 private:
  Stateid open_file(const World::Client& client) {
    return *world.run([&](Run& run) {
      return open(cs(), run,
                  {.client = client.id, .owner = bytes_of("o"), .inode = file, .access = share_both});
    });
  }
  Stateid lock_bytes(const World::Client& client, const Stateid& opened, LockType type, ByteRange range) {
    return world
        .run([&](Run& run) {
          return lock(cs(), run,
                      {.client = client.id,
                       .inode = file,
                       .type = type,
                       .range = range,
                       .stateid = opened,
                       .new_owner = true,
                       .owner = bytes_of("l")});
        })
        ->stateid;
  }
};

struct Damage {
  const char* name;
  void (*make)(State& state);
  const char* finding;  // part of it
};

const Damage damages[] = {
    {"ClientGone", [](State& s) { s.erase(s.cs().clients, {s.alice.id}); },
     "does not exist, and nobody removes what is left of it"},
    {"OwnerGone", [](State& s) { s.erase(s.cs().client_owners, s.owner_key("alice")); },
     "0 owner rows name it"},
    {"OwnerTwice",
     [](State& s) {
       s.put(s.cs().client_owners, {s.cs().hash(bytes_of("alice")), 1}, ClientOwnerRow{s.alice.id, {}});
     },
     "2 owner rows name it"},
    {"OwnerOfAnother",
     [](State& s) { s.put(s.cs().client_owners, s.owner_key("alice"), ClientOwnerRow{s.bob.id, {}}); },
     "has another owner"},
    {"OwnerUnconfirmed",
     [](State& s) { s.put(s.cs().client_owners, s.owner_key("alice"), ClientOwnerRow{{}, s.alice.id}); },
     "is not confirmed"},
    {"OwnerOfNobody", [](State& s) { s.put(s.cs().client_owners, {123, 0}, ClientOwnerRow{}); },
     "it names no client"},
    {"SessionUnconfirmed",
     [](State& s) {
       ClientRow row = *s.cs().clients.peek({s.alice.id});
       row.confirmed = false;
       s.put(s.cs().clients, {s.alice.id}, row);
     },
     "not confirmed, but with a session"},
    {"SessionGone", [](State& s) { s.erase(s.cs().sessions, {s.alice.number}); },
     "the session does not exist"},
    {"SessionId",
     [](State& s) { s.edit(s.cs().sessions, {s.alice.number}, [](SessionRow& r) { ++r.id[0]; }); },
     "its id is not its own"},
    {"SlotOfNothing",
     [](State& s) { s.put(s.cs().slots, {SessionNumber(99), 0}, SlotRow{1, 2, {}, ByteVector(3)}); },
     "the session does not exist"},
    {"SlotTooHigh",
     [](State& s) { s.put(s.cs().slots, {s.alice.number, 5000}, SlotRow{1, 2, {}, ByteVector(3)}); },
     "slot 5000 of session"},
    {"SlotWithoutReply",
     [](State& s) { s.edit(s.cs().slots, {s.alice.number, 0}, [](SlotRow& r) { r.reply.clear(); }); },
     "its last request has no reply"},
    {"OpenGone", [](State& s) { s.erase(s.cs().opens, s.key(s.alice_open)); },
     "the open on which it stands, "},
    {"OpenOfNobody",
     [](State& s) { s.edit(s.cs().opens, s.key(s.bob_open), [&](OpenRow& r) { r.client = ClientId(99); }); },
     "does not exist, and nobody removes what is left of it"},
    {"OpenOfAnother",
     [](State& s) { s.edit(s.cs().opens, s.key(s.alice_open), [&](OpenRow& r) { r.client = s.bob.id; }); },
     "the open on which it stands is another client's"},
    {"OpenTwice",
     [](State& s) {
       OpenRow row = *s.cs().opens.peek(s.key(s.alice_open));
       row.lock_states = 0;
       s.put(s.cs().opens, {file, s.alice_open.number + 100}, row);
     },
     "has two opens"},
    {"OpenAccess",
     [](State& s) { s.edit(s.cs().opens, s.key(s.alice_open), [](OpenRow& r) { r.access = 1; }); },
     "are not what it was opened with"},
    {"OpenSeqid",
     [](State& s) { s.edit(s.cs().opens, s.key(s.alice_open), [](OpenRow& r) { r.seqid = 0; }); },
     "impossible access 3, deny 0 or seqid 0"},
    {"OpenLockStates",
     [](State& s) { s.edit(s.cs().opens, s.key(s.alice_open), [](OpenRow& r) { ++r.lock_states; }); },
     "it counts 2 lock states, but has 1"},
    {"ShareConflict",
     [](State& s) {
       s.edit(s.cs().opens, s.key(s.alice_open), [](OpenRow& r) {
         r.deny = 2;
         r.history = 1U << (4 * 3 + 2);
       });
     },
     "it denies others writing, but another open has it"},
    {"LockStateGone", [](State& s) { s.erase(s.cs().lock_states, s.key(s.bob_lock)); },
     "there is no such lock state"},
    {"LockStateRows",
     [](State& s) { s.edit(s.cs().lock_states, s.key(s.bob_lock), [](LockStateRow& r) { ++r.rows; }); },
     "it counts 2 rows of locks, but has 1"},
    {"LockConflict",
     [](State& s) {
       s.edit(s.cs().locks, {file, s.bob_lock.number, ~uint64_t{0}}, [](LockRow& r) { r.bounds[0] = 9; });
     },
     "the read lock of bytes 9..19"},
    {"WriteLockConflict",
     [](State& s) {
       s.edit(s.cs().locks, {file, s.bob_lock.number, ~uint64_t{0}},
              [](LockRow& r) { r.bounds[1] = 102, r.write = 1; });
     },
     "conflicts with another one"},
    {"LockRowEmpty",
     [](State& s) {
       s.edit(s.cs().locks, {file, s.bob_lock.number, ~uint64_t{0}}, [](LockRow& r) { r.bounds.clear(); });
     },
     "it has 0 bounds"},
    {"LockRowOrder",
     [](State& s) {
       s.edit(s.cs().locks, s.lock_row(true), [](LockRow& r) { std::swap(r.bounds[2], r.bounds[3]); });
     },
     "its locks are not in order"},
    {"LockRowsNotMerged",
     [](State& s) {
       s.edit(s.cs().locks, s.lock_row(true), [](LockRow& r) { r.bounds[3] = r.bounds[4] - 1; });
     },
     "two locks that touch are not one"},
    {"LockRowsOverlap",
     [](State& s) { s.edit(s.cs().locks, s.lock_row(true), [](LockRow& r) { r.bounds.back() = 10'000; }); },
     "its last lock reaches into the row above"},
    {"LockBeforeItsRow",
     [](State& s) { s.edit(s.cs().locks, s.lock_row(false), [](LockRow& r) { --r.bounds[0]; }); },
     "but has a lock at"},
};

class ClientCheckTest : public ::testing::TestWithParam<Damage> {};

TEST_P(ClientCheckTest, IsFound) {
  State state;
  ASSERT_THAT(state.findings(), IsEmpty());
  state.world.checkpoint();
  GetParam().make(state);
  EXPECT_THAT(state.findings(), Contains(HasSubstr(GetParam().finding)));
}

INSTANTIATE_TEST_SUITE_P(Damages, ClientCheckTest, ::testing::ValuesIn(damages),
                         [](const ::testing::TestParamInfo<Damage>& damage) { return damage.param.name; });

// Step by step, what an expiry has not yet removed is no finding, as long as it is in flight.
TEST(ClientCheck, AnExpiryInFlightExcusesWhatItRemoves) {
  State state;
  state.world.pass(std::chrono::seconds(1000));
  state.world.find_expired();
  size_t steps = 0;
  do {
    EXPECT_THAT(state.findings(), IsEmpty());
    state.world.checkpoint();
    ++steps;
  } while (state.world.run_jobs_once());
  EXPECT_GT(steps, 1U);
  EXPECT_EQ(state.cs().figures().opens, 0U);
}

TEST(ClientCheck, SlotsAndTransactionsInFlightNameEachOther) {
  State state;
  const TransactionId transaction(55);
  state.edit(state.cs().slots, {state.alice.number, 0}, [&](SlotRow& r) { r.in_progress = transaction; });
  const CheckSurroundings::SlotInUse in_use{{state.alice.number, 0, 1, 2}, transaction};
  const auto findings_with = [&](const CheckSurroundings& surroundings) {
    std::vector<std::string> found;
    state::Findings findings([&found](const std::string& line) { found.push_back(line); });
    CHECK(check(state.cs(), surroundings, findings));
    return found;
  };
  EXPECT_THAT(findings_with({.transactions = {transaction}, .expiring = {}, .slots = {in_use}}), IsEmpty());
  EXPECT_THAT(findings_with({}), Contains(HasSubstr("but is not in flight")));
  CheckSurroundings::SlotInUse other = in_use;
  other.slot.seqid = 2;
  EXPECT_THAT(findings_with({.transactions = {transaction}, .expiring = {}, .slots = {other}}),
              Contains(HasSubstr("does not wait for it")));
}

}  // namespace
}  // namespace perdure::client
