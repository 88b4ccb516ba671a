// RowReader against a model: rows in memory, in the store, in both, and erased from one of them.
#include "state/row_reader.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

#include "env/testing/test_env.h"
#include "state/database.h"
#include "store/testing/memory_kv_store.h"

namespace perdure::state {
namespace {

struct NumberRow {
  static constexpr TableId table = TableId::inode;
  static constexpr Residence residence = Residence::cached;
  static constexpr const char* name = "number";
  struct Key {
    uint64_t n = 0;
    auto operator<=>(const Key&) const = default;
    template <class Self, class V>
    static void fields(Self& k, V&& v) {
      v("n", k.n);
    }
  };
  uint64_t value = 0;
  template <class Self, class V>
  static void fields(Self& r, V&& v) {
    v("value", r.value);
  }
};

struct RowReaderTest : ::testing::Test {
  env::TestEnv env{1};
  store::testing::MemoryKvStore store{env, std::make_shared<store::testing::MemoryKvImage>()};
  Database database{env, store};
  Table<NumberRow> table{database};
  log::GroupCommit commit{env, nullptr, Epoch(1), [](const Error&) { CHECK(false); }};
  std::map<uint64_t, uint64_t> model;
  std::vector<std::string> damaged;

  RowReaderTest() {
    database.connect(commit);
    database.set_memory_limit(0);
  }
  template <class Body>
  void run(Body body) {
    state::Run r(database);
    r.begin(TransactionId(1), 0, {});
    body(r);
    r.end_step({});
    r.commit();
    commit.flush();
    env.run_until_idle();
  }
  void put(uint64_t n, uint64_t value) {
    model[n] = value;
    run([&](state::Run& r) { table.put(r, {n}, {value}); });
  }
  void erase(uint64_t n) {
    model.erase(n);
    run([&](state::Run& r) { table.erase(r, {n}); });
  }
  void checkpoint(bool evict) {
    bool done = false;
    database.begin_checkpoint([&](Result<store::Applied> applied) { done = applied.has_value(); });
    commit.flush();
    env.run_until_idle();
    CHECK(done);
    for (int i = 0; evict && i < 200; ++i) database.trim_memory(database.tick() + 1'000'000);
  }
  std::map<uint64_t, uint64_t> read(RowReader<NumberRow> reader) {
    std::map<uint64_t, uint64_t> rows;
    for (auto more = reader.next(); more && *more; more = reader.next()) {
      EXPECT_TRUE(rows.empty() || rows.rbegin()->first < reader.key().n) << "in order";
      rows[reader.key().n] = reader.row().value;
    }
    return rows;
  }
  RowReader<NumberRow>::Damaged note() {
    return [this](const std::string& what) { damaged.push_back(what); };
  }
};

TEST_F(RowReaderTest, GivesTheNewestOfEachRow) {
  std::mt19937_64 random(7);
  EXPECT_TRUE(read({table, note()}).empty());
  for (int i = 0; i < 4000; ++i) {
    const uint64_t n = random() % 1500;
    if (random() % 3 != 0)
      put(n, random());
    else
      erase(n);
    if (i % 500 == 250) checkpoint(i % 1000 == 250);
    if (i % 400 != 0) continue;
    ASSERT_EQ(read({table, note()}), model) << i;
    const uint64_t from = random() % 1500, last = from + random() % 300;
    const std::map<uint64_t, uint64_t> part(model.lower_bound(from), model.upper_bound(last));
    ASSERT_EQ(read({table, note(), {from}, {last}}), part) << i;
  }
  EXPECT_GT(model.size(), 600U) << "more than is read from the store at once";
  checkpoint(true);
  EXPECT_LT(table.size(), model.size());
  EXPECT_EQ(read({table, note()}), model);
  EXPECT_TRUE(damaged.empty());
}

TEST_F(RowReaderTest, TellsOfWhatIsNotARow) {
  for (uint64_t n = 1; n <= 3; ++n) put(n, n);
  checkpoint(true);
  Encoder good_key;
  good_key.put(static_cast<uint8_t>(TableId::inode));
  encode_key(good_key, NumberRow::Key{2});
  const ByteVector bad_key{std::byte{static_cast<uint8_t>(TableId::inode)}, std::byte{1}};
  bool done = false;
  store.apply({{good_key.copy(), ByteVector(3)}, {bad_key, ByteVector(8)}}, std::nullopt,
              [&](Result<void> applied) { done = applied.has_value(); });
  env.run_until_idle();
  ASSERT_TRUE(done);
  model.erase(2);
  EXPECT_EQ(read({table, note()}), model);
  EXPECT_EQ(damaged, (std::vector<std::string>{"the number row of n=2 cannot be read",
                                               "a row of the table number has a key that is none"}));
}

}  // namespace
}  // namespace perdure::state
