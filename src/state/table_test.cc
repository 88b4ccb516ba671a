// Tables, runs and checkpoints against a model: a std::map that is changed by the same calls.
#include "state/table.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

#include "env/testing/test_env.h"
#include "state/database.h"
#include "store/testing/memory_kv_store.h"

namespace perdure::state {
namespace {

using store::testing::MemoryKvImage;
using store::testing::MemoryKvOptions;
using store::testing::MemoryKvStore;

template <Residence where, TableId id>
struct TestRow {
  static constexpr TableId table = id;
  static constexpr Residence residence = where;
  static constexpr const char* name = "test";
  struct Key {
    uint64_t a = 0;
    uint16_t b = 0;
    auto operator<=>(const Key&) const = default;
    template <class Self, class V>
    static void fields(Self& k, V&& v) {
      v("a", k.a), v("b", k.b);
    }
  };
  uint64_t number = 0;
  std::string text;
  bool operator==(const TestRow&) const = default;
  template <class Self, class V>
  static void fields(Self& r, V&& v) {
    v("number", r.number), v("text", r.text);
  }
  size_t heap_bytes() const { return text.capacity(); }
};
using CachedRow = TestRow<Residence::cached, TableId::inode>;
using ResidentRow = TestRow<Residence::resident, TableId::open>;
using UnloggedRow = TestRow<Residence::unlogged, TableId::dirty_page>;

constexpr const char* ring_path = "log";

// One life of a vserver's state: restoration from the store and the log, until it is dropped.
struct Life {
  Life(env::TestEnv& e, std::shared_ptr<MemoryKvImage> image, MemoryKvOptions options)
      : env(e), store(e, std::move(image), options), database(e, store) {
    if (!env.exists(ring_path))
      wait<void>([&](auto done) { log::LogRing::create(env, ring_path, 16U << 20U, std::move(done)); });
    ring = wait<std::unique_ptr<log::LogRing>>(
        [&](auto done) { log::LogRing::open(env, ring_path, std::move(done)); });
    wait<void>([&](auto done) { database.load_resident(std::move(done)); });
    wait<Lsn>([&](auto done) {
      const store::Applied applied = store.applied();
      ring->read(
          applied.read_from, applied.lsn, applied.start,
          [&](Bytes record, Lsn lsn) { return database.redo(record, lsn); }, std::move(done));
    });
    commit.emplace(env, ring.get(), Epoch(1), [](Error) { CHECK(false); });
    database.connect(*commit);
  }
  ~Life() {
    pump_until([&] { return env.io_under_way() == 0; });
  }
  // The result of an asynchronous call that succeeds.
  template <class T, class Call>
  T wait(Call call) {
    std::optional<Result<T>> result;
    call([&](Result<T> r) { result.emplace(std::move(r)); });
    pump_until([&] { return result.has_value(); });
    if (!*result) ADD_FAILURE() << result->error().message;
    CHECK(result->has_value());
    if constexpr (!std::is_void_v<T>) return std::move(**result);
  }
  // Turns, and time for the store to answer, until `condition` holds.
  template <class Condition>
  void pump_until(Condition condition) {
    while (!condition()) {
      if (commit) commit->flush();
      if (!env.run_one()) env.advance(std::chrono::microseconds(10));
    }
  }
  // Executes `body` as a run: again after each fault, when what it missed has been fetched.
  template <class Body>
  auto run(Body body) {
    for (;;) {
      the_run.begin(TransactionId(1), 0, env.wall_time());
      auto outcome = body(the_run);
      if (outcome || !outcome.error().is_fault()) {
        the_run.end_step({});
        the_run.commit();
        commit->flush();
        return outcome;
      }
      std::vector<Fetch> misses = the_run.take_misses();
      the_run.abandon();
      EXPECT_FALSE(misses.empty());
      size_t missing = misses.size();
      for (Fetch& fetch : misses)
        fetch([&](Result<void> r) {
          EXPECT_TRUE(r.has_value());
          --missing;
        });
      pump_until([&] { return missing == 0; });
    }
  }
  void begin_checkpoint(env::Task done) {
    database.begin_checkpoint([this, done = std::move(done)](Result<store::Applied> applied) mutable {
      EXPECT_TRUE(applied.has_value());
      ring->trim(applied->read_from);
      done();
    });
  }
  bool checkpoint() {
    bool done = false;
    begin_checkpoint([&] { done = true; });
    commit->flush();
    pump_until([&] { return done; });
    return done;
  }

  env::TestEnv& env;
  MemoryKvStore store;
  Database database;
  std::unique_ptr<log::LogRing> ring;
  std::optional<log::GroupCommit> commit;
  Table<CachedRow> cached{database};
  Table<ResidentRow> resident{database};
  Table<UnloggedRow> unlogged{database};
  Run the_run{database};
};

TEST(Table, PutGetEraseInOneRun) {
  env::TestEnv env;
  Life life(env, std::make_shared<MemoryKvImage>(), {});
  const auto outcome = life.run([&](state::Run& run) -> Outcome<void> {
    EXPECT_EQ(TRY(life.cached.get(run, {1, 1})), nullptr);
    life.cached.put(run, {1, 1}, {7, "seven"});
    const CachedRow* row = TRY(life.cached.get(run, {1, 1}));
    EXPECT_EQ(row->text, "seven");
    life.cached.put(run, {1, 1}, {8, "eight"});
    EXPECT_EQ(row->text, "seven") << "a row is valid until the run ends";
    life.cached.erase(run, {1, 1});
    EXPECT_EQ(TRY(life.cached.get(run, {1, 1})), nullptr);
    return {};
  });
  EXPECT_TRUE(outcome.has_value());
}

TEST(Table, RollbackGoesBackToTheSavepointOnly) {
  env::TestEnv env;
  Life life(env, std::make_shared<MemoryKvImage>(), {});
  (void)life.run([&](state::Run& run) -> Outcome<void> {
    life.cached.put(run, {1, 0}, {1, "a"});
    const Savepoint savepoint = run.savepoint();
    life.cached.put(run, {1, 0}, {2, "b"});
    life.cached.put(run, {2, 0}, {3, "c"});
    life.unlogged.put(run, {2, 0}, {3, "c"});
    run.rollback(savepoint);
    EXPECT_TRUE(run.changed());
    EXPECT_EQ(TRY(life.cached.get(run, {1, 0}))->number, 1U);
    EXPECT_EQ(TRY(life.cached.get(run, {2, 0})), nullptr);
    EXPECT_EQ(TRY(life.unlogged.get(run, {2, 0})), nullptr);
    return {};
  });
  EXPECT_EQ(life.cached.size(), 1U);
}

TEST(Table, ReleaseWaitsForWhatWasRead) {
  env::TestEnv env;
  Life life(env, std::make_shared<MemoryKvImage>(), {});
  state::Run& run = life.the_run;
  const auto read = [&](CachedRow::Key key) {
    run.begin(TransactionId(2), 0, env.wall_time());
    EXPECT_TRUE(life.cached.get(run, key).has_value());
    run.end_step({});
    return run.commit();
  };
  run.begin(TransactionId(1), 0, env.wall_time());
  life.cached.put(run, {1, 0}, {1, ""});
  run.end_step({});
  const Lsn put = run.commit();
  EXPECT_LE(life.commit->durable(), put);
  EXPECT_EQ(read({1, 0}), put) << "not durable yet: a reader waits for it";
  EXPECT_EQ(read({9, 0}), Lsn(0)) << "what was never written needs nothing";
  run.begin(TransactionId(1), 0, env.wall_time());
  life.cached.erase(run, {1, 0});
  run.end_step({});
  const Lsn erased = run.commit();
  EXPECT_GT(erased, put);
  EXPECT_EQ(read({1, 0}), erased) << "an absence waits for the erasure";
}

TEST(Table, KnownEmptyRangesDoNotFault) {
  env::TestEnv env;
  Life life(env, std::make_shared<MemoryKvImage>(), {.needs_io_percent = 100});
  state::Run& run = life.the_run;
  run.begin(TransactionId(1), 0, env.wall_time());
  life.cached.known_empty({5, 0}, {5, 0xffff});
  EXPECT_FALSE(life.cached.first(run, {5, 0}, {5, 0xffff})->row);
  life.cached.put(run, {5, 7}, {1, ""});
  EXPECT_EQ(life.cached.first(run, {5, 0}, {5, 0xffff})->key.b, 7);
  EXPECT_EQ(*life.cached.get(run, {5, 8}), nullptr);
  EXPECT_TRUE(life.cached.get(run, {6, 0}).error().is_fault());
  EXPECT_TRUE(life.cached.first(run, {4, 0}, {5, 7}).error().is_fault());
  run.abandon();
  run.take_misses();
}

TEST(Table, CreatedAndErasedBetweenCheckpointsNeverReachesTheStore) {
  env::TestEnv env;
  auto image = std::make_shared<MemoryKvImage>();
  Life life(env, image, {});
  (void)life.run([&](state::Run& run) -> Outcome<void> {
    life.cached.put_new(run, {1, 0}, {1, "short-lived"});
    life.resident.put(run, {1, 0}, {1, "short-lived"});
    return {};
  });
  (void)life.run([&](state::Run& run) -> Outcome<void> {
    life.cached.erase(run, {1, 0});
    life.resident.erase(run, {1, 0});
    return {};
  });
  ASSERT_TRUE(life.checkpoint());
  EXPECT_EQ(life.database.figures.rows_applied, 0U);
}

// Random runs against the model, with faults, rollbacks, abandoned runs, checkpoints that go on for many
// turns, eviction, and restarts from the store.
class Chaos {
 public:
  Chaos(uint64_t seed, unsigned needs_io_percent)
      : random_(seed),
        env_(seed),
        options_{.needs_io_percent = needs_io_percent, .delay_max = std::chrono::microseconds(50)} {
    life_.emplace(env_, image_, options_);
  }

  void go(int rounds) {
    for (int i = 0; i < rounds; ++i) {
      one_run();
      const uint64_t what = pick(100);
      if (what < 20 && !life_->database.checkpoint_under_way()) life_->begin_checkpoint([] {});
      if (what < 60)
        for (uint64_t n = pick(8); n > 0; --n)
          if (!env_.run_one()) env_.advance(std::chrono::microseconds(20));
      if (pick(4) == 0) {
        life_->database.set_memory_limit(pick(3) == 0 ? 0 : 2000);
        for (int n = 0; n < 3; ++n) life_->database.trim_memory(life_->database.tick());
      }
      if (pick(400) == 0) restart();
      if (pick(200) == 0) crash();
      if (pick(10) == 0) read_and_forget();
      if (pick(50) == 0) compare_all();
    }
    compare_all();
  }

 private:
  using Key = CachedRow::Key;
  using Model = std::map<Key, std::pair<uint64_t, std::string>>;

  uint64_t pick(uint64_t n) { return random_() % n; }
  Key key() { return {pick(6), static_cast<uint16_t>(pick(12))}; }

  template <class Row>
  Outcome<void> random_call(Run& run, Table<Row>& table, Model& model, uint64_t what, Key k, Key last,
                            uint64_t number) {
    const auto expect = [&](const auto& found, auto it) {
      const bool in_range = it != model.end() && it->first <= last;
      EXPECT_EQ(found.row != nullptr, in_range);
      if (in_range && found.row != nullptr) {
        EXPECT_EQ(std::pair(found.key.a, found.key.b), std::pair(it->first.a, it->first.b));
        EXPECT_EQ(found.row->number, it->second.first);
      }
    };
    using K = typename Row::Key;
    if (what < 30) {
      const Row* row = TRY(table.get(run, K{k.a, k.b}));
      auto it = model.find(k);
      EXPECT_EQ(row != nullptr, it != model.end());
      if (row != nullptr && it != model.end()) {
        EXPECT_EQ(row->number, it->second.first);
        EXPECT_EQ(row->text, it->second.second);
      }
    } else if (what < 45) {
      expect(TRY(table.first(run, K{k.a, k.b}, K{last.a, last.b})), model.lower_bound(k));
    } else if (what < 60) {
      expect(TRY(table.next(run, K{k.a, k.b}, K{last.a, last.b})), model.upper_bound(k));
    } else if (what < 85) {
      table.put(run, K{k.a, k.b}, Row{number, std::string(number % 40, 'x')});
      model[k] = {number, std::string(number % 40, 'x')};
    } else {
      table.erase(run, K{k.a, k.b});
      model.erase(k);
    }
    return {};
  }

  // The same random calls are made again after a fault: the run's randomness is drawn before.
  void one_run() {
    struct Call {
      uint64_t table, what, number;
      Key key, last;
    };
    std::vector<Call> calls(1 + pick(6));
    for (Call& call : calls) {
      call = {pick(3), pick(100), random_(), key(), key()};
      if (call.last < call.key) std::swap(call.last, call.key);
    }
    const bool fails = pick(5) == 0;
    const size_t savepoint_at = pick(calls.size());
    const bool abandons = pick(10) == 0;
    Models models;
    const auto outcome = life_->run([&](state::Run& run) -> Outcome<void> {
      models = models_;
      Models at_savepoint = models;
      Savepoint savepoint = run.savepoint();
      for (size_t i = 0; i < calls.size(); ++i) {
        if (i == savepoint_at) {
          run.end_step({});
          savepoint = run.savepoint();
          at_savepoint = models;
        }
        const Call& c = calls[i];
        if (c.table == 0)
          TRY(random_call(run, life_->cached, models.cached, c.what, c.key, c.last, c.number));
        if (c.table == 1)
          TRY(random_call(run, life_->resident, models.resident, c.what, c.key, c.last, c.number));
        if (c.table == 2)
          TRY(random_call(run, life_->unlogged, models.unlogged, c.what, c.key, c.last, c.number));
      }
      if (fails) {
        run.rollback(savepoint);
        models = at_savepoint;
      }
      return {};
    });
    EXPECT_TRUE(outcome.has_value());
    models_ = models;
    if (abandons) {
      state::Run& run = life_->the_run;
      run.begin(TransactionId(3), 0, env_.wall_time());
      life_->cached.put(run, key(), {1, "never"});
      life_->cached.erase(run, key());
      life_->unlogged.erase(run, key_as<UnloggedRow>());
      life_->resident.put(run, key_as<ResidentRow>(), {2, "never"});
      run.abandon();
    }
  }
  template <class Row>
  typename Row::Key key_as() {
    const Key k = key();
    return {k.a, k.b};
  }

  void compare_all() {
    EXPECT_TRUE(life_
                    ->run([&](state::Run& run) -> Outcome<void> {
                      TRY(compare(run, life_->cached, models_.cached));
                      TRY(compare(run, life_->resident, models_.resident));
                      return compare(run, life_->unlogged, models_.unlogged);
                    })
                    .has_value());
    EXPECT_EQ(life_->unlogged.size(), models_.unlogged.size());
    EXPECT_EQ(life_->resident.size(), models_.resident.size());
  }
  template <class Row>
  Outcome<void> compare(Run& run, Table<Row>& table, const Model& model) {
    const typename Row::Key last{~uint64_t{0}, 0xffff};
    auto found = TRY(table.first(run, {0, 0}, last));
    for (const auto& [k, row] : model) {
      if (!found) {
        ADD_FAILURE() << "a row is missing";
        return {};
      }
      EXPECT_EQ(std::pair(found.key.a, found.key.b), std::pair(k.a, k.b));
      EXPECT_EQ(found.row->number, row.first);
      found = TRY(table.next(run, found.key, last));
    }
    EXPECT_FALSE(found);
    return {};
  }

  // After a checkpoint everything logged is in the store; everything unlogged is gone.
  void restart() {
    life_->pump_until([&] { return !life_->database.checkpoint_under_way(); });
    ASSERT_TRUE(life_->checkpoint());
    env_.run_until_idle();
    life_.reset();
    models_.unlogged.clear();
    life_.emplace(env_, image_, options_);
  }

  // All that was logged is durable, a checkpoint may be half applied, and the machine stops.
  void crash() {
    life_->commit->flush();
    const Lsn last = life_->commit->next_lsn();
    life_->pump_until([&] {
      life_->commit->flush();
      return life_->commit->durable() >= last || life_->commit->durable() == life_->commit->next_lsn();
    });
    env_.crash();
    life_.reset();
    image_->crash(random_());
    models_.unlogged.clear();
    life_.emplace(env_, image_, options_);
    compare_all();
  }

  // A faulted run whose fetches come back at some later time, when much may have changed.
  void read_and_forget() {
    state::Run& run = life_->the_run;
    run.begin(TransactionId(4), 0, env_.wall_time());
    for (int i = 0; i < 3; ++i) (void)life_->cached.get(run, key());
    (void)life_->cached.first(run, {pick(6), 0}, {5, 0xffff});
    std::vector<Fetch> misses = run.take_misses();
    run.abandon();
    for (Fetch& fetch : misses) fetch([](Result<void> r) { EXPECT_TRUE(r.has_value()); });
  }

  struct Models {
    Model cached, resident, unlogged;
  };
  std::mt19937_64 random_;
  env::TestEnv env_;
  MemoryKvOptions options_;
  std::shared_ptr<MemoryKvImage> image_ = std::make_shared<MemoryKvImage>();
  Models models_;
  std::optional<Life> life_;
};

TEST(TableChaos, InMemory) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(seed);
    Chaos(seed, 0).go(1000);
    if (::testing::Test::HasFailure()) return;
  }
}
TEST(TableChaos, SomeFaults) {
  for (uint64_t seed = 1; seed <= 30; ++seed) {
    SCOPED_TRACE(seed);
    Chaos(seed, 50).go(1000);
    if (::testing::Test::HasFailure()) return;
  }
}
TEST(TableChaos, EveryReadFaults) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(seed);
    Chaos(seed, 100).go(1000);
    if (::testing::Test::HasFailure()) return;
  }
}

TEST(Table, RedoGivesTheSameRows) {
  env::TestEnv env;
  auto image = std::make_shared<MemoryKvImage>();
  Life life(env, image, {});
  log::RecordBuilder builder;
  Encoder key, row;
  encode_key(key, CachedRow::Key{3, 4});
  encode(row, CachedRow{17, "redone"});
  builder.begin(TransactionId(5), 0, 0);
  builder.begin_step({});
  builder.put(static_cast<uint8_t>(TableId::inode), key.bytes(), row.bytes());
  ASSERT_TRUE(life.database.redo(builder.finish(Lsn(64), Epoch(1)), Lsn(64)).has_value());
  EXPECT_EQ(life.cached.peek({3, 4})->text, "redone");
  builder.begin(TransactionId(5), 0, 0);
  builder.begin_step({});
  builder.erase(static_cast<uint8_t>(TableId::inode), key.bytes());
  ASSERT_TRUE(life.database.redo(builder.finish(Lsn(128), Epoch(1)), Lsn(128)).has_value());
  EXPECT_EQ(life.cached.peek({3, 4}), nullptr);
}

TEST(Table, RedoOfWhatIsNotARowIsAnError) {
  env::TestEnv env;
  Life life(env, std::make_shared<MemoryKvImage>(), {});
  const std::byte junk[3]{};
  for (const uint8_t table :
       {static_cast<uint8_t>(TableId::inode), static_cast<uint8_t>(TableId::dirty_page), uint8_t{99}}) {
    log::RecordBuilder builder;
    builder.begin(TransactionId(5), 0, 0);
    builder.begin_step({});
    builder.put(table, junk, junk);
    EXPECT_FALSE(life.database.redo(builder.finish(Lsn(64), Epoch(1)), Lsn(64)).has_value());
  }
}

TEST(Codec, KeysAreOrderedAsBytes) {
  std::mt19937_64 random(1);
  for (int i = 0; i < 1000; ++i) {
    const CachedRow::Key a{random() >> (random() % 64), static_cast<uint16_t>(random())};
    const CachedRow::Key b{random() >> (random() % 64), static_cast<uint16_t>(random())};
    Encoder ea, eb;
    encode_key(ea, a);
    encode_key(eb, b);
    EXPECT_EQ(a < b, std::memcmp(ea.bytes().data(), eb.bytes().data(), ea.size()) < 0);
    CachedRow::Key back;
    ASSERT_TRUE(decode_key(ea.bytes(), back));
    EXPECT_EQ(back, a);
  }
}

TEST(Codec, EveryTruncationOfARowIsRefused) {
  Encoder e;
  encode(e, CachedRow{1, "text"});
  CachedRow row;
  EXPECT_TRUE(decode(e.bytes(), row));
  for (size_t n = 0; n < e.size(); ++n) EXPECT_FALSE(decode(e.bytes().first(n), row));
  e.put<uint8_t>(0);
  EXPECT_FALSE(decode(e.bytes(), row)) << "bytes behind the row";
}

}  // namespace
}  // namespace perdure::state
