#include "store/testing/memory_kv_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <queue>
#include <set>

namespace perdure::store::testing {
namespace {

// Tasks in order of their time, then of their call.
class QueueEnv final : public env::Env {
 public:
  explicit QueueEnv(uint64_t seed) : random_(seed) {}
  env::Instant now() override { return now_; }
  env::WallTime wall_time() override { return env::WallTime(now_.time_since_epoch()); }
  uint64_t random() override {
    return random_ = random_ * 6364136223846793005U + 1442695040888963407U, random_ >> 20U;
  }
  void post(env::Task task) override { after({}, std::move(task)); }
  env::TimerId after(env::Duration delay, env::Task task) override {
    tasks_.emplace(std::pair(now_ + delay, ++calls_), std::move(task));
    return env::TimerId{calls_};
  }
  void cancel(env::TimerId) override { FAIL(); }
  void at_turn_end(env::Task) override { FAIL(); }
  void offload(env::Task, env::Task) override { FAIL(); }
  Result<std::unique_ptr<env::File>> open(const std::string& path, bool) override {
    return error(ErrorKind::not_found, "{}", path);
  }

  bool step() {
    if (tasks_.empty()) return false;
    auto first = tasks_.extract(tasks_.begin());
    now_ = first.key().first;
    first.mapped()();
    return true;
  }
  void run() {
    while (step()) {
    }
  }

 private:
  env::Instant now_{};
  uint64_t random_, calls_ = 0;
  std::map<std::pair<env::Instant, uint64_t>, env::Task> tasks_;
};

ByteVector text(std::string_view s) {
  return {bytes_of(s).begin(), bytes_of(s).end()};
}

struct MemoryKvStoreTest : ::testing::Test {
  QueueEnv env{1};
  std::shared_ptr<MemoryKvImage> image = std::make_shared<MemoryKvImage>();
  std::unique_ptr<MemoryKvStore> store = std::make_unique<MemoryKvStore>(env, image);

  void reopen(const MemoryKvOptions& options = {}) {
    store.reset();
    store = std::make_unique<MemoryKvStore>(env, image, options);
  }
  // Applies one part; completes when the caller runs the loop.
  void start_apply(std::vector<Change> part, std::optional<uint64_t> lsn,
                   std::optional<ErrorKind>* failure = nullptr) {
    std::optional<Applied> applied;
    if (lsn) applied = Applied{Lsn(*lsn), Lsn(*lsn)};
    store->apply(std::move(part), applied, [failure](Result<void> r) {
      if (failure == nullptr)
        EXPECT_TRUE(r);
      else if (!r)
        *failure = r.error().kind;
    });
  }
  void apply(std::vector<Change> part, std::optional<uint64_t> lsn) {
    start_apply(std::move(part), lsn);
    env.run();
  }
  std::string value(std::string_view key) {
    ByteVector v;
    if (store->try_get(bytes_of(key), v) != KvStore::Hit::found) return "-";
    return std::string(text_of(v));
  }
};

TEST_F(MemoryKvStoreTest, RowsArePutReplacedAndErased) {
  apply({{text("a"), text("1")}, {text("b"), text("2")}}, std::nullopt);
  apply({{text("a"), text("3")}, {text("b"), std::nullopt}}, 7);
  EXPECT_EQ(value("a"), "3");
  EXPECT_EQ(value("b"), "-");
  EXPECT_EQ(store->applied().lsn, Lsn(7));
  std::optional<ByteVector> got;
  store->get(text("a"), [&](Result<std::optional<ByteVector>> r) { got = *std::move(r); });
  EXPECT_FALSE(got);
  env.run();
  EXPECT_EQ(got, text("3"));
}

TEST_F(MemoryKvStoreTest, ScanIncludesBothBoundsAndStopsAtRowsMax) {
  apply({{text("a"), text("1")}, {text("b"), text("2")}, {text("c"), text("3")}, {text("d"), text("4")}}, 1);
  auto scan = [&](std::string_view from, std::string_view last, size_t rows_max) {
    std::string keys;
    store->scan(text(from), text(last), rows_max, [&](Result<KeyValues> r) {
      for (auto& [key, row] : *r) keys += text_of(key);
    });
    env.run();
    return keys;
  };
  EXPECT_EQ(scan("b", "c", 10), "bc");
  EXPECT_EQ(scan("a", "z", 3), "abc");
  EXPECT_EQ(scan("bb", "bz", 3), "");
  EXPECT_EQ(scan("c", "a", 3), "");
}

TEST_F(MemoryKvStoreTest, AProcessCrashKeepsWhatWasExecuted) {
  apply({{text("a"), text("1")}}, 5);
  apply({{text("b"), text("2")}}, std::nullopt);
  reopen();
  EXPECT_EQ(value("b"), "2");
  EXPECT_EQ(store->applied().lsn, Lsn(5));
}

// After a power cut: every prefix of the volatile parts is possible, and nothing else.
TEST_F(MemoryKvStoreTest, APowerCutKeepsAPrefix) {
  std::set<std::string> seen;
  for (uint64_t random = 0; random < 4; ++random) {
    env.run();
    apply({{text("a"), text("0")}, {text("b"), text("0")}}, 10 + random);
    apply({{text("a"), text("1")}}, std::nullopt);
    apply({{text("b"), text("1")}}, std::nullopt);
    apply({{text("a"), text("2")}}, std::nullopt);
    EXPECT_EQ(image->volatile_parts(), 3U);
    store.reset();
    image->crash(random);
    reopen();
    EXPECT_EQ(store->applied().lsn, Lsn(10 + random));
    seen.insert(value("a") + value("b"));
  }
  EXPECT_EQ(seen, (std::set<std::string>{"00", "10", "11", "21"}));
}

// Cuts the power after each event of a checkpoint of three parts: what was said to be durable is there, and
// the marker never stands without the rows of all parts.
TEST_F(MemoryKvStoreTest, TheMarkerNeverComesBeforeItsRows) {
  std::set<uint64_t> lsns;
  for (int events = 0; events < 8; ++events) {
    for (uint64_t random = 0; random < 4; ++random) {
      image = std::make_shared<MemoryKvImage>();
      env.run();
      reopen();
      bool done = false;
      start_apply({{text("a"), text("1")}}, std::nullopt);
      start_apply({{text("b"), text("1")}}, std::nullopt);
      store->apply({{text("c"), text("1")}}, Applied{Lsn(3), Lsn(2)},
                   [&](Result<void> r) { done = r.has_value(); });
      for (int i = 0; i < events; ++i) env.step();
      const bool told = done;
      EXPECT_EQ(store->applied().lsn, Lsn(told ? 3 : 0));
      store.reset();
      image->crash(random);
      reopen();
      lsns.insert(store->applied().lsn.value);
      EXPECT_TRUE(!told || store->applied().lsn == Lsn(3));
      const std::string rows = value("a") + value("b") + value("c");
      EXPECT_THAT(rows, ::testing::AnyOf("---", "1--", "11-", "111"));
      EXPECT_TRUE(store->applied().lsn == Lsn(0) || rows == "111");
    }
  }
  EXPECT_EQ(lsns, (std::set<uint64_t>{0, 3}));
}

TEST_F(MemoryKvStoreTest, AFailedApplyPoisonsTheStore) {
  store->fail_apply_after(1, ErrorKind::no_space);
  std::optional<ErrorKind> first, second, third, read;
  start_apply({{text("a"), text("1")}}, std::nullopt, &first);
  start_apply({{text("b"), text("1")}}, std::nullopt, &second);
  start_apply({{text("c"), text("1")}}, 9, &third);
  env.run();
  EXPECT_EQ(first, std::nullopt);
  EXPECT_EQ(second, ErrorKind::no_space);
  EXPECT_EQ(third, ErrorKind::stopped);
  EXPECT_EQ(store->applied().lsn, Lsn(0));
  ByteVector v;
  EXPECT_EQ(store->try_get(bytes_of("a"), v), KvStore::Hit::needs_io);
  store->get(text("a"), [&](Result<std::optional<ByteVector>> r) { read = r.error().kind; });
  env.run();
  EXPECT_EQ(read, ErrorKind::stopped);
  reopen();
  EXPECT_EQ(value("a"), "1");
  EXPECT_EQ(value("c"), "-");
}

TEST_F(MemoryKvStoreTest, AFailedReadIsReportedAndDoesNoHarm) {
  apply({{text("a"), text("1")}}, 1);
  store->fail_read_after(1);
  std::string outcome;
  auto note = [&](Result<std::optional<ByteVector>> r) { outcome += r ? '+' : '-'; };
  for (int i = 0; i < 3; ++i) store->get(text("a"), note);
  env.run();
  EXPECT_EQ(outcome, "+-+");
}

TEST_F(MemoryKvStoreTest, CallsUnderWayAreDroppedWithTheStore) {
  start_apply({{text("a"), text("1")}}, 1);
  store->get(text("a"), [](Result<std::optional<ByteVector>>) { FAIL(); });
  store.reset();
  env.run();
  EXPECT_EQ(image->durable_rows().size(), 0U);
}

TEST_F(MemoryKvStoreTest, NeedsIoAsOftenAsAsked) {
  apply({{text("a"), text("1")}}, 1);
  ByteVector v;
  for (const unsigned percent : {0U, 40U, 100U}) {
    reopen({.needs_io_percent = percent, .delay_max = env::Duration(1000)});
    unsigned needs_io = 0;
    for (int i = 0; i < 1000; ++i)
      needs_io += store->try_get(bytes_of("a"), v) == KvStore::Hit::needs_io ? 1U : 0U;
    EXPECT_NEAR(needs_io, percent * 10, percent % 100 == 0 ? 0 : 60);
  }
}

// Reads overtake applies, but parts stay in order.
TEST_F(MemoryKvStoreTest, DelaysKeepThePartsInOrder) {
  reopen({.delay_max = env::Duration(1000)});
  std::set<std::string> seen;
  for (int i = 0; i < 50; ++i) {
    std::string order;
    for (char part = 'a'; part <= 'c'; ++part)
      store->apply({{text("k"), text({&part, 1})}}, std::nullopt,
                   [&order, part](Result<void>) { order += part; });
    store->get(text("k"), [&](Result<std::optional<ByteVector>> r) {
      seen.insert(*r ? std::string(text_of(**r)) : "-");
    });
    env.run();
    EXPECT_EQ(order, "abc");
    EXPECT_EQ(value("k"), "c");
  }
  EXPECT_GE(seen.size(), 2U);
}

}  // namespace
}  // namespace perdure::store::testing
