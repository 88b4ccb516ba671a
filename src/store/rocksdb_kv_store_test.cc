#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rocksdb/db.h>
#include <rocksdb/utilities/options_util.h>
#include <spdlog/spdlog.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "env/testing/test_env.h"
#include "store/kv_store.h"
#include "store/rocksdb_beside_server.h"

namespace perdure::store {
namespace {

namespace fs = std::filesystem;

ByteVector text(std::string_view s) {
  return {bytes_of(s).begin(), bytes_of(s).end()};
}
// Keys whose order is the numbers'.
ByteVector key(unsigned n) {
  return text(fmt::format("k{:06}", n));
}

struct RocksDbKvStoreTest : ::testing::Test {
  fs::path directory;
  env::TestEnv env;
  std::unique_ptr<KvStore> store;

  RocksDbKvStoreTest() {
    spdlog::set_level(spdlog::level::off);  // RocksDB complains about what these tests do
    std::string name = ::testing::TempDir() + "perdure-kv-XXXXXX";
    CHECK(::mkdtemp(name.data()) != nullptr);
    directory = name;
  }
  ~RocksDbKvStoreTest() override {
    spdlog::set_level(spdlog::level::info);
    store.reset();
    fs::remove_all(directory);
  }

  fs::path path() const { return directory / "kv"; }
  void open() { open(path()); }
  void open(const fs::path& where) {
    store.reset();
    auto opened = open_rocksdb(env, where, 8U << 20U);
    if (!opened) fmt::print(stderr, "{}\n", opened.error().message);
    CHECK(opened);
    store = *std::move(opened);
  }
  template <class T, class Call>
  Result<T> wait(Call call) {
    std::optional<Result<T>> result;
    call([&](Result<T> r) { result = std::move(r); });
    EXPECT_FALSE(result.has_value());
    env.run_until_idle();
    return *std::move(result);
  }
  Result<void> apply(std::vector<Change> part, std::optional<uint64_t> lsn = std::nullopt) {
    std::optional<Applied> applied;
    if (lsn) applied = Applied{Lsn(*lsn), Lsn(*lsn / 2), StartNumber(*lsn / 3)};
    return wait<void>([&](auto done) { store->apply(std::move(part), applied, std::move(done)); });
  }
  Result<std::optional<ByteVector>> get(ByteVector k) {
    return wait<std::optional<ByteVector>>([&](auto done) { store->get(std::move(k), std::move(done)); });
  }
  std::string value(std::string_view k) {
    const auto got = get(text(k));
    return !got ? "error" : !*got ? "-" : std::string(text_of(**got));
  }
  // The keys that a scan gives.
  std::string scan(std::string_view from, std::string_view last, size_t rows_max) {
    const auto rows =
        wait<KeyValues>([&](auto done) { store->scan(text(from), text(last), rows_max, std::move(done)); });
    std::string keys;
    for (const auto& [k, v] : *rows) keys += std::string(text_of(k)) + ' ';
    return keys;
  }
  // Writes `rows` rows of one part into a table file.
  void fill_table(unsigned rows) {
    open();
    std::vector<Change> part;
    part.reserve(rows);
    for (unsigned i = 0; i < rows; ++i)
      part.push_back({key(2 * i), text(std::string(100, static_cast<char>('a' + i % 26)))});
    CHECK(apply(std::move(part), 1));
    store.reset();
    rocksdb::DBOptions options;
    std::vector<rocksdb::ColumnFamilyDescriptor> families;
    CHECK(rocksdb::LoadLatestOptions({}, path(), &options, &families).ok());
    std::vector<rocksdb::ColumnFamilyHandle*> handles;
    rocksdb::DB* raw = nullptr;
    CHECK(rocksdb::DB::Open(options, path(), families, &handles, &raw).ok());
    const std::unique_ptr<rocksdb::DB> db(raw);
    CHECK(db->Flush({}).ok());
    for (rocksdb::ColumnFamilyHandle* handle : handles) CHECK(db->DestroyColumnFamilyHandle(handle).ok());
  }
};

TEST_F(RocksDbKvStoreTest, RowsAndTheAppliedLsnSurviveReopening) {
  open();
  EXPECT_EQ(store->applied(), Applied{});
  ASSERT_TRUE(apply({{text("a"), text("1")}, {text("b"), text("2")}, {text("c"), text("")}}));
  EXPECT_EQ(store->applied(), Applied{});
  ASSERT_TRUE(apply({{text("a"), text("3")}, {text("b"), std::nullopt}}, 700));
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(store->applied(), (Applied{Lsn(700), Lsn(350), StartNumber(233)}));
    EXPECT_EQ(value("a"), "3");
    EXPECT_EQ(value("b"), "-");
    EXPECT_EQ(value("c"), "");
    open();
  }
}

TEST_F(RocksDbKvStoreTest, ScanIncludesBothBoundsAndStopsAtRowsMax) {
  open();
  using namespace std::string_literals;
  ASSERT_TRUE(apply({{text("a"), text("1")},
                     {text("b"), text("2")},
                     {text("b\0"s), text("3")},
                     {text("ba"), text("4")},
                     {text("c"), text("5")},
                     {text("\xff"), text("6")}},
                    1));
  EXPECT_EQ(scan("b", "c", 10), "b b\0 ba c "s);
  EXPECT_EQ(scan("b", "b", 10), "b ");
  EXPECT_EQ(scan("b", "b\0"s, 10), "b b\0 "s);
  EXPECT_EQ(scan("\1", "\xff\xff", 10), "a b b\0 ba c \xff "s);  // and not the store's own key
  EXPECT_EQ(scan("a", "\xff", 2), "a b ");
  EXPECT_EQ(scan("d", "e", 2), "");
  EXPECT_EQ(scan("c", "a", 2), "");
}

TEST_F(RocksDbKvStoreTest, TryGetAnswersFromMemoryAlone) {
  fill_table(2000);
  open();
  ByteVector v;
  EXPECT_EQ(store->try_get(key(100), v), KvStore::Hit::needs_io);
  ASSERT_TRUE(*get(key(100)));
  EXPECT_EQ(store->try_get(key(100), v), KvStore::Hit::found);
  EXPECT_EQ(text_of(v), std::string(100, 'y'));
  EXPECT_EQ(store->try_get(key(3000), v), KvStore::Hit::needs_io);  // another block
  // The filter is in memory now: most keys that do not exist are known to be absent.
  unsigned absent = 0;
  for (unsigned i = 0; i < 1000; ++i)
    absent += store->try_get(key(2 * i + 1), v) == KvStore::Hit::absent ? 1U : 0U;
  EXPECT_GT(absent, 950U);
  // What was just applied is in memory.
  ASSERT_TRUE(apply({{key(3000), text("new")}, {key(3002), std::nullopt}}));
  EXPECT_EQ(store->try_get(key(3000), v), KvStore::Hit::found);
  EXPECT_EQ(text_of(v), "new");
  EXPECT_EQ(store->try_get(key(3002), v), KvStore::Hit::absent);
  EXPECT_GT(store->figures().disk_bytes, 10000U);
  EXPECT_GT(store->figures().memory_bytes, 4096U);
}

// The machine loses its power at any moment of three checkpoints: the write-ahead log is cut at every length.
// What is found is a prefix of the parts, and Applied belongs to it.
TEST_F(RocksDbKvStoreTest, ACutWriteAheadLogLeavesAPrefixOfTheParts) {
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    open();
    for (uint64_t n = 1; n <= 6; ++n) {
      std::optional<uint64_t> lsn;
      if (n % 2 == 0) lsn = n;
      const ByteVector value = text(std::to_string(n));
      CHECK(apply({{text("x"), value}, {text("y"), value}, {text("z"), value}}, lsn));
    }
    ::_exit(0);  // without closing the database
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  ASSERT_EQ(status, 0);
  fs::path log;
  for (const auto& entry : fs::directory_iterator(path())) {
    if (entry.path().extension() == ".log") log = entry.path().filename();
  }
  const auto size = fs::file_size(path() / log);
  ASSERT_GT(size, 100U);
  std::set<std::string> seen;
  for (uintmax_t length = 0; length <= size; length += length + 13 < size ? 13 : 1) {
    const fs::path copy = directory / "copy";
    fs::copy(path(), copy);
    fs::resize_file(copy / log, length);
    open(copy);
    const std::string found = value("x");
    EXPECT_EQ(found, value("y"));
    EXPECT_EQ(found, value("z"));
    const uint64_t part = found == "-" ? 0 : std::stoul(found);
    EXPECT_EQ(store->applied().lsn.value, part / 2 * 2);
    seen.insert(found);
    store.reset();
    fs::remove_all(copy);
  }
  EXPECT_THAT(seen, ::testing::ElementsAre("-", "1", "2", "3", "4", "5", "6"));
}

TEST_F(RocksDbKvStoreTest, TheDirectoryIsLocked) {
  open();
  const auto second = open_rocksdb(env, path(), 1U << 20U);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().kind, ErrorKind::busy);
  EXPECT_EQ(second.error().message, path().string() + ": in use by another process");
  const pid_t child = ::fork();
  if (child == 0) {
    const auto third = open_rocksdb(env, path(), 1U << 20U);
    ::_exit(!third && third.error().kind == ErrorKind::busy ? 0 : 1);
  }
  int status = -1;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
}

// Its successor may be there before a process that was killed is quite gone.
TEST_F(RocksDbKvStoreTest, OpenWaitsForWhoeverIsAboutToEnd) {
  std::array<int, 2> opened{};
  ASSERT_EQ(::pipe(opened.data()), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    open();
    CHECK(::write(opened[1], "x", 1) == 1);
    ::usleep(300'000);
    ::_exit(0);
  }
  char x = 0;
  ASSERT_EQ(::read(opened[0], &x, 1), 1);
  open();
  ASSERT_TRUE(apply({{text("a"), text("1")}}, 1));
  ::waitpid(child, nullptr, 0);
  ::close(opened[0]);
  ::close(opened[1]);
}

TEST_F(RocksDbKvStoreTest, OpenReportsWhatIsWrong) {
  EXPECT_EQ(open_rocksdb(env, directory / "no" / "such" / "place", 1U << 20U).error().kind, ErrorKind::io);
  open();
  ASSERT_TRUE(apply({{text("a"), text("1")}}, 1));
  store.reset();
  std::ofstream(path() / "CURRENT") << "nonsense";
  const auto opened = open_rocksdb(env, path(), 1U << 20U);
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().kind, ErrorKind::corrupt);
}

TEST_F(RocksDbKvStoreTest, ADamagedBlockIsReported) {
  fill_table(2000);
  for (const auto& entry : fs::directory_iterator(path())) {
    if (entry.path().extension() != ".sst") continue;
    std::fstream table(entry.path(), std::ios::in | std::ios::out | std::ios::binary);
    table.seekp(static_cast<std::streamoff>(fs::file_size(entry.path()) / 3));
    table.put('\x55').put('\xaa').put('\x55');
  }
  open();
  unsigned good = 0, damaged = 0;
  ByteVector v;
  for (unsigned i = 0; i < 2000; ++i) {
    if (const auto row = get(key(2 * i)); row) {
      EXPECT_TRUE(row->has_value());
      ++good;
    } else {
      EXPECT_EQ(row.error().kind, ErrorKind::corrupt);
      EXPECT_EQ(store->try_get(key(2 * i), v), KvStore::Hit::needs_io);
      ++damaged;
    }
  }
  EXPECT_GT(damaged, 0U);
  EXPECT_GT(good, 1800U);
  const auto rows =
      wait<KeyValues>([&](auto done) { store->scan(key(0), key(9999), 9999, std::move(done)); });
  EXPECT_EQ(rows.error().kind, ErrorKind::corrupt);
}

TEST_F(RocksDbKvStoreTest, AFailedApplyPoisonsTheStore) {
  open();
  ASSERT_TRUE(apply({{text("a"), text("1")}}, 1));
  ::signal(SIGXFSZ, SIG_IGN);
  rlimit unlimited{};
  ::getrlimit(RLIMIT_FSIZE, &unlimited);
  rlimit limited = unlimited;
  limited.rlim_cur = 8192;
  ::setrlimit(RLIMIT_FSIZE, &limited);
  const auto failed = apply({{text("b"), text(std::string(100000, 'x'))}}, 2);
  ::setrlimit(RLIMIT_FSIZE, &unlimited);
  EXPECT_EQ(failed.error().kind, ErrorKind::io);
  EXPECT_NE(failed.error().message.find(path().string()), std::string::npos);
  EXPECT_EQ(apply({{text("c"), text("1")}}, 3).error().kind, ErrorKind::stopped);
  EXPECT_EQ(get(text("a")).error().kind, ErrorKind::stopped);
  EXPECT_EQ(store->applied().lsn, Lsn(1));
  open();
  EXPECT_EQ(store->applied().lsn, Lsn(1));
  EXPECT_EQ(value("a"), "1");
  EXPECT_EQ(value("c"), "-");
}

TEST_F(RocksDbKvStoreTest, CallsUnderWayAreDroppedWithTheStore) {
  open();
  store->apply({{text("a"), text("1")}}, Applied{Lsn(5), Lsn(5), StartNumber(1)},
               [](Result<void>) { FAIL(); });
  store->get(text("a"), [](Result<std::optional<ByteVector>>) { FAIL(); });
  store.reset();
  env.run_until_idle();
  open();
  EXPECT_EQ(store->applied().lsn, Lsn(5));
}

// What a start after a crash has to read again, whatever was applied.
TEST_F(RocksDbKvStoreTest, TheWriteAheadLogStaysSmall) {
  open();
  const ByteVector value(200, std::byte{'v'});
  uintmax_t most = 0;
  for (unsigned part = 0; part < 100; ++part) {
    std::vector<Change> changes;
    for (unsigned i = 0; i < 3000; ++i) changes.push_back({key(part * 3000 + i), value});
    ASSERT_TRUE(apply(std::move(changes), part + 1));
    uintmax_t bytes = 0;
    std::error_code gone;  // files disappear meanwhile
    for (const auto& file : fs::directory_iterator(path()))
      if (const auto size = file.file_size(gone); file.path().extension() == ".log" && !gone) bytes += size;
    most = std::max(most, bytes);
  }
  EXPECT_LT(most, 16U << 20U) << "of 65 MiB";
}

// Every file with its content and its times.
std::string picture(const fs::path& directory) {
  std::string all;
  std::vector<fs::path> files(fs::directory_iterator(directory), {});
  std::ranges::sort(files);
  for (const fs::path& file : files) {
    std::ifstream in(file, std::ios::binary);
    all += fmt::format("{} {} ", file.string(), fs::last_write_time(file).time_since_epoch().count());
    all += std::string(std::istreambuf_iterator<char>(in), {}) + '\n';
  }
  return all;
}

// Locks are between processes.
template <class Open>
bool is_busy_for_another_process(Open open) {
  const pid_t child = ::fork();
  if (child == 0) {
    const auto opened = open();
    ::_exit(!opened && opened.error().kind == ErrorKind::busy ? 0 : 1);
  }
  int status = 1;
  return ::waitpid(child, &status, 0) == child && status == 0;
}

TEST_F(RocksDbKvStoreTest, ReadOnlyItChangesNothing) {
  fill_table(100);
  open();
  ASSERT_TRUE(apply({{key(1), text("in the write-ahead log")}}, 7));
  EXPECT_TRUE(is_busy_for_another_process([this] { return open_rocksdb_read_only(env, path(), 1U << 20U); }));
  store.reset();
  const std::string before = picture(path());
  {
    auto opened = open_rocksdb_read_only(env, path(), 1U << 20U);
    ASSERT_TRUE(opened);
    store = *std::move(opened);
    EXPECT_EQ(store->applied().lsn, Lsn(7));
    const auto rows = store->scan_now(key(0), key(3), 10);
    ASSERT_TRUE(rows);
    ASSERT_EQ(rows->size(), 3U);
    EXPECT_EQ(text_of((*rows)[1].second), "in the write-ahead log");
    EXPECT_FALSE(apply({{key(1), text("x")}}, 8));
    EXPECT_TRUE(is_busy_for_another_process([this] { return open_rocksdb(env, path(), 1U << 20U); }));
    store.reset();
  }
  EXPECT_EQ(picture(path()), before);
}

TEST_F(RocksDbKvStoreTest, ReadOnlyWithoutAnything) {
  const auto opened = open_rocksdb_read_only(env, path(), 1U << 20U);
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().kind, ErrorKind::not_found);
  EXPECT_FALSE(fs::exists(path()));
}

TEST_F(RocksDbKvStoreTest, BesideAServerItIsReadAsItIs) {
  open();
  ASSERT_TRUE(apply({{key(1), text("one")}}, 7));
  const auto beside = open_rocksdb_beside_server(env, path(), 1U << 20U);
  ASSERT_TRUE(beside);
  EXPECT_EQ((*beside)->scan_now(key(0), key(3), 10)->size(), 1U);
  ASSERT_TRUE(apply({{key(2), text("two")}}, 8));
}

}  // namespace
}  // namespace perdure::store
