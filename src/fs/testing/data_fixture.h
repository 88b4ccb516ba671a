// DataFixture: a FileSystem over a real log and a block file on TestEnv, with a small processor that executes
// many transactions interleaved, step by step, and with crashes: for tests of file content.
//
// It plays the server's part: reclaims, write-back, checkpoints and freeing run as transactions when fs asks
// for them, and after a crash everything comes back from what the disks hold.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "env/testing/test_env.h"
#include "fs/commit.h"
#include "fs/data.h"
#include "fs/file_system.h"
#include "fs/reclaim.h"
#include "fs/testing/file_blocks.h"
#include "fs/write.h"
#include "fs/write_back.h"
#include "log/group_commit.h"
#include "log/ring.h"
#include "state/database.h"
#include "store/testing/memory_kv_store.h"

namespace perdure::fs::testing {

constexpr uint64_t page = block_bytes;

// Bytes that differ from place to place and from seed to seed, and are never 0.
ByteVector pattern(uint64_t size, uint64_t seed);

struct DataFixtureOptions {
  DataOptions data;
  uint64_t seed = 1;
  unsigned needs_io_percent = 0;                                  // of the rows in the store, how many fault
  uint64_t blocks = 4096, blocks_step = 4096, blocks_max = 4096;  // of the block store
  uint64_t log_bytes = 64U << 20U;
  bool serve_hooks = true;  // write-back and checkpoints are started when fs asks for them
};

class DataFixture {
 public:
  explicit DataFixture(DataFixtureOptions options = {});
  ~DataFixture();
  DataFixture(const DataFixture&) = delete;
  DataFixture& operator=(const DataFixture&) = delete;

  FileSystem& fs() { return *fs_; }
  Data& data() { return fs_->data(); }
  env::TestEnv& env() { return env_; }
  state::Database& database() { return *database_; }
  log::GroupCommit& log() { return *commit_; }

  // Executes `step(run, registers)` as a transaction: again after each fault, with the registers as they were
  // when the run began, and after each wait. `ended(outcome, release)` in the run's end; a bool outcome of
  // false means: again, in a new run.
  template <class Registers, class Step, class Ended>
  TransactionId spawn(Registers registers, Step step, Ended ended);
  // The same, until it has ended.
  template <class Registers, class Step>
  auto complete(Registers registers, Step step);
  // The same for a step without registers.
  template <class Step>
  auto run(Step step) {
    return complete(0, [step = std::move(step)](Run& run, int&) mutable { return step(run); });
  }

  // Executes one transaction's run that is ready, or one event of the loop. False: nothing is left to do.
  bool step();
  void settle();               // until nothing is left to do
  bool hold_reclaims = false;  // their transactions do not execute until ...
  void let_reclaims_go();
  size_t unfinished() const { return tasks_.size(); }
  // As for Data::trim_memory: when the oldest transaction that has faulted began to execute.
  uint32_t oldest_fault() const;

  InodeId new_file(uint32_t mode = 0644);
  void start_write_back(WriteBackScope scope);
  void start_checkpoint();
  void checkpoint();  // to its end
  void write_back(WriteBackScope scope = WriteBackScope::everything);
  void evict();  // every clean row and page leaves memory
  // The machine loses its power: what comes back is what was stable.
  void crash();

  // Calls of simple operations, to their end.
  Outcome<WriteResult> write(InodeId id, uint64_t offset, Bytes bytes, Stable stable, uint32_t uid = 0);
  Outcome<ByteVector> read(InodeId id, uint64_t offset, uint64_t count);
  Outcome<void> truncate(InodeId id, uint64_t size);
  Outcome<void> commit(InodeId id, uint64_t offset = 0, uint64_t count = 0);
  Outcome<void> drop(InodeId id);
  InodeRow load(InodeId id);

  // Checks the invariants that hold between all rows and the volatile counts. Nothing may be unfinished.
  void verify();

  std::set<InodeId>
      files;  // made by new_file() and not dropped; reclaims of them are restarted after a crash
  uint64_t faults = 0, waits = 0, runs = 0;
  size_t rows_per_run_max = 0;  // the largest number of row changes of one record
  size_t record_bytes_max = 0;

 private:
  struct Task {
    TransactionId id;
    std::function<Outcome<bool>(Run&)> execute;  // and what ended() needs is kept inside
    std::function<void()> keep, rewind;
    std::function<void(Lsn)> ended;
    size_t missing = 0;
    uint32_t fault_tick = 0;
    bool ready = true, executing = false, resumed = false;
  };
  TransactionId add(std::unique_ptr<Task> task);
  void execute(Task& task);
  bool event();
  void resume(TransactionId id);
  void start();
  void stop();
  void start_reclaim(InodeId id);
  void start_free();

  const DataFixtureOptions options_;
  env::TestEnv env_;
  const std::shared_ptr<store::testing::MemoryKvImage> image_;
  std::unique_ptr<log::LogRing> ring_;
  std::unique_ptr<store::testing::MemoryKvStore> kv_;
  std::unique_ptr<FileBlocks> blocks_;
  std::unique_ptr<state::Database> database_;
  std::unique_ptr<log::GroupCommit> commit_;
  std::unique_ptr<FileSystem> fs_;
  std::unique_ptr<state::Run> run_;
  std::map<TransactionId, std::unique_ptr<Task>> tasks_;
  std::deque<TransactionId> ready_;
  std::vector<InodeId> held_reclaims_;
  uint64_t last_task_ = 0;
  bool write_back_runs_ = false, checkpoint_wanted_ = false, write_back_wanted_ = false;
};

// ------------------------------------------------------------------------------------------------------

template <class Registers, class Step, class Ended>
TransactionId DataFixture::spawn(Registers registers, Step step, Ended ended) {
  using Result = std::invoke_result_t<Step, Run&, Registers&>;
  struct Machine {
    Registers now, kept;
    Step step;
    Ended ended;
    std::optional<Result> result;
  };
  auto machine =
      std::make_shared<Machine>(Machine{registers, registers, std::move(step), std::move(ended), {}});
  auto task = std::make_unique<Task>();
  task->execute = [machine](Run& run) -> Outcome<bool> {
    Result result = machine->step(run, machine->now);
    bool finished = true;
    if constexpr (std::is_same_v<Result, Outcome<bool>>) finished = !result || *result;
    if (!result && !result.error().is_status()) return std::unexpected(result.error());
    const bool status = !result;
    machine->result = std::move(result);
    if (status) return machine->result->error();
    return finished;
  };
  task->keep = [machine] { machine->kept = machine->now; };
  task->rewind = [machine] { machine->now = machine->kept; };
  task->ended = [machine](Lsn release) { machine->ended(std::move(*machine->result), release); };
  return add(std::move(task));
}

template <class Registers, class Step>
auto DataFixture::complete(Registers registers, Step step) {
  using Result = std::invoke_result_t<Step, Run&, Registers&>;
  auto result = std::make_shared<std::optional<Result>>();
  spawn(std::move(registers), std::move(step), [result](Result r, Lsn) { *result = std::move(r); });
  while (!*result) CHECK(this->step());
  return std::move(**result);
}

// Executes steps until it is so.
void until(DataFixture& fixture, const std::function<bool()>& condition);

}  // namespace perdure::fs::testing
