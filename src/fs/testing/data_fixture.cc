#include "fs/testing/data_fixture.h"

#include "fs/content.h"
#include "fs/read.h"
#include "fs/testing/consistency.h"
#include "fs/truncate.h"
#include "fs/volume.h"

namespace perdure::fs::testing {

namespace {
const VolumeId volume(1);
}  // namespace

ByteVector pattern(uint64_t size, uint64_t seed) {
  ByteVector bytes(size);
  for (uint64_t i = 0; i < size; ++i)
    bytes[i] = static_cast<std::byte>(1 + (i * 7 + seed * 131 + i / 251) % 255);
  return bytes;
}

void until(DataFixture& fixture, const std::function<bool()>& condition) {
  while (!condition()) CHECK(fixture.step());
}

DataFixture::DataFixture(DataFixtureOptions options)
    : options_(options), env_(options.seed), image_(std::make_shared<store::testing::MemoryKvImage>()) {
  bool created = false;
  log::LogRing::create(env_, "log", options_.log_bytes,
                       [&](Result<void> result) { created = result.has_value(); });
  env_.run_until_idle();
  CHECK(created);
  start();
  CHECK(run([this](Run& r) { return create_volume(*fs_, r, {.id = volume, .name = "test"}); }));
  settle();
}

DataFixture::~DataFixture() {
  env_.crash();
  stop();
}

void DataFixture::stop() {
  tasks_.clear();
  ready_.clear();
  run_.reset();
  fs_.reset();
  commit_.reset();
  database_.reset();
  blocks_.reset();
  kv_.reset();
  ring_.reset();
}

void DataFixture::crash() {
  env_.crash();
  stop();
  image_->crash(env_.random());
  start();
}

void DataFixture::start() {
  log::LogRing::open(env_, "log", [this](Result<std::unique_ptr<log::LogRing>> ring) {
    CHECK(ring);
    ring_ = *std::move(ring);
  });
  env_.run_until_idle();
  kv_ = std::make_unique<store::testing::MemoryKvStore>(
      env_, image_, store::testing::MemoryKvOptions{.needs_io_percent = options_.needs_io_percent});
  blocks_ = std::make_unique<FileBlocks>(env_, "blocks", options_.blocks, options_.blocks_step,
                                         options_.blocks_max);
  database_ = std::make_unique<state::Database>(env_, *kv_);
  FileSystem::Hooks hooks;
  hooks.is_open = [](Run&, InodeId) -> Outcome<bool> { return false; };
  hooks.start_reclaim = [this](Run& r, InodeId id) { r.on_commit([this, id] { start_reclaim(id); }); };
  hooks.resume = [this](TransactionId id) { resume(id); };
  FileSystemOptions options;
  options.data = options_.data;
  fs_ = std::make_unique<FileSystem>(env_, *database_, *blocks_, std::move(hooks), options);
  write_back_runs_ = checkpoint_wanted_ = write_back_wanted_ = false;
  if (options_.serve_hooks) {
    data().hooks.want_checkpoint = [this] { checkpoint_wanted_ = true; };
    data().hooks.want_write_back = [this] { write_back_wanted_ = true; };
  }
  bool restored = false;
  database_->load_resident([&](Result<void> loaded) {
    CHECK(loaded);
    const store::Applied applied = kv_->applied();
    ring_->read(
        applied.read_from, applied.lsn, applied.start,
        [this](Bytes record, Lsn lsn) { return database_->redo(record, lsn); },
        [&](Result<Lsn> end) { restored = end.has_value(); });
  });
  env_.run_until_idle();
  CHECK(restored);
  commit_ =
      std::make_unique<log::GroupCommit>(env_, ring_.get(), Epoch(1), [](const Error&) { CHECK(false); });
  database_->connect(*commit_);
  run_ = std::make_unique<state::Run>(*database_);
  fs_->set_epoch(Epoch(ring_->start_number().value));
  fs_->restored();
  std::set<InodeId> known;
  std::swap(known, files);
  for (const InodeId id : known) {
    const auto row = *run([this, id](Run& r) -> Outcome<std::optional<InodeRow>> {
      const InodeRow* found = TRY(fs_->inodes.get(r, {id}));
      return found == nullptr ? std::nullopt : std::optional(*found);
    });
    if (!row) continue;
    files.insert(id);
    if (row->cut_stamp != 0) start_reclaim(id);
  }
}

// ------------------------------------------------------------------------------------------------------
// the processor

TransactionId DataFixture::add(std::unique_ptr<Task> task) {
  task->id = TransactionId((ring_->start_number().value << 40U) | ++last_task_);
  const TransactionId id = task->id;
  tasks_.emplace(id, std::move(task));
  ready_.push_back(id);
  return id;
}

void DataFixture::resume(TransactionId id) {
  auto it = tasks_.find(id);
  if (it == tasks_.end()) return;
  Task& task = *it->second;
  if (task.executing) {
    task.resumed = true;
  } else if (!task.ready && task.missing == 0) {
    task.ready = true;
    ready_.push_back(id);
  }
}

void DataFixture::execute(Task& task) {
  ++runs;
  task.executing = true;
  task.ready = task.resumed = false;
  run_->begin(task.id, 0, env_.wall_time());
  const state::Savepoint begin = run_->savepoint();
  const Outcome<bool> outcome = task.execute(*run_);
  if (!outcome && outcome.error().is_fault()) {
    std::vector<state::Fetch> misses = run_->take_misses();
    if (task.fault_tick == 0) task.fault_tick = run_->tick();
    run_->abandon();
    task.rewind();
    task.executing = false;
    CHECK(!misses.empty());
    task.missing = misses.size();
    ++faults;
    for (state::Fetch& miss : misses)
      miss([this, id = task.id](Result<void> result) {
        CHECK(result);
        Task& faulted = *tasks_.at(id);
        if (--faulted.missing != 0) return;
        faulted.ready = true;
        ready_.push_back(id);
      });
    return;
  }
  task.fault_tick = 0;
  const bool status = !outcome && outcome.error().is_status();
  if (status) run_->rollback(begin);
  run_->end_step({});
  const Lsn before = commit_->next_lsn();
  const Lsn release = run_->commit();
  record_bytes_max = std::max<size_t>(record_bytes_max, commit_->next_lsn().value - before.value);
  commit_->flush();
  task.keep();
  task.executing = false;
  if (!outcome && outcome.error().is_wait()) {
    ++waits;
    if (task.resumed) {
      task.ready = true;
      ready_.push_back(task.id);
    }
    return;
  }
  if (outcome && !*outcome) {
    task.ready = true;
    ready_.push_back(task.id);
    return;
  }
  const auto ended = std::move(tasks_.extract(task.id).mapped());
  ended->ended(release);
}

bool DataFixture::step() {
  if (std::exchange(write_back_wanted_, false) && !write_back_runs_) {
    start_write_back(WriteBackScope::everything);
    return true;
  }
  if (checkpoint_wanted_ && !database_->checkpoint_under_way()) {
    checkpoint_wanted_ = false;
    start_checkpoint();
    return true;
  }
  // Which of the two goes first is drawn; so is the transaction.
  if (!ready_.empty() && (env_.random() % 2 == 0 || !event())) {
    const size_t i = env_.random() % ready_.size();
    const TransactionId id = ready_[i];
    ready_.erase(ready_.begin() + static_cast<ptrdiff_t>(i));
    execute(*tasks_.at(id));
    return true;
  }
  return !ready_.empty() || event();
}

bool DataFixture::event() {
  commit_->flush();  // a turn ends with it: what has been appended during a write of the log follows that one
  if (env_.run_one()) return true;
  // What transactions have asked for outside a turn is submitted at the end of one.
  for (int turns = 0; turns < 3 && env_.io_under_way() != 0; ++turns) {
    env_.post([] {});
    while (env_.run_one())
      if (!ready_.empty()) return true;
  }
  return !ready_.empty();
}

uint32_t DataFixture::oldest_fault() const {
  uint32_t oldest = database_->tick();
  for (const auto& [id, task] : tasks_)
    if (task->fault_tick != 0) oldest = std::min(oldest, task->fault_tick);
  return oldest;
}

void DataFixture::settle() {
  while (step()) {
  }
}

// ------------------------------------------------------------------------------------------------------
// the server's jobs

void DataFixture::let_reclaims_go() {
  hold_reclaims = false;
  for (const InodeId id : std::exchange(held_reclaims_, {})) start_reclaim(id);
}

void DataFixture::start_reclaim(InodeId id) {
  if (hold_reclaims) return held_reclaims_.push_back(id);
  spawn(
      ReclaimRegisters{.inode = id},
      [this](Run& r, ReclaimRegisters& registers) { return reclaim_step(*fs_, r, registers); },
      [](const Outcome<bool>& done, Lsn) { CHECK(done); });
}

void DataFixture::start_write_back(WriteBackScope scope) {
  write_back_runs_ = true;
  spawn(
      begin_write_back(*fs_, scope),
      [this](Run& r, WriteBackRegisters& registers) { return fs::write_back(*fs_, r, registers); },
      [this](const Outcome<bool>&, Lsn) { write_back_runs_ = false; });
}

void DataFixture::start_checkpoint() {
  database_->begin_checkpoint([this](Result<store::Applied> applied) {
    CHECK(applied);
    ring_->trim(applied->read_from);
    start_free();
  });
  commit_->flush();
}

void DataFixture::start_free() {
  spawn(
      0, [this](Run& r, int&) -> Outcome<bool> { return free_pending(*fs_, r); },
      [](const Outcome<bool>&, Lsn) {});
}

void DataFixture::checkpoint() {
  settle();
  start_checkpoint();
  settle();
}

void DataFixture::write_back(WriteBackScope scope) {
  CHECK(complete(begin_write_back(*fs_, scope), [this](Run& r, WriteBackRegisters& registers) {
    return fs::write_back(*fs_, r, registers);
  }));
}

void DataFixture::evict() {
  settle();
  database_->set_memory_limit(0);
  const size_t turns = 4 + database_->memory_bytes() / size_t{256 * 64};
  for (size_t i = 0; i < turns; ++i) database_->trim_memory(database_->tick() + 65);
  database_->set_memory_limit(SIZE_MAX);
  while (data().cache.bytes() != 0) data().cache.trim(0, database_->tick() + 1);
}

// ------------------------------------------------------------------------------------------------------
// operations

InodeId DataFixture::new_file(uint32_t mode) {
  const InodeId id = *run([&](Run& r) -> Outcome<InodeId> {
    const InodeId fresh = fs_->new_inode_id(r, volume);
    InodeRow row;
    row.type = FileType::regular;
    row.volume = volume;
    row.mode = mode;
    row.links = 1;
    fs_->inodes.put_new(r, {fresh}, row);
    return fresh;
  });
  files.insert(id);
  return id;
}

Outcome<WriteResult> DataFixture::write(InodeId id, uint64_t offset, Bytes bytes, Stable stable,
                                        uint32_t uid) {
  const Principal who{.uid = uid, .gid = uid, .groups = {}};
  return complete(WriteRegisters{}, [&, id](Run& r, WriteRegisters& registers) {
    return fs::write(*fs_, r, who, id, offset, bytes, stable, registers);
  });
}

Outcome<ByteVector> DataFixture::read(InodeId id, uint64_t offset, uint64_t count) {
  return run([&](Run& r) -> Outcome<ByteVector> {
    const InodeRow inode = TRY(fs_->load(r, id));
    const ReadResult result = TRY(fs::read(*fs_, r, id, inode, offset, count));
    ByteVector bytes;
    for (const PageRef& content : result.pages)
      bytes.insert(bytes.end(), content.bytes().begin(), content.bytes().end());
    bytes.erase(bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(result.first_offset));
    CHECK(bytes.size() >= result.length);
    bytes.resize(result.length);
    return bytes;
  });
}

Outcome<void> DataFixture::truncate(InodeId id, uint64_t size) {
  return run([&](Run& r) -> Outcome<void> {
    InodeRow inode = TRY(fs_->load(r, id));
    TRY(fs::truncate(*fs_, r, id, inode, size));
    fs_->touch_content(r, inode);
    fs_->store(r, id, inode);
    return {};
  });
}

Outcome<void> DataFixture::commit(InodeId id, uint64_t offset, uint64_t count) {
  return complete(CommitRegisters{}, [&, id](Run& r, CommitRegisters& registers) {
    return fs::commit(*fs_, r, id, offset, count, registers);
  });
}

Outcome<void> DataFixture::drop(InodeId id) {
  const Outcome<void> dropped = run([&](Run& r) -> Outcome<void> {
    const InodeRow inode = TRY(fs_->load(r, id));
    return fs::drop(*fs_, r, id, inode);
  });
  return dropped;
}

InodeRow DataFixture::load(InodeId id) {
  return *run([&](Run& r) { return fs_->load(r, id); });
}

// ------------------------------------------------------------------------------------------------------
// invariants

namespace {

// All rows of a table, each read in a run of its own, because it may fault.
template <class Row>
std::vector<std::pair<typename Row::Key, Row>> all_rows(DataFixture& f, state::Table<Row>& table,
                                                        const typename Row::Key& last) {
  using KeyAndRow = std::pair<typename Row::Key, Row>;
  std::vector<KeyAndRow> rows;
  for (;;) {
    auto row = *f.run([&](Run& r) -> Outcome<std::optional<KeyAndRow>> {
      const auto found =
          TRY(rows.empty() ? table.first(r, {}, last) : table.next(r, rows.back().first, last));
      if (!found) return std::nullopt;
      return KeyAndRow(found.key, *found.row);
    });
    if (!row) return rows;
    rows.push_back(*std::move(row));
  }
}

// What the rows say of one file.
struct FileRows {
  std::set<uint64_t> stable, dirty;  // blocks
  uint64_t extent_end = 0;
};

}  // namespace

void DataFixture::verify() {
  CHECK(tasks_.empty() && data().placements.under_way() == 0);
  std::map<InodeId, FileRows> by_file;
  std::set<uint64_t> used;            // blocks of the store
  std::map<uint64_t, uint32_t> more;  // times that a block is named beyond the first one
  const auto use = [&](BlockNo first, uint64_t count) {
    for (uint64_t i = 0; i < count; ++i) {
      if (!used.insert(first.value + i).second) ++more[first.value + i];
      CHECK(!data().allocator.reserved(BlockNo(first.value + i)));
    }
  };
  for (const auto& [key, row] : all_rows(*this, fs_->extents, {InodeId(UINT64_MAX), FileBlock(UINT64_MAX)})) {
    CHECK(!row.crcs.empty() && row.crcs.size() <= ExtentRow::blocks_max);
    CHECK(row.first_block.value + row.crcs.size() == key.last_block.value + 1);
    FileRows& file = by_file[key.inode];
    CHECK(file.extent_end <= row.first_block.value);
    file.extent_end = key.last_block.value + 1;
    for (uint64_t b = row.first_block.value; b < file.extent_end; ++b) file.stable.insert(b);
    use(row.block, row.crcs.size());
  }
  fs_->freed.for_each([&](const FreedRow::Key&, const FreedRow& row) {
    for (const BlockRange& range : row.ranges) use(range.first, range.count);
  });
  for (const auto& [key, row] : all_rows(*this, fs_->block_references, {UINT64_MAX}))
    for (uint64_t i = 0; i < row.more.size(); ++i)
      if (row.more[i] != 0) {
        const auto it = more.find(key.group * row.more.size() + i);
        CHECK(it != more.end() && it->second == row.more[i]);
        more.erase(it);
      }
  CHECK(more.empty());
  std::set<uint64_t> marked;
  fs_->allocations.for_each([&](const AllocationRow::Key& key, const AllocationRow& row) {
    for (uint64_t bit = 0; bit < AllocationRow::group_blocks; ++bit)
      if ((row.used[bit / 64] >> (bit % 64) & 1U) != 0)
        marked.insert(key.group * AllocationRow::group_blocks + bit);
  });
  CHECK(used == marked);
  CHECK(data().allocator.reserved_blocks() == 0);
  CHECK(data().allocator.free_blocks() == blocks_->capacity() - 1 - used.size());
  CHECK(data().allocator.available() ==
        static_cast<int64_t>(data().allocator.free_blocks()) -
            static_cast<int64_t>(fs_->dirty_pages.size() + fs_->pages.size()));

  fs_->pages.for_each(
      [&](const PageKey& key, const PageRow&) { by_file[key.inode].stable.insert(key.block.value); });
  fs_->dirty_pages.for_each(
      [&](const PageKey& key, const DirtyPage&) { by_file[key.inode].dirty.insert(key.block.value); });
  std::map<InodeId, uint64_t> new_blocks;
  fs_->pending_inodes.for_each(
      [&](const InodeKey& key, const PendingInodeRow& row) { new_blocks[key.inode] = row.new_blocks; });
  for (const auto& [key, row] : all_rows(*this, fs_->inodes, {InodeId(UINT64_MAX)})) {
    if (row.type != FileType::regular) continue;
    const FileRows file = by_file[key.inode];
    by_file.erase(key.inode);
    CHECK(!row.dropped() && row.cut_stamp == 0);  // their reclaims have ended
    CHECK(file.extent_end <= row.extent_end);
    CHECK(row.blocks == file.stable.size());
    uint64_t only_dirty = 0;
    for (const uint64_t block : file.dirty) only_dirty += file.stable.contains(block) ? 0 : 1;
    CHECK(new_blocks[key.inode] == only_dirty);
  }
  CHECK(by_file.empty());

  std::vector<std::string> found =
      findings_in(*fs_, {.open = {}, .reclaims = {}, .blocks = blocks_->capacity(), .read_blocks = {}});
  std::erase_if(found,
                [](const std::string& line) { return line.find("an orphan") != line.npos; });  // no names
  for (const std::string& line : found) fmt::print(stderr, "{}\n", line);
  CHECK(found.empty());
}

}  // namespace perdure::fs::testing
