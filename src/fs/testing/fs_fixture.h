// FsFixture: a FileSystem with one volume over TestEnv, MemoryKvStore and blocks in memory, for tests of
// fs/ and of what stands on it. Nothing is logged (durability level memory): what survives restart() is what
// the last checkpoint() had.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "env/testing/test_env.h"
#include "fs/file_system.h"
#include "log/group_commit.h"
#include "state/database.h"
#include "store/testing/memory_kv_store.h"

namespace perdure::fs::testing {

struct FixtureOptions {
  unsigned needs_io_percent = 0;  // of the rows that the store has, how many fault; 100: all
  bool cold = false;              // everything is checkpointed and evicted before each run_to_end
  bool check_abandoned = false;   // an abandoned run must leave the rows in memory as they were
  unsigned name_hash_bits = 55;
  uint64_t seed = 1;
};

// Blocks in a map, completing at the loop's next turn.
class MemoryBlocks final : public store::BlockStore {
 public:
  explicit MemoryBlocks(env::Env& env) : env_(env) {}
  void read(BlockNo first, std::span<PageRef> pages, env::Done<void> done) override;
  void write(BlockNo first, std::span<const PageRef> pages, env::Done<void> done) override;
  void flush(env::Done<void> done) override;
  void discard(BlockNo first, uint64_t count) override;
  uint64_t capacity() const override { return capacity_; }
  uint64_t capacity_max() const override { return capacity_max_; }
  void grow(env::Done<void> done) override;
  // For the next grow(): block counts.
  void set_capacity(uint64_t capacity, uint64_t capacity_max) {
    capacity_ = capacity, capacity_max_ = capacity_max;
  }
  const std::map<BlockNo, PageRef>& blocks() const { return blocks_; }

 private:
  env::Env& env_;
  std::map<BlockNo, PageRef> blocks_;
  uint64_t capacity_ = 1 << 16, capacity_max_ = 1 << 18;
};

class FsFixture {
 public:
  explicit FsFixture(FixtureOptions options = {});
  ~FsFixture();
  FsFixture(const FsFixture&) = delete;
  FsFixture& operator=(const FsFixture&) = delete;

  FileSystem& fs() { return *fs_; }
  state::Database& database() { return *database_; }
  env::TestEnv& env() { return env_; }
  MemoryBlocks& blocks() { return blocks_; }
  store::testing::MemoryKvStore& kv() { return *kv_; }
  InodeId root() const { return root_; }
  VolumeId volume() const { return VolumeId(1); }
  static Principal user(uint32_t uid, uint32_t gid = 100) { return {.uid = uid, .gid = gid, .groups = {}}; }
  static Principal superuser() { return {.uid = 0, .gid = 0, .groups = {}}; }

  // Executes `operation(run)`, which returns an Outcome, as a run of its own, as often as it faults; a status
  // takes its changes back, as a COMPOUND does. The virtual clock moves on by a microsecond.
  template <class F>
  auto run_to_end(F&& operation) {
    for (begin_operation();; fetch_missing()) {
      begin_run();
      auto outcome = operation(*run_);
      if (!outcome && outcome.error().is_fault()) continue;
      end_run(!outcome && outcome.error().is_status());
      return outcome;
    }
  }
  // Executes `operation(run)` once and takes it back; false if something is not as it was before.
  template <class F>
  bool run_and_abandon(F&& operation) {
    const std::vector<std::string> before = rows_in_memory();
    begin_run();
    std::ignore = operation(*run_);
    run_->take_misses();
    run_->abandon();
    return rows_in_memory() == before;
  }
  // Makes the runs of its lifetime mere looks at the rows: none starts cold, is checked, or takes time.
  class Looking {
   public:
    explicit Looking(FsFixture& fixture) : looking_(fixture.looking_) { looking_ = true; }
    ~Looking() { looking_ = false; }
    Looking(const Looking&) = delete;
    Looking& operator=(const Looking&) = delete;

   private:
    bool& looking_;
  };
  // How often the last run_to_end had to begin again, and what was fetched for that in all.
  size_t faults() const { return faults_; }
  size_t fetches() const { return fetches_; }
  // The LSN that the last run's reply would have waited for.
  Lsn release() const { return release_; }

  // Everything so far goes to the store.
  void checkpoint();
  // Drops every clean row of the cached tables from memory (all, right after a checkpoint).
  void evict();
  // All memory is gone: a new Database and FileSystem over the store as the last checkpoint left it.
  void restart();

  // Every row of every table, in memory or not, as "inode inode=7: type=1 ...". Two executions of the same
  // operations give the same, however often they fault.
  std::vector<std::string> dump();
  std::vector<std::string> rows_in_memory() const;

  // The hooks' other side.
  std::set<InodeId> open;         // inodes that somebody has open
  std::vector<InodeId> reclaims;  // start_reclaim was called for
  std::vector<TransactionId> resumed;

 private:
  void build();
  void destroy();
  void begin_operation();
  void begin_run();
  void end_run(bool take_back);
  void fetch_missing();

  FixtureOptions options_;
  env::TestEnv env_;
  std::shared_ptr<store::testing::MemoryKvImage> image_;
  MemoryBlocks blocks_;
  std::unique_ptr<store::testing::MemoryKvStore> kv_;
  std::unique_ptr<state::Database> database_;
  std::unique_ptr<log::GroupCommit> commit_;
  std::unique_ptr<FileSystem> fs_;
  std::unique_ptr<state::Run> run_;
  state::Savepoint begin_{};
  std::vector<std::string> before_;  // check_abandoned
  bool looking_ = false;
  InodeId root_;
  uint64_t epoch_ = 0, operations_ = 0;
  size_t faults_ = 0, fetches_ = 0;
  Lsn release_;
};

}  // namespace perdure::fs::testing
