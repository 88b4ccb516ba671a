// Database: a vserver's tables, what they stand on (KvStore, GroupCommit), and what concerns all of them: the
// checkpoint, restoration's redo, and the memory limit.
//
// Checkpoint: begin_checkpoint() freezes the tables at an LSN between two runs, by counting the generation
// up. From then on the loop encodes frozen rows a few at a time and hands them to the store in parts; a row
// that changes before its turn is encoded first. The first part is handed over only when the frozen LSN is
// durable in this blade's own log (DESIGN.md §10 rule 6). The last part carries `applied`, and when it is
// done the log's tail moves. At most one checkpoint is under way.
#pragma once

#include <algorithm>
#include <array>
#include <functional>
#include <memory>
#include <vector>

#include "env/env.h"
#include "log/group_commit.h"
#include "state/run.h"
#include "state/table_base.h"
#include "store/kv_store.h"

namespace perdure::state {

class Database {
 public:
  // `store` outlives the database. Tables register themselves when they are constructed, and outlive nothing.
  Database(env::Env& env, store::KvStore& store);
  ~Database();

  // Restoration, in this order: load the resident tables from the store, redo records, connect the log. A
  // mirror goes on to redo records then, also while a checkpoint is under way.
  void load_resident(env::Done<void> done);
  Result<void> redo(Bytes record, Lsn lsn);
  void connect(log::GroupCommit& commit) { commit_ = &commit; }
  log::GroupCommit& commit() { return *commit_; }

  // Between two runs. `done` when the checkpoint is in the store; then `applied` is where the log's tail can
  // go. An error means that the store failed: the vserver stops.
  void begin_checkpoint(env::Done<store::Applied> done);
  bool checkpoint_under_way() const { return checkpoint_ != nullptr; }
  // Everything before it is in the store.
  Lsn applied_lsn() const { return applied_lsn_; }
  // The same, once the checkpoint that was begun last has ended.
  Lsn frozen_lsn() const { return frozen_lsn_; }
  // The same of a mirror that is in sync, and so of every copy.
  void set_mirror_applied(Lsn lsn) { mirror_applied_ = lsn; }
  Lsn applied_everywhere() const { return std::min(applied_lsn_, mirror_applied_); }

  // Drops clean entries until the tables' memory is below the limit, as far as possible in a small amount of
  // work. `oldest_fault`: tick of the oldest run that waits for a fetch (what it touched stays), or tick() if
  // none waits.
  void trim_memory(uint32_t oldest_fault);
  void set_memory_limit(size_t bytes) { memory_limit_ = bytes; }
  size_t memory_bytes() const;

  TableBase* table(uint8_t id) { return id < tables_.size() ? tables_[id] : nullptr; }
  uint32_t tick() const { return tick_; }

  // For tables and the run.
  void register_table(TableBase& table);
  uint32_t next_tick() { return ++tick_; }
  env::Env& env() { return env_; }
  store::KvStore& store() { return store_; }
  uint32_t generation() const { return generation_; }  // of changes made now
  uint32_t applied_generation() const { return applied_generation_; }
  // Grows when a checkpoint has been applied: a fetch that began before is repeated (DESIGN.md §10 rule 7).
  uint64_t applied_count() const { return applied_count_; }
  void add_change(TableBase& table, Encoder& key, std::optional<Bytes> row);
  ByteVector& scratch() { return scratch_; }

  struct Figures {
    uint64_t checkpoints = 0, rows_applied = 0, faults = 0;
    env::Duration last_checkpoint{};
  };
  Figures figures;

 private:
  struct Checkpoint;
  void load_next_table(uint8_t id, std::shared_ptr<env::Done<void>> done);
  void load_rows(TableBase& table, ByteVector from, std::shared_ptr<env::Done<void>> done);
  void continue_checkpoint();
  void settle();

  env::Env& env_;
  store::KvStore& store_;
  log::GroupCommit* commit_ = nullptr;
  std::array<TableBase*, table_id_end> tables_{};
  std::unique_ptr<Checkpoint> checkpoint_;
  ByteVector scratch_;
  size_t memory_limit_ = SIZE_MAX;
  uint8_t evict_next_ = 0;
  uint32_t tick_ = 0, generation_ = 1, applied_generation_ = 0;
  uint64_t applied_count_ = 0;
  Lsn applied_lsn_, frozen_lsn_, mirror_applied_ = Lsn(UINT64_MAX);
};

}  // namespace perdure::state
