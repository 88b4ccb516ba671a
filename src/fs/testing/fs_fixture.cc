#include "fs/testing/fs_fixture.h"

#include "fs/volume.h"

namespace perdure::fs::testing {

// ------------------------------------------------------------------------------------------------
// MemoryBlocks

void MemoryBlocks::read(BlockNo first, std::span<PageRef> pages, env::Done<void> done) {
  env_.post([this, first, pages, done = std::move(done)]() mutable {
    BlockNo block = first;
    for (PageRef& page : pages) {
      CHECK(block.value != 0 && block.value < capacity_);
      auto it = blocks_.find(block);
      page = it == blocks_.end() ? zero_page() : it->second;
      ++block;
    }
    done({});
  });
}

void MemoryBlocks::write(BlockNo first, std::span<const PageRef> pages, env::Done<void> done) {
  env_.post([this, first, copy = std::vector<PageRef>(pages.begin(), pages.end()),
             done = std::move(done)]() mutable {
    BlockNo block = first;
    for (PageRef& page : copy) {
      CHECK(block.value != 0 && block.value < capacity_);
      blocks_[block] = std::move(page);
      ++block;
    }
    done({});
  });
}

void MemoryBlocks::flush(env::Done<void> done) {
  env_.post([done = std::move(done)]() mutable { done({}); });
}

void MemoryBlocks::discard(BlockNo first, uint64_t count) {
  blocks_.erase(blocks_.lower_bound(first), blocks_.lower_bound(first + BlockNo(count)));
}

void MemoryBlocks::grow(env::Done<void> done) {
  const bool possible = capacity_ < capacity_max_;
  if (possible) capacity_ = std::min(capacity_max_, capacity_ * 2);
  env_.post([possible, done = std::move(done)]() mutable {
    if (possible)
      done({});
    else
      done(error(ErrorKind::no_space, "no more blocks"));
  });
}

// ------------------------------------------------------------------------------------------------
// FsFixture

FsFixture::FsFixture(FixtureOptions options)
    : options_(options),
      env_(options.seed),
      image_(std::make_shared<store::testing::MemoryKvImage>()),
      blocks_(env_) {
  build();
  const auto root =
      run_to_end([&](Run& run) { return create_volume(*fs_, run, {.id = volume(), .name = "test"}); });
  CHECK(root);
  root_ = *root;
}

FsFixture::~FsFixture() {
  destroy();
}

void FsFixture::build() {
  kv_ = std::make_unique<store::testing::MemoryKvStore>(
      env_, image_, store::testing::MemoryKvOptions{.needs_io_percent = options_.needs_io_percent});
  database_ = std::make_unique<state::Database>(env_, *kv_);
  FileSystem::Hooks hooks;
  hooks.is_open = [this](Run&, InodeId id) -> Outcome<bool> { return open.contains(id); };
  hooks.start_reclaim = [this](Run&, InodeId id) { reclaims.push_back(id); };
  hooks.resume = [this](TransactionId id) { resumed.push_back(id); };
  fs_ =
      std::make_unique<FileSystem>(env_, *database_, blocks_, std::move(hooks),
                                   FileSystemOptions{.name_hash_bits = options_.name_hash_bits, .data = {}});
  fs_->set_epoch(Epoch(++epoch_));
  bool loaded = false;
  database_->load_resident([&](Result<void> result) { loaded = result.has_value(); });
  env_.run_until_idle();
  CHECK(loaded);
  commit_ = std::make_unique<log::GroupCommit>(env_, nullptr, Epoch(1), [](const Error&) { CHECK(false); });
  database_->connect(*commit_);
  run_ = std::make_unique<state::Run>(*database_);
  fs_->restored();
}

void FsFixture::destroy() {
  env_.run_until_idle();
  run_.reset();
  fs_.reset();
  commit_.reset();
  database_.reset();
  kv_.reset();
}

void FsFixture::begin_operation() {
  faults_ = fetches_ = 0;
  ++operations_;
  if (looking_) return;
  env_.advance(std::chrono::microseconds(1));
  if (options_.cold) {
    checkpoint();
    evict();
    CHECK(fs_->inodes.size() == 0 && fs_->dirents.size() == 0 && fs_->symlinks.size() == 0 &&
          fs_->acls.size() == 0 && fs_->xattrs.size() == 0);
  }
}

void FsFixture::begin_run() {
  if (options_.check_abandoned && !looking_) before_ = rows_in_memory();
  run_->begin(TransactionId(operations_), 0, env_.wall_time());
  begin_ = run_->savepoint();
}

void FsFixture::end_run(bool take_back) {
  if (take_back) run_->rollback(begin_);
  run_->end_step({});
  release_ = run_->commit();
  commit_->flush();
}

void FsFixture::fetch_missing() {
  std::vector<state::Fetch> misses = run_->take_misses();
  run_->abandon();
  CHECK(!options_.check_abandoned || looking_ || rows_in_memory() == before_);
  CHECK(!misses.empty());
  CHECK(++faults_ < 10'000);
  size_t missing = misses.size();
  fetches_ += missing;
  for (state::Fetch& miss : misses) miss([&missing](Result<void> result) { missing -= result ? 1 : 0; });
  env_.run_until_idle();
  CHECK(missing == 0);
}

void FsFixture::checkpoint() {
  bool done = false;
  database_->begin_checkpoint([&](Result<store::Applied> applied) { done = applied.has_value(); });
  commit_->flush();
  env_.run_until_idle();
  CHECK(done);
}

void FsFixture::evict() {
  database_->set_memory_limit(0);
  // trim_memory spares what the last 64 runs touched, and looks at a few entries at a time.
  const size_t turns = 4 + database_->memory_bytes() / size_t{256 * 64};
  for (size_t i = 0; i < turns; ++i) database_->trim_memory(database_->tick() + 65);
  database_->set_memory_limit(SIZE_MAX);
}

void FsFixture::restart() {
  destroy();
  build();
}

namespace {

template <class Key>
Key last_key() {
  Encoder size;
  state::encode_key(size, Key{});
  Key key;
  CHECK(state::decode_key(ByteVector(size.size(), std::byte{0xff}), key));
  return key;
}

// Calls f(table) for each table of `fs`.
template <class F>
void for_each_table(FileSystem& fs, F&& f) {
  f(fs.volumes), f(fs.inodes), f(fs.dirents), f(fs.symlinks), f(fs.xattrs), f(fs.acls);
  f(fs.extents), f(fs.pages), f(fs.allocations), f(fs.freed), f(fs.block_references);
  f(fs.dirty_pages.groups()), f(fs.pending_inodes);
}

template <class Row>
std::string line(const state::Table<Row>& table, const typename Row::Key& key, const Row& row) {
  return std::string(table.name()) + " " + state::describe(key) + ": " + state::describe(row);
}

}  // namespace

std::vector<std::string> FsFixture::rows_in_memory() const {
  std::vector<std::string> lines;
  for_each_table(*fs_, [&]<class Row>(const state::Table<Row>& table) {
    table.for_each([&](const auto& key, const Row& row) { lines.push_back(line(table, key, row)); });
  });
  return lines;
}

std::vector<std::string> FsFixture::dump() {
  const Looking looking(*this);
  std::vector<std::string> lines;
  for_each_table(*fs_, [&]<class Row>(state::Table<Row>& table) {
    using Key = typename Row::Key;
    Key from{};
    for (bool more = true; more;) {  // one run for each row, which may fault
      const auto done = run_to_end([&](Run& run) -> Outcome<bool> {
        const auto found = TRY(from == Key{} ? table.first(run, from, last_key<Key>())
                                             : table.next(run, from, last_key<Key>()));
        if (!found) return true;
        lines.push_back(line(table, found.key, *found.row));
        from = found.key;
        return false;
      });
      more = !done.value();
    }
  });
  return lines;
}

}  // namespace perdure::fs::testing
