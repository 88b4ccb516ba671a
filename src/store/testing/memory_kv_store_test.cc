#include "store/testing/memory_kv_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "env/testing/test_env.h"

namespace perdure::store::testing {
namespace {

ByteVector text(std::string_view s) {
  return {bytes_of(s).begin(), bytes_of(s).end()};
}

struct MemoryKvStoreTest : ::testing::Test {
  env::TestEnv env;
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
    if (lsn) applied = Applied{Lsn(*lsn), Lsn(*lsn), StartNumber(1)};
    store->apply(std::move(part), applied, [failure](Result<void> r) {
      if (failure == nullptr)
        EXPECT_TRUE(r);
      else if (!r)
        *failure = r.error().kind;
    });
  }
  void apply(std::vector<Change> part, std::optional<uint64_t> lsn) {
    start_apply(std::move(part), lsn);
    env.advance(env::Duration(10000));
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
  env.advance(env::Duration(10000));
  EXPECT_EQ(got, text("3"));
}

TEST_F(MemoryKvStoreTest, ScanIncludesBothBoundsAndStopsAtRowsMax) {
  apply({{text("a"), text("1")}, {text("b"), text("2")}, {text("c"), text("3")}, {text("d"), text("4")}}, 1);
  auto scan = [&](std::string_view from, std::string_view last, size_t rows_max) {
    std::string keys;
    store->scan(text(from), text(last), rows_max, [&](Result<KeyValues> r) {
      for (const auto& [key, row] : *r) keys += text_of(key);
    });
    env.advance(env::Duration(10000));
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
    env.advance(env::Duration(10000));
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

// The process dies, another one opens the store, and then the power goes: what that one has seen is there.
TEST_F(MemoryKvStoreTest, WhatAnOpenedStoreShowsIsDurable) {
  apply({{text("a"), text("1")}}, std::nullopt);
  reopen();
  EXPECT_EQ(value("a"), "1");
  store.reset();
  image->crash(0);
  reopen();
  EXPECT_EQ(value("a"), "1");
}

// Cuts the power after each event of a checkpoint of three parts: what was said to be durable is there, and
// the marker never stands without the rows of all parts.
TEST_F(MemoryKvStoreTest, TheMarkerNeverComesBeforeItsRows) {
  std::set<uint64_t> lsns;
  for (int events = 0; events < 20; ++events) {
    for (uint64_t random = 0; random < 4; ++random) {
      image = std::make_shared<MemoryKvImage>();
      env.advance(env::Duration(10000));
      reopen();
      bool done = false;
      start_apply({{text("a"), text("1")}}, std::nullopt);
      start_apply({{text("b"), text("1")}}, std::nullopt);
      store->apply({{text("c"), text("1")}}, Applied{Lsn(3), Lsn(2), StartNumber(1)},
                   [&](Result<void> r) { done = r.has_value(); });
      for (int i = 0; i < events; ++i) env.run_one();
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
  env.advance(env::Duration(10000));
  EXPECT_EQ(first, std::nullopt);
  EXPECT_EQ(second, ErrorKind::no_space);
  EXPECT_EQ(third, ErrorKind::stopped);
  EXPECT_EQ(store->applied().lsn, Lsn(0));
  ByteVector v;
  EXPECT_EQ(store->try_get(bytes_of("a"), v), KvStore::Hit::needs_io);
  store->get(text("a"), [&](Result<std::optional<ByteVector>> r) { read = r.error().kind; });
  env.advance(env::Duration(10000));
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
  env.advance(env::Duration(10000));
  EXPECT_EQ(outcome, "+-+");
}

TEST_F(MemoryKvStoreTest, CallsUnderWayAreDroppedWithTheStore) {
  start_apply({{text("a"), text("1")}}, 1);
  store->get(text("a"), [](Result<std::optional<ByteVector>>) { FAIL(); });
  store.reset();
  env.advance(env::Duration(10000));
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
    env.advance(env::Duration(10000));
    EXPECT_EQ(order, "abc");
    EXPECT_EQ(value("k"), "c");
  }
  EXPECT_GE(seen.size(), 2U);
}

}  // namespace
}  // namespace perdure::store::testing
