// Byte-range locks against a model that knows each byte.
#include "client/lock.h"

#include <gtest/gtest.h>

#include <array>
#include <map>
#include <random>

#include "client/access.h"
#include "client/exchange_id.h"
#include "client/open.h"
#include "client/stateid_ops.h"
#include "client/testing/world.h"

namespace perdure::client {
namespace {

using testing::file;
using testing::World;

Stateid open_file(World& w, ClientId client, std::string_view owner = "open", uint8_t access = share_both,
                  InodeId inode = file) {
  return *w.run([&](state::Run& run) {
    return open(w.cs(), run, {.client = client, .owner = bytes_of(owner), .inode = inode, .access = access});
  });
}

Outcome<Locked> lock_new(World& w, ClientId client, const Stateid& opened, std::string_view owner,
                         LockType type, ByteRange range) {
  return w.run([&](state::Run& run) {
    return lock(w.cs(), run,
                {.client = client,
                 .inode = opened.inode,
                 .type = type,
                 .range = range,
                 .stateid = opened,
                 .new_owner = true,
                 .owner = bytes_of(owner)});
  });
}

Outcome<Locked> lock_more(World& w, ClientId client, const Stateid& stateid, LockType type, ByteRange range) {
  return w.run([&](state::Run& run) {
    return lock(w.cs(), run,
                {.client = client, .inode = stateid.inode, .type = type, .range = range, .stateid = stateid});
  });
}

Outcome<Stateid> unlock(World& w, ClientId client, const Stateid& stateid, ByteRange range) {
  return w.run([&](state::Run& run) { return locku(w.cs(), run, client, stateid.inode, stateid, range); });
}

Outcome<void> free_state(World& w, ClientId client, const Stateid& stateid) {
  return w.run([&](state::Run& run) { return free_stateid(w.cs(), run, client, stateid); });
}

// The rows of a lock state keep what lock_rows.h promises. Gives its locks in order.
std::vector<LockRange> check_rows(World& w, uint32_t number) {
  std::vector<LockRange> all;
  std::vector<std::pair<uint64_t, std::vector<LockRange>>> rows;
  w.cs().locks.for_each([&](const LockRow::Key& key, const LockRow& row) {
    if (key.number == number) rows.insert(rows.begin(), {~key.not_start, ranges_of(row)});
  });
  for (size_t i = 0; i < rows.size(); ++i) {
    const auto& [start, ranges] = rows[i];
    EXPECT_FALSE(ranges.empty());
    EXPECT_LE(ranges.size(), LockRow::ranges_max);
    EXPECT_GE(ranges.front().first, start);
    EXPECT_TRUE(i + 1 == rows.size() || ranges.back().first < rows[i + 1].first);
    all.insert(all.end(), ranges.begin(), ranges.end());
  }
  for (size_t i = 0; i < all.size(); ++i) {
    EXPECT_LE(all[i].first, all[i].last);
    if (i == 0) continue;
    EXPECT_GT(all[i].first, all[i - 1].last);
    EXPECT_FALSE(all[i].first == all[i - 1].last + 1 && all[i].write == all[i - 1].write)
        << "they are one lock";
  }
  EXPECT_EQ(w.cs().lock_states.peek({file, number})->rows, rows.size());
  return all;
}

TEST(LockRange, LengthsAndEnds) {
  EXPECT_EQ(*lock_range(0, 1), (ByteRange{0, 0}));
  EXPECT_EQ(*lock_range(5, 10), (ByteRange{5, 14}));
  EXPECT_EQ(*lock_range(5, UINT64_MAX), (ByteRange{5, UINT64_MAX}));
  EXPECT_EQ(*lock_range(UINT64_MAX, UINT64_MAX), (ByteRange{UINT64_MAX, UINT64_MAX}));
  EXPECT_EQ(*lock_range(1, UINT64_MAX - 1), (ByteRange{1, UINT64_MAX - 1}));
  EXPECT_EQ(*lock_range(0, UINT64_MAX - 1), (ByteRange{0, UINT64_MAX - 2}));
  EXPECT_EQ(lock_range(5, 0).error(), Stop(Status::invalid_argument));
  EXPECT_EQ(lock_range(UINT64_MAX, 1).error(), Stop(Status::invalid_argument));
  EXPECT_EQ(lock_range(2, UINT64_MAX - 1).error(), Stop(Status::invalid_argument));
}

TEST(Lock, ConflictsNameTheirHolder) {
  World w;
  const World::Client a = w.make_client("a"), b = w.make_client("b");
  const Stateid open_a = open_file(w, a.id), open_b = open_file(w, b.id);
  const Stateid lock_a = lock_new(w, a.id, open_a, "alice", LockType::read, {10, 19})->stateid;
  EXPECT_EQ(lock_a.seqid, 1U);
  EXPECT_EQ(lock_a.kind(), StateKind::lock);
  EXPECT_FALSE(lock_new(w, b.id, open_b, "bob", LockType::read, {0, 30})->conflict) << "readers share";
  const auto denied = lock_more(w, a.id, lock_a, LockType::write, {15, 40});
  ASSERT_TRUE(denied && denied->conflict);
  EXPECT_EQ(denied->conflict->range, (ByteRange{0, 30}));
  EXPECT_EQ(denied->conflict->type, LockType::read);
  EXPECT_EQ(denied->conflict->client, b.id);
  const auto tested = w.run([&](state::Run& run) -> Outcome<std::string> {
    const auto conflict = TRY(lockt(w.cs(), run,
                                    {.client = b.id,
                                     .inode = file,
                                     .type = LockType::write,
                                     .range = {0, 12},
                                     .owner = bytes_of("bob")}));
    EXPECT_TRUE(conflict);
    EXPECT_EQ(conflict->range, (ByteRange{10, 19}));
    return std::string(text_of(conflict->owner));
  });
  EXPECT_EQ(*tested, "alice");
  EXPECT_FALSE(lock_more(w, a.id, lock_a, LockType::write, {31, 40})->conflict);
  EXPECT_TRUE(lock_new(w, a.id, open_a, "alice's other process", LockType::write, {19, 19})->conflict)
      << "owners of one client are strangers";
}

TEST(Lock, NeedsAnOpenOfTheRightMode) {
  World w;
  const World::Client a = w.make_client("a"), b = w.make_client("b");
  const Stateid reader = open_file(w, a.id, "r", share_read), writer = open_file(w, a.id, "w", share_write);
  EXPECT_EQ(lock_new(w, a.id, reader, "x", LockType::write, {0, 0}).error(), Stop(Status::open_mode));
  EXPECT_EQ(lock_new(w, a.id, writer, "x", LockType::read, {0, 0}).error(), Stop(Status::open_mode));
  const auto locked = lock_new(w, a.id, reader, "x", LockType::read, {0, 0});
  ASSERT_TRUE(locked);
  EXPECT_EQ(lock_more(w, a.id, locked->stateid, LockType::write, {0, 0}).error(), Stop(Status::open_mode));
  EXPECT_EQ(lock_new(w, b.id, reader, "x", LockType::read, {0, 0}).error(), Stop(Status::bad_stateid));
  EXPECT_EQ(lock_more(w, a.id, reader, LockType::read, {0, 0}).error(), Stop(Status::bad_stateid));
  EXPECT_EQ(lock_new(w, a.id, locked->stateid, "y", LockType::read, {0, 0}).error(),
            Stop(Status::bad_stateid));
  EXPECT_EQ(unlock(w, a.id, reader, {0, 0}).error(), Stop(Status::bad_stateid));
  Stateid future = locked->stateid;
  future.seqid = 9;
  EXPECT_EQ(unlock(w, a.id, future, {0, 0}).error(), Stop(Status::bad_stateid));
  EXPECT_EQ(w.run([&](state::Run& run) {
               return lock(w.cs(), run,
                           {.client = a.id,
                            .inode = file,
                            .reclaim = true,
                            .stateid = reader,
                            .new_owner = true,
                            .owner = bytes_of("z")});
             }).error(),
            Stop(Status::no_grace));
}

TEST(Lock, StatesLiveUntilTheyAreFreedOrTheirOpenIsClosed) {
  World w;
  const World::Client a = w.make_client("a");
  const Stateid opened = open_file(w, a.id);
  Stateid s = lock_new(w, a.id, opened, "x", LockType::write, {0, 9})->stateid;
  EXPECT_EQ(free_state(w, a.id, s).error(), Stop(Status::locks_held));
  EXPECT_EQ(free_state(w, a.id, opened).error(), Stop(Status::locks_held));
  s = *unlock(w, a.id, s, {0, UINT64_MAX});
  EXPECT_EQ(s.seqid, 2U);
  EXPECT_EQ(lock_new(w, a.id, opened, "x", LockType::write, {0, 9})->stateid.seqid, 3U)
      << "not new after all";
  EXPECT_EQ(free_state(w, a.id, s).error(), Stop(Status::old_stateid));
  s.seqid = 3;
  s = *unlock(w, a.id, s, {0, 9});
  EXPECT_TRUE(free_state(w, a.id, s));
  EXPECT_EQ(free_state(w, a.id, s).error(), Stop(Status::bad_stateid));
  EXPECT_EQ(w.cs().opens.peek({file, opened.number})->lock_states, 0U);
  for (int i = 0; i < 10; ++i)
    ASSERT_TRUE(lock_new(w, a.id, opened, fmt::format("owner {}", i), LockType::read, {0, 9}));
  EXPECT_EQ(w.cs().opens.peek({file, opened.number})->lock_states, 10U);
  const Stateid other = open_file(w, a.id, "another");
  const Stateid kept = lock_new(w, a.id, other, "kept", LockType::read, {5, 5})->stateid;
  ASSERT_TRUE(w.run([&](state::Run& run) { return close(w.cs(), run, a.id, file, opened); }));
  EXPECT_EQ(w.cs().lock_states.size(), 1U);
  EXPECT_EQ(w.cs().locks.size(), 1U);
  EXPECT_TRUE(unlock(w, a.id, kept, {5, 5}));
  EXPECT_EQ(w.check_twins(), "");
}

TEST(Lock, AStateMovesToTheOpenThatIsGiven) {
  World w;
  const World::Client a = w.make_client("a");
  const Stateid first = open_file(w, a.id, "first"), second = open_file(w, a.id, "second");
  const Stateid s = lock_new(w, a.id, first, "x", LockType::write, {0, 9})->stateid;
  EXPECT_EQ(lock_new(w, a.id, second, "x", LockType::write, {20, 29})->stateid.other(), s.other());
  EXPECT_EQ(w.cs().opens.peek({file, first.number})->lock_states, 0U);
  EXPECT_EQ(w.cs().opens.peek({file, second.number})->lock_states, 1U);
  ASSERT_TRUE(w.run([&](state::Run& run) { return close(w.cs(), run, a.id, file, first); }));
  EXPECT_EQ(check_rows(w, s.number).size(), 2U);
  ASSERT_TRUE(w.run([&](state::Run& run) { return close(w.cs(), run, a.id, file, second); }));
  EXPECT_EQ(w.cs().lock_states.size(), 0U);
}

TEST(Lock, TooManyLocksToCloseAtOnce) {
  World w;
  const World::Client a = w.make_client("a");
  const Stateid opened = open_file(w, a.id);
  std::vector<Stateid> states;
  for (int i = 0; i < 100; ++i)
    states.push_back(lock_new(w, a.id, opened, fmt::format("owner {}", i), LockType::read, {0, 9})->stateid);
  const std::string rows = w.describe_rows();
  const auto try_close = [&] {
    return w.run([&](state::Run& run) { return close(w.cs(), run, a.id, file, opened); });
  };
  EXPECT_EQ(try_close().error(), Stop(Status::locks_held));
  EXPECT_EQ(w.describe_rows(), rows);
  for (const Stateid& s : states) EXPECT_TRUE(unlock(w, a.id, s, {0, UINT64_MAX}));
  for (const Stateid& s : states) EXPECT_TRUE(free_state(w, a.id, {2, s.inode, s.number}));
  EXPECT_TRUE(try_close());
}

TEST(Lock, Limits) {
  ClientState::Options options;
  options.lock_states_per_client_max = 2;
  options.locks_per_client_max = 5;
  World w(options);
  const World::Client a = w.make_client("a");
  const Stateid opened = open_file(w, a.id);
  const Stateid s = lock_new(w, a.id, opened, "x", LockType::write, {0, 100})->stateid;
  ASSERT_TRUE(lock_new(w, a.id, opened, "y", LockType::write, {200, 200}));
  EXPECT_EQ(lock_new(w, a.id, opened, "z", LockType::write, {300, 300}).error(), Stop(Status::resource));
  for (uint64_t i = 1; i <= 3; ++i) ASSERT_TRUE(unlock(w, a.id, {0, file, s.number}, {10 * i, 10 * i}));
  const std::string rows = w.describe_rows();
  EXPECT_EQ(unlock(w, a.id, {0, file, s.number}, {50, 50}).error(), Stop(Status::resource))
      << "makes two of one";
  EXPECT_EQ(w.describe_rows(), rows);
  w.restart();
  EXPECT_EQ(unlock(w, a.id, {0, file, s.number}, {50, 50}).error(), Stop(Status::resource));
  EXPECT_TRUE(unlock(w, a.id, {0, file, s.number}, {0, UINT64_MAX}));
  EXPECT_TRUE(unlock(w, a.id, {0, file, s.number}, {0, UINT64_MAX})) << "nothing there is no error";
}

// Upwards, downwards, with gaps filled later, swallowed by one big lock: the rows stay full and in order.
TEST(LockRows, ThousandsOfLocksOfOneOwner) {
  for (const int pattern : {0, 1, 2}) {
    World w;
    const World::Client a = w.make_client("a");
    const Stateid opened = open_file(w, a.id);
    constexpr uint64_t n = 2000;
    const uint64_t from = pattern == 1 ? 3 * n : 0;
    Stateid s = lock_new(w, a.id, opened, "x", LockType::write, {from, from})->stateid;
    std::mt19937_64 random(9);
    for (uint64_t i = 0; i < n; ++i) {
      const uint64_t at = pattern == 0 ? 2 * (i + 1) : pattern == 1 ? 2 * (n - i) : 2 * (random() % n);
      s = lock_more(w, a.id, s, LockType::write, {at, at})->stateid;
    }
    const size_t locks = check_rows(w, s.number).size();
    if (pattern != 2) {
      EXPECT_EQ(locks, n + 1);
      EXPECT_LE(w.cs().locks.size(), n / LockRow::ranges_max + 3) << "no half-empty rows";
    }
    s = lock_more(w, a.id, s, LockType::read, {501, 1501})->stateid;
    check_rows(w, s.number);
    s = *unlock(w, a.id, s, {700, 3000});
    check_rows(w, s.number);
    s = lock_more(w, a.id, s, LockType::write, {0, 2'000'000})->stateid;
    EXPECT_EQ(check_rows(w, s.number), (std::vector<LockRange>{{0, 2'000'000, true}}));
    s = *unlock(w, a.id, s, {0, UINT64_MAX});
    EXPECT_TRUE(check_rows(w, s.number).empty());
    EXPECT_EQ(w.check_twins(), "");
  }
}

// What each byte is locked with, by owner.
class ByteMap {
 public:
  static constexpr size_t owners = 4;
  explicit ByteMap(size_t bytes) : bytes_(bytes) {}
  // 0 unlocked, 1 read, 2 write
  uint8_t& at(size_t owner, uint64_t byte) { return bytes_[byte][owner]; }
  bool conflict(size_t owner, ByteRange range, LockType type) const {
    for (uint64_t b = range.first; b <= range.last; ++b)
      for (size_t o = 0; o < owners; ++o)
        if (o != owner && (bytes_[b][o] == 2 || (bytes_[b][o] == 1 && type == LockType::write))) return true;
    return false;
  }
  void set(size_t owner, ByteRange range, uint8_t value) {
    for (uint64_t b = range.first; b <= range.last; ++b) bytes_[b][owner] = value;
  }
  size_t size() const { return bytes_.size(); }

 private:
  std::vector<std::array<uint8_t, owners>> bytes_;
};

// Random locks of four owners (of two clients) in one small file, in runs of several operations, some of
// which are rolled back to the middle or abandoned, with checkpoints and restarts.
class LockModel {
 public:
  LockModel(uint64_t seed, size_t bytes) : random_(seed), model_(bytes), w_({}, seed) {
    clients_ = {w_.make_client("a"), w_.make_client("b")};
    for (size_t o = 0; o < ByteMap::owners; ++o) {
      opens_[o] = open_file(w_, client(o), fmt::format("open {}", o));
      states_[o] =
          lock_new(w_, client(o), opens_[o], fmt::format("owner {}", o), LockType::read, {0, 0})->stateid;
      states_[o] = *unlock(w_, client(o), states_[o], {0, 0});
    }
  }

  void go(int rounds) {
    for (int i = 0; i < rounds && !::testing::Test::HasFailure(); ++i) {
      one_run();
      if (pick(100) == 0) compare();
      if (pick(150) == 0) w_.checkpoint();
      if (pick(150) == 0) {
        const std::string rows = w_.describe_rows(), twins = w_.cs().describe_twins();
        w_.restart();
        ASSERT_EQ(w_.describe_rows(), rows);
        ASSERT_EQ(w_.cs().describe_twins(), twins);
      }
    }
    compare();
  }

 private:
  uint64_t pick(uint64_t n) { return random_() % n; }
  ClientId client(size_t owner) const { return clients_[owner / 2].id; }
  ByteRange range() {
    const uint64_t first = pick(model_.size());
    const uint64_t length = pick(8) == 0 ? pick(model_.size()) : pick(6);
    return {first, std::min<uint64_t>(first + length, model_.size() - 1)};
  }

  Outcome<void> one_operation(state::Run& run, ByteMap& model) {
    const size_t owner = pick(ByteMap::owners);
    const ByteRange r = range();
    const uint64_t what = pick(10);
    const LockType type = pick(2) == 0 ? LockType::read : LockType::write;
    Stateid current = states_[owner];
    current.seqid = 0;
    if (what < 6) {
      const Locked locked =
          TRY(lock(w_.cs(), run,
                   {.client = client(owner), .inode = file, .type = type, .range = r, .stateid = current}));
      EXPECT_EQ(locked.conflict.has_value(), model.conflict(owner, r, type));
      if (locked.conflict)
        check_conflict(run, model, owner, r, type, *locked.conflict);
      else
        model.set(owner, r, type == LockType::read ? 1 : 2);
    } else if (what < 9) {
      TRY(locku(w_.cs(), run, client(owner), file, current, r));
      model.set(owner, r, 0);
    } else {
      const std::string name = fmt::format("owner {}", owner);
      const auto conflict = TRY(
          lockt(w_.cs(), run,
                {.client = client(owner), .inode = file, .type = type, .range = r, .owner = bytes_of(name)}));
      EXPECT_EQ(conflict.has_value(), model.conflict(owner, r, type));
      if (conflict) check_conflict(run, model, owner, r, type, *conflict);
    }
    return {};
  }

  // What is reported is a lock that somebody else holds as a whole, in the way.
  void check_conflict(state::Run&, ByteMap& model, size_t owner, ByteRange r, LockType type,
                      const Conflict& c) {
    const size_t holder = static_cast<size_t>(text_of(c.owner).back() - '0');
    EXPECT_NE(holder, owner);
    EXPECT_EQ(c.client, client(holder));
    EXPECT_LE(c.range.first, r.last);
    EXPECT_GE(c.range.last, r.first);
    EXPECT_TRUE(type == LockType::write || c.type == LockType::write);
    for (uint64_t b = c.range.first; b <= c.range.last; ++b)
      EXPECT_EQ(model.at(holder, b), c.type == LockType::read ? 1 : 2);
  }

  void one_run() {
    const uint64_t how = pick(10);
    ByteMap model = model_;
    const auto body = [&](state::Run& run) -> Outcome<void> {
      for (uint64_t n = 1 + pick(4); n > 0; --n) TRY(one_operation(run, model));
      if (how == 0) {  // an operation that fails after it has changed something
        const state::Savepoint savepoint = run.savepoint();
        const ByteMap before = model;
        for (uint64_t n = 1 + pick(3); n > 0; --n) TRY(one_operation(run, model));
        run.rollback(savepoint);
        model = before;
        TRY(one_operation(run, model));
      }
      return {};
    };
    if (how == 1) {
      w_.abandon(w_.next_id(), body);
    } else {
      ASSERT_TRUE(w_.run(body));
      model_ = model;
    }
  }

  void compare() {
    for (size_t o = 0; o < ByteMap::owners; ++o) {
      const std::vector<LockRange> locks = check_rows(w_, states_[o].number);
      std::vector<uint8_t> held(model_.size());
      for (const LockRange& r : locks)
        for (uint64_t b = r.first; b <= r.last; ++b) held[b] = r.write ? 2 : 1;
      for (uint64_t b = 0; b < model_.size(); ++b)
        ASSERT_EQ(held[b], model_.at(o, b)) << "owner " << o << " byte " << b;
    }
    ASSERT_EQ(w_.check_twins(), "");
  }

  std::mt19937_64 random_;
  ByteMap model_;
  World w_;
  std::array<World::Client, 2> clients_;
  std::array<Stateid, ByteMap::owners> opens_, states_;
};

TEST(LockModel, ASmallFile) {
  LockModel(1, 24).go(4000);
}
TEST(LockModel, AFileWithManyLocks) {
  LockModel(2, 600).go(4000);
}
TEST(LockModel, AFileWithVeryManyLocks) {
  LockModel(3, 4000).go(4000);
}

// Locks of a client that has ended do not count, from the moment it ends.
TEST(Lock, DeadLocksDoNotCount) {
  World w;
  const World::Client a = w.make_client("a"), b = w.make_client("b");
  const Stateid open_a = open_file(w, a.id), open_b = open_file(w, b.id);
  Stateid s = lock_new(w, a.id, open_a, "x", LockType::write, {0, 9})->stateid;
  for (uint64_t i = 1; i < 50; ++i) s = lock_more(w, a.id, s, LockType::write, {20 * i, 20 * i + 9})->stateid;
  EXPECT_TRUE(lock_new(w, b.id, open_b, "y", LockType::write, {0, UINT64_MAX})->conflict);
  (void)w.run([&](state::Run& run) -> Outcome<void> {
    return w.cs().remove_client(run, a.id, *TRY(w.cs().find_client(run, a.id)), true);
  });
  const std::string rows = w.describe_rows(), twins = w.cs().describe_twins();
  w.abandon(w.next_id(), [&](state::Run& run) {
    return lock(w.cs(), run,
                {.client = b.id,
                 .inode = file,
                 .type = LockType::write,
                 .range = {0, UINT64_MAX},
                 .stateid = open_b,
                 .new_owner = true,
                 .owner = bytes_of("y")});
  });
  EXPECT_EQ(w.describe_rows(), rows);
  EXPECT_EQ(w.cs().describe_twins(), twins);
  EXPECT_FALSE(lock_new(w, b.id, open_b, "y", LockType::write, {0, UINT64_MAX})->conflict);
  w.run_jobs();
  EXPECT_EQ(w.cs().locks.size(), 1U);
  EXPECT_EQ(w.check_twins(), "");
}

}  // namespace
}  // namespace perdure::client
