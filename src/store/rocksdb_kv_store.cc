// The KvStore on RocksDB, embedded. What matters of its tuning stands in options_for().
//
// One key of ours, {0, 'a'}, holds Applied; it is written in the batch of a checkpoint's last part, and that
// batch alone is synced. RocksDB's write-ahead log is a sequence, and a crash leaves a prefix of it: so
// whoever reads a new Applied has every part before it.
//
// Calls that may wait run on the Env's low-priority thread, in order. They hold the database together: it is
// closed when the store has been destroyed and the last of them has ended.
#include <fcntl.h>
#include <rocksdb/cache.h>
#include <rocksdb/convenience.h>
#include <rocksdb/db.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/slice_transform.h>
#include <rocksdb/table.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdarg>
#include <cstdio>
#include <system_error>
#include <thread>

#include "store/kv_check.h"
#include "store/kv_store.h"
#include "store/rocksdb_beside_server.h"

namespace perdure::store {

namespace {

constexpr std::array applied_key = {std::byte{0}, std::byte{'a'}};

rocksdb::Slice slice(Bytes b) {
  return {reinterpret_cast<const char*>(b.data()), b.size()};
}
Bytes bytes(const rocksdb::Slice& s) {
  return bytes_of({s.data(), s.size()});
}
constexpr size_t rows_of_a_long_scan = 1024, long_scan_readahead_bytes = 1U << 20U;

ByteVector vector(const rocksdb::Slice& s) {
  return {bytes(s).begin(), bytes(s).end()};
}

Error failure(const std::string& path, const char* doing, const rocksdb::Status& status) {
  const ErrorKind kind = status.IsCorruption() ? ErrorKind::corrupt
                         : status.IsNoSpace()  ? ErrorKind::no_space
                                               : ErrorKind::io;
  return error(kind, "{}: {}: {}", path, doing, status.ToString());
}

// RocksDB's own log file would be one more file to fail: where it cannot be written, Debian's RocksDB aborts.
class LogToSpdlog final : public rocksdb::Logger {
 public:
  LogToSpdlog() : Logger(rocksdb::WARN_LEVEL) {}
  void LogHeader(const char* /*format*/, va_list /*arguments*/) override {}
  void Logv(const char* format, va_list arguments) override { Logv(rocksdb::WARN_LEVEL, format, arguments); }
  void Logv(const rocksdb::InfoLogLevel level, const char* format, va_list arguments) override {
    if (level < GetInfoLogLevel() || level == rocksdb::HEADER_LEVEL) return;
    std::array<char, 1024> line{};
    (void)std::vsnprintf(line.data(), line.size(), format, arguments);
    std::string_view text = line.data();
    while (text.ends_with('\n')) text.remove_suffix(1);
    spdlog::log(level == rocksdb::WARN_LEVEL ? spdlog::level::warn : spdlog::level::err, "rocksdb: {}", text);
  }
};

rocksdb::BlockBasedTableOptions table_options_for(std::shared_ptr<rocksdb::Cache> cache) {
  rocksdb::BlockBasedTableOptions table;
  table.block_cache = std::move(cache);
  table.filter_policy.reset(rocksdb::NewBloomFilterPolicy(10));
  table.whole_key_filtering = true;
  // Filters and indexes count towards the cache's limit, but go last.
  table.cache_index_and_filter_blocks = true;
  table.cache_index_and_filter_blocks_with_high_priority = true;
  table.pin_l0_filter_and_index_blocks_in_cache = true;
  table.data_block_index_type = rocksdb::BlockBasedTableOptions::kDataBlockBinaryAndHash;
  table.format_version = 5;
  return table;
}

rocksdb::CompressionType best_compression() {
  const std::vector<rocksdb::CompressionType> supported = rocksdb::GetSupportedCompressions();
  return std::ranges::find(supported, rocksdb::kLZ4Compression) != supported.end() ? rocksdb::kLZ4Compression
                                                                                   : rocksdb::kNoCompression;
}

rocksdb::Options options_for(std::shared_ptr<rocksdb::Cache> cache) {
  rocksdb::Options options;
  options.create_if_missing = true;
  options.compression = best_compression();
  options.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table_options_for(std::move(cache))));

  // One writer, whose batches are sorted.
  options.allow_concurrent_memtable_write = false;
  options.memtable_insert_with_hint_prefix_extractor.reset(rocksdb::NewFixedPrefixTransform(1));

  // A start reads the write-ahead log again, at most as much as the memtables hold, and that takes more than
  // 20 ms for a MiB of small rows: the greatest part of a restoration, if they are large. Small memtables
  // make small tables of level 0; so more of them are merged at once, into a smaller level 1.
  options.write_buffer_size = 4U << 20U;
  options.max_write_buffer_number = 3;
  options.level0_file_num_compaction_trigger = 8;
  options.max_bytes_for_level_base = 64U << 20U;
  options.avoid_flush_during_recovery = true;
  // What a crash has left to be compacted waits until the rows have been read: until the first change.
  options.disable_auto_compactions = true;
  options.skip_stats_update_on_db_open = true;
  options.max_open_files = -1;

  options.level_compaction_dynamic_level_bytes = true;
  options.max_background_jobs = 2;
  options.bytes_per_sync = 1U << 20U;
  options.wal_bytes_per_sync = 1U << 20U;
  options.avoid_unnecessary_blocking_io = true;

  options.stats_dump_period_sec = 0;
  options.stats_persist_period_sec = 0;
  options.info_log = std::make_shared<LogToSpdlog>();
  return options;
}

// The name of a new directory must survive a power cut like what is in it.
rocksdb::Status create_directory(const std::string& path) {
  rocksdb::Env& os = *rocksdb::Env::Default();
  if (os.FileExists(path).ok()) return {};
  rocksdb::Status status = os.CreateDir(path);
  if (!status.ok()) return status;
  const size_t slash = path.rfind('/', path.find_last_not_of('/'));
  std::unique_ptr<rocksdb::Directory> parent;
  status = os.NewDirectory(slash == std::string::npos ? "." : path.substr(0, slash + 1), &parent);
  return status.ok() ? parent->Fsync() : status;
}

// A process that died may have left changes in the write-ahead log that can be read, but are not synced. What
// the store shows from now on counts as durable (the log's tail moves by it); and once a new log file is
// begun nobody syncs the old one any more, so that a power cut could take its end and leave what follows.
rocksdb::Status sync_write_ahead_log(const std::string& path) {
  rocksdb::Env& os = *rocksdb::Env::Default();
  std::vector<std::string> names;
  if (const rocksdb::Status listed = os.GetChildren(path, &names); !listed.ok()) return listed;
  for (const std::string& name : names) {
    if (!name.ends_with(".log")) continue;
    std::unique_ptr<rocksdb::RandomRWFile> file;
    rocksdb::Status status = os.NewRandomRWFile(path + "/" + name, &file, rocksdb::EnvOptions());
    if (status.ok()) status = file->Fsync();
    if (status.ok()) status = file->Close();
    if (!status.ok()) return status;
  }
  return {};
}

// Used by the loop and by the low-priority thread. RocksDB itself is safe for both.
struct Database {
  std::string path;
  std::shared_ptr<rocksdb::Cache> cache;
  std::unique_ptr<rocksdb::DB> db;
  std::atomic<bool> poisoned = false;
  bool read_only = false;
  bool compacts = false;  // of the thread that applies
  int lock = -1;          // of a read-only one; RocksDB itself locks the others

  Database() = default;
  ~Database() {
    if (lock >= 0) ::close(lock);
  }
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  Result<std::optional<ByteVector>> get(Bytes key);
  Result<KeyValues> scan(Bytes from, const ByteVector& last, size_t rows_max);
  Result<void> apply(const std::vector<Change>& sorted, const std::optional<Applied>& applied);
};

Result<std::optional<ByteVector>> Database::get(Bytes key) {
  if (poisoned) return poisoned_error();
  rocksdb::PinnableSlice value;
  const rocksdb::Status status = db->Get({}, db->DefaultColumnFamily(), slice(key), &value);
  if (status.IsNotFound()) return std::nullopt;
  if (!status.ok()) return failure(path, "get", status);
  return vector(value);
}

Result<KeyValues> Database::scan(Bytes from, const ByteVector& last, size_t rows_max) {
  if (poisoned) return poisoned_error();
  ByteVector behind_last = last;
  behind_last.push_back(std::byte{0});
  const rocksdb::Slice upper_bound = slice(behind_last);
  rocksdb::ReadOptions options;
  options.iterate_upper_bound = &upper_bound;
  options.readahead_size = rows_max >= rows_of_a_long_scan ? long_scan_readahead_bytes : 0;
  const std::unique_ptr<rocksdb::Iterator> row(db->NewIterator(options));
  KeyValues found;
  for (row->Seek(slice(from)); row->Valid() && found.size() < rows_max; row->Next())
    found.add(bytes(row->key()), bytes(row->value()));
  if (!row->status().ok()) return failure(path, "scan", row->status());
  return found;
}

Result<void> Database::apply(const std::vector<Change>& sorted, const std::optional<Applied>& applied) {
  if (poisoned) return poisoned_error();
  if (read_only) return error(ErrorKind::unsupported, "{}: opened for reading only", path);
  rocksdb::Status status;
  if (!std::exchange(compacts, true)) status = db->EnableAutoCompaction({db->DefaultColumnFamily()});
  if (!status.ok()) {
    poisoned = true;
    return failure(path, "begin to compact", status);
  }
  size_t size = 64;
  for (const Change& change : sorted)
    size += 16 + change.key.size() + (change.value ? change.value->size() : 0);
  rocksdb::WriteBatch batch(size);
  for (const Change& change : sorted) {
    status =
        change.value ? batch.Put(slice(change.key), slice(*change.value)) : batch.Delete(slice(change.key));
    CHECK(status.ok());
  }
  if (applied) {
    Encoder encoder;
    encoder.put(applied->lsn.value);
    encoder.put(applied->read_from.value);
    encoder.put(applied->start.value);
    CHECK(batch.Put(slice(applied_key), slice(encoder.bytes())).ok());
  }
  rocksdb::WriteOptions options;
  options.sync = applied.has_value();
  status = db->Write(options, &batch);
  if (status.ok()) return {};
  poisoned = true;
  return failure(path, "apply", status);
}

class RocksDbKvStore final : public KvStore {
 public:
  RocksDbKvStore(env::Env& env, std::shared_ptr<Database> database, Applied applied)
      : env_(env), database_(std::move(database)), applied_(applied) {
    from_memory_.read_tier = rocksdb::kBlockCacheTier;
  }

  Hit try_get(Bytes key, ByteVector& value) override {
    rocksdb::DB& db = *database_->db;
    const rocksdb::Status status = db.Get(from_memory_, db.DefaultColumnFamily(), slice(key), &pinned_);
    Hit hit = Hit::needs_io;  // also for errors: get() reports them
    if (status.ok()) {
      const Bytes found = bytes(pinned_);
      value.assign(found.begin(), found.end());
      hit = Hit::found;
    } else if (status.IsNotFound()) {
      hit = Hit::absent;
    }
    pinned_.Reset();
    return hit;
  }

  void get(ByteVector key, env::Done<std::optional<ByteVector>> done) override {
    offload<std::optional<ByteVector>>([key = std::move(key)](Database& db) { return db.get(key); },
                                       std::move(done));
  }

  void scan(ByteVector from, ByteVector last, size_t rows_max, env::Done<KeyValues> done) override {
    CHECK(rows_max != 0 && !from.empty() && from.front() != std::byte{0});
    offload<KeyValues>([from = std::move(from), last = std::move(last),
                        rows_max](Database& db) { return db.scan(from, last, rows_max); },
                       std::move(done));
  }

  Result<KeyValues> scan_now(const ByteVector& from, const ByteVector& last, size_t rows_max) override {
    CHECK(rows_max != 0 && !from.empty() && from.front() != std::byte{0});
    return database_->scan(from, last, rows_max);
  }

  void apply(std::vector<Change> sorted, std::optional<Applied> applied, env::Done<void> done) override {
    check_part(sorted);
    offload<void>([sorted = std::move(sorted), applied](Database& db) { return db.apply(sorted, applied); },
                  [this, applied, done = std::move(done)](Result<void> result) mutable {
                    if (result && applied) applied_ = *applied;
                    done(std::move(result));
                  });
  }

  Applied applied() const override { return applied_; }

  Figures figures() override {
    uint64_t memtables = 0, tables = 0;
    (void)database_->db->GetIntProperty(rocksdb::DB::Properties::kSizeAllMemTables, &memtables);
    (void)database_->db->GetIntProperty(rocksdb::DB::Properties::kTotalSstFilesSize, &tables);
    // The write-ahead log holds what the memtables hold.
    return {.memory_bytes = memtables + database_->cache->GetUsage(), .disk_bytes = tables + memtables};
  }

 private:
  template <class T, class Work>
  void offload(Work work, env::Done<T> done) {
    struct Call {
      std::shared_ptr<Database> database;
      Work work;
      env::Done<T> done;
      std::optional<Result<T>> result;
    };
    auto call = std::make_shared<Call>(database_, std::move(work), std::move(done), std::nullopt);
    env_.offload([call] { call->result = call->work(*call->database); },
                 [call, alive = std::weak_ptr(alive_)] {
                   if (!alive.expired()) call->done(*std::move(call->result));
                 });
  }

  env::Env& env_;
  const std::shared_ptr<Database> database_;
  Applied applied_;
  rocksdb::ReadOptions from_memory_;
  rocksdb::PinnableSlice pinned_;
  const std::shared_ptr<bool> alive_ = std::make_shared<bool>();
};

Result<Applied> read_applied(Database& database) {
  const std::optional<ByteVector> value = TRY(database.get(applied_key));
  if (!value) return Applied{};
  Decoder decoder(*value);
  Applied applied;
  applied.lsn = Lsn(decoder.get<uint64_t>());
  applied.read_from = Lsn(decoder.get<uint64_t>());
  applied.start = StartNumber(decoder.get<uint64_t>());
  if (!decoder.finished())
    return error(ErrorKind::corrupt, "{}: the key that tells the applied LSN is damaged", database.path);
  return applied;
}

// A process that was killed keeps its lock for a while, until its last thread is gone. One that lives keeps
// it for longer; then the caller finds out.
constexpr auto lock_patience = std::chrono::seconds(3);

void wait_for_lock(const std::string& path) {
  const auto deadline = std::chrono::steady_clock::now() + lock_patience;
  rocksdb::Env& os = *rocksdb::Env::Default();
  while (std::chrono::steady_clock::now() < deadline) {
    rocksdb::FileLock* lock = nullptr;
    const rocksdb::Status status = os.LockFile(path + "/LOCK", &lock);
    if (status.ok()) os.UnlockFile(lock);
    if (status.ok() || status.ToString().find("lock hold by current process") != std::string::npos) return;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

// RocksDB does not lock what it opens for reading. A read lock on its lock file keeps servers away: theirs is
// a write lock.
Result<int> lock_for_reading(const std::string& path) {
  const std::string file = path + "/LOCK";
  const int descriptor = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0)
    return error(errno == ENOENT ? ErrorKind::not_found : ErrorKind::io, "{}: {}", file,
                 std::generic_category().message(errno));
  struct flock lock{};
  lock.l_type = F_RDLCK;
  lock.l_whence = SEEK_SET;
  const auto deadline = std::chrono::steady_clock::now() + lock_patience;
  do {
    if (::fcntl(descriptor, F_SETLK, &lock) == 0) return descriptor;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  } while (std::chrono::steady_clock::now() < deadline);
  ::close(descriptor);
  return error(ErrorKind::busy, "{}: in use by another process", path);
}

Result<std::unique_ptr<KvStore>> open_for_reading(env::Env& env, std::shared_ptr<Database> database,
                                                  uint64_t cache_bytes) {
  database->read_only = true;
  database->cache = rocksdb::NewLRUCache(cache_bytes);
  rocksdb::Options options = options_for(database->cache);
  options.create_if_missing = false;
  rocksdb::DB* db = nullptr;
  const rocksdb::Status status = rocksdb::DB::OpenForReadOnly(options, database->path, &db);
  database->db.reset(db);
  if (!status.ok()) return failure(database->path, "open", status);
  const Applied applied = TRY(read_applied(*database));
  return std::make_unique<RocksDbKvStore>(env, std::move(database), applied);
}

}  // namespace

Result<std::unique_ptr<KvStore>> open_rocksdb_read_only(env::Env& env, const std::string& path,
                                                        uint64_t cache_bytes) {
  auto database = std::make_shared<Database>();
  database->path = path;
  database->lock = TRY(lock_for_reading(path));
  return open_for_reading(env, std::move(database), cache_bytes);
}

Result<std::unique_ptr<KvStore>> open_rocksdb_beside_server(env::Env& env, const std::string& path,
                                                            uint64_t cache_bytes) {
  auto database = std::make_shared<Database>();
  database->path = path;
  return open_for_reading(env, std::move(database), cache_bytes);
}

Result<std::unique_ptr<KvStore>> open_rocksdb(env::Env& env, const std::string& path, uint64_t cache_bytes) {
  auto database = std::make_shared<Database>();
  database->path = path;
  database->cache = rocksdb::NewLRUCache(cache_bytes);
  // For every RocksDB of this process. Flushes keep their priority: an apply may have to wait for one.
  (void)rocksdb::Env::Default()->LowerThreadPoolCPUPriority(rocksdb::Env::LOW, rocksdb::CpuPriority::kLow);
  rocksdb::Env::Default()->LowerThreadPoolIOPriority(rocksdb::Env::LOW);

  if (const rocksdb::Status created = create_directory(path); !created.ok())
    return failure(path, "create", created);
  wait_for_lock(path);
  if (const rocksdb::Status synced = sync_write_ahead_log(path); !synced.ok())
    return failure(path, "sync the write-ahead log of", synced);
  rocksdb::DB* db = nullptr;
  const rocksdb::Status status = rocksdb::DB::Open(options_for(database->cache), path, &db);
  database->db.reset(db);
  if (!status.ok()) {
    // RocksDB has no code of its own for this.
    const std::string text = status.ToString();
    if (text.find("While lock file") != std::string::npos ||
        text.find("lock hold by current process") != std::string::npos)
      return error(ErrorKind::busy, "{}: in use by another process", path);
    return failure(path, "open", status);
  }
  const Applied applied = TRY(read_applied(*database));
  return std::make_unique<RocksDbKvStore>(env, std::move(database), applied);
}

}  // namespace perdure::store
