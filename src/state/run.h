// A run: the steps that one transaction executes without waiting. Atomic: all its row changes are there, in
// one record of the log, or none.
//
// The tables write their changes into the run (table.h); the run is the undo, and the log generator: at the
// end of each step it extracts the step's control values and the rows that it changed into the record.
//
//   run.begin(...);  { operation; run.end_step(control); }*  run.commit() or run.abandon();
//
// One Run lives per processor; it is used again and again, by one transaction at a time, on the loop's
// thread.
#pragma once

#include <vector>

#include "base/ids.h"
#include "env/env.h"
#include "log/group_commit.h"
#include "log/record.h"

namespace perdure::state {

class Database;
class TableBase;

// A position in a run's changes, to go back to.
enum class Savepoint : size_t {};

// Starts fetching something that a run missed, and says when it is in memory (or known to be absent). An
// error is a failure of the store itself: the vserver stops.
using Fetch = std::move_only_function<void(env::Done<void>)>;

class Run {
 public:
  explicit Run(Database& database);

  void begin(TransactionId transaction, uint64_t client, env::WallTime now);
  // The log generator's entry. What changed since the previous end_step belongs to this step.
  void end_step(const log::ControlValues& control);
  Savepoint savepoint() const { return static_cast<Savepoint>(changes_.size()); }
  // Takes back all changes after `savepoint`, which is not before the last end_step.
  void rollback(Savepoint savepoint);

  // The transaction's client, where it was not yet known at begin(). For the record's header.
  void set_client(uint64_t client) { record_.set_client(client); }

  // Appends the record, if any logged row changed. Returns the LSN that must be durable before anything that
  // this run saw or did may leave the server: release when GroupCommit::durable() > it. Lsn(0) if it saw
  // nothing that was ever logged (GroupCommit::durable() is always > 0).
  Lsn commit();
  // Takes everything back: rows are as before begin().
  void abandon();

  // The run has changed a logged row (so far).
  bool changed() const { return logged_changes_ != 0; }
  // Fixed for the run, and in its record.
  env::WallTime now() const { return now_; }
  TransactionId transaction() const { return transaction_; }

  // For volatile side effects outside the tables: `task` runs if the run commits / if the change at this
  // place is taken back. Neither may touch tables. A rollback drops the commit tasks of what it takes back.
  void on_commit(env::Task task);
  void on_undo(env::Task task);

  // What a table or cache calls when something is not in memory; the caller then returns Stop::fault().
  void miss(Fetch fetch) { misses_.push_back(std::move(fetch)); }
  std::vector<Fetch> take_misses() { return std::exchange(misses_, {}); }

  // What this run saw was changed by the record at `lsn`.
  void observe(Lsn lsn) {
    if (lsn > seen_ && lsn < lsn_) seen_ = lsn;
  }
  // The newest record that this run has seen so far: for who keeps what was seen beyond the run (a cached
  // reply), to observe it again when it is used.
  Lsn seen() const { return seen_; }
  // The LSN of this run's record, if it gets one.
  Lsn lsn() const { return lsn_; }
  // Grows with every run; the tables' measure of what was used lately.
  uint32_t tick() const { return tick_; }
  bool active() const { return active_; }

  // For tables: the change at `index` of the table's own stack belongs to this run.
  void record_change(TableBase& table, bool logged) {
    changes_.push_back({&table, {}});
    logged_changes_ += logged ? 1 : 0;
  }

 private:
  struct Change {
    TableBase* table;  // null: an undo task or, if there is none, the place of a commit task
    env::Task undo;
  };
  void finish();

  Database& database_;
  log::RecordBuilder record_;
  std::vector<Change> changes_;
  std::vector<env::Task> commit_tasks_;
  std::vector<Fetch> misses_;
  std::vector<std::pair<TableBase*, size_t>> counts_;  // of end_step, for its memory
  size_t step_begin_ = 0, logged_changes_ = 0;
  TransactionId transaction_;
  env::WallTime now_;
  Lsn lsn_, seen_;
  uint32_t tick_ = 0;
  bool active_ = false;
};

}  // namespace perdure::state
