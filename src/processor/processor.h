// The file system processor of one vserver: executes the steps of its transactions, one at a time, on the
// loop's thread.
//
//   submit -> execute -> finished: the record is appended; the reply is released when it is durable
//                     -> faulted:  rows are as before; what is missing is fetched; executes again from the
//                     run's start
//                     -> waiting:  the run is committed; resume() executes the next one
//
// Promises: a run is atomic, and no other transaction's step comes between its steps. A transaction's reply
// leaves only when its own last record and the last record of every row that it read are durable. New
// transactions are admitted only while the log has room; those in flight always have (DESIGN.md §10 rule 5).
#pragma once

#include <absl/container/btree_map.h>

#include <deque>
#include <functional>
#include <memory>
#include <vector>

#include "env/env.h"
#include "processor/transaction.h"
#include "state/database.h"

namespace perdure::processor {

class Processor {
 public:
  struct Options {
    // Of log room: requests leave it to the server's own jobs, and these leave half of it to write-back and
    // the checkpoint, which make room.
    uint64_t log_reserve_bytes = 16U << 20U;
  };
  // `failed`: the vserver cannot go on (a fetch failed).
  Processor(env::Env& env, state::Database& database, Options options,
            std::move_only_function<void(Error)> failed);
  ~Processor();

  // In which this primary serves: it makes transaction ids unique. Before any run.
  void set_epoch(Epoch epoch) { epoch_ = epoch; }
  TransactionId new_id() { return TransactionId((epoch_.value << transaction_counter_bits) | ++last_id_); }

  // A client's request executes now, or as soon as the log has room for it beside what those in flight have
  // reserved. The server's own jobs execute at the end of the turn; logged ones wait for room too, while
  // those that make it (Kind::unlogged) execute whatever there is. From anywhere on the loop, inside runs
  // too.
  void submit(std::unique_ptr<Transaction> transaction);
  // A waiting transaction goes on at the end of this turn (or as soon as its present run has ended). Unknown
  // ids are ignored. From anywhere on the loop, inside runs too.
  void resume(TransactionId id);
  // Inside a run: the run starts another transaction, whose machine is put into this run's record (so that it
  // goes on after a crash if and only if the run has happened). It executes once the run has been committed.
  void start(state::Run& run, std::unique_ptr<Transaction> transaction);

  // Restoration: rebuilds the machine of each row in `transactions` and makes it ready. `factories[kind]`
  // gives null for a machine that it cannot read. Returns how many were resumed. Each of them has had a run,
  // in which it takes hold of what it must have, before any request executes.
  using Factory = std::function<std::unique_ptr<Transaction>(TransactionId, Bytes machine)>;
  void register_factory(Kind kind, Factory factory) { factories_[kind] = std::move(factory); }
  Result<size_t> restore();

  // Executes what is ready, then lets the log write. Called at the end of every turn.
  void turn();
  // New requests wait until this is called again.
  void pause_requests(bool pause);
  // Clients' requests wait for room in the log, or for the end of a pause.
  bool requests_wait() const { return !returned_.empty() || !queued_.empty(); }
  // The tick before which no row is needed by a faulted run (Database::trim_memory).
  uint32_t oldest_fault_tick() const;

  state::Table<TransactionRow>& transactions() { return transactions_; }

  struct InFlight {
    TransactionId id;
    Kind kind;
    log::ControlValues control;
    uint64_t client;
    env::Duration age;
    const char* state;  // "queued", "postponed", "ready", "fetching", "waiting"
  };
  std::vector<InFlight> in_flight() const;
  struct Figures {
    uint64_t finished = 0, runs = 0, faults = 0, waits = 0, records = 0;
  };
  const Figures& figures() const { return figures_; }

 private:
  void execute(std::unique_ptr<Transaction> transaction);
  void fetch(std::unique_ptr<Transaction> transaction, std::vector<state::Fetch> misses);
  void fetched(TransactionId id, Result<void> result);
  bool admits() const;
  bool admits_jobs() const;
  void go_on(std::unique_ptr<Transaction> transaction);
  void execute_admitted(std::deque<std::unique_ptr<Transaction>>& queue);
  void reserve(Transaction& transaction, uint64_t bytes);
  void put_machine(state::Run& run, Transaction& transaction);

  env::Env& env_;
  state::Database& database_;
  Options options_;
  std::move_only_function<void(Error)> failed_;
  state::Table<TransactionRow> transactions_;
  state::Run run_;
  struct Faulted {
    std::unique_ptr<Transaction> transaction;
    size_t missing = 0;
  };
  std::deque<std::unique_ptr<Transaction>> queued_;     // requests that are not admitted yet
  std::deque<std::unique_ptr<Transaction>> returned_;   // which could go on, but are to be admitted again
  std::deque<std::unique_ptr<Transaction>> postponed_;  // jobs that wait for room in the log
  std::deque<std::unique_ptr<Transaction>> ready_;      // go on at the end of the turn
  absl::btree_map<TransactionId, Faulted> faulted_;
  absl::btree_map<TransactionId, std::unique_ptr<Transaction>> waiting_;
  absl::btree_map<Kind, Factory> factories_;
  Transaction* executing_ = nullptr;
  size_t resuming_ = 0;  // so many of ready_ come before any request: among them are the restored ones
  Epoch epoch_;
  uint64_t last_id_ = 0;
  bool paused_ = false;
  uint64_t reserved_bytes_ = 0;  // of log room, for requests in flight
  Figures figures_;
};

}  // namespace perdure::processor
