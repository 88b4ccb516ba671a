// Group commit: many records share one log write. There is no timer: while one batch is being written the
// next one fills, and it starts when the first has ended.
//
// Invariants (asserted):
//   durable() <= position of the batch under way <= position of the batch that fills <= next_lsn()
//   a record never spans batches
//   durable() never decreases, and passes a record only when its whole batch is on stable storage and every
//   sink that must have it (the mirror) has acknowledged it
// A record with LSN x is durable when durable() > x.
// One thread: the loop of its Env. Waiters run in LSN order, from the loop or from flush(), never inside
// when_durable().
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <vector>

#include "base/ids.h"
#include "env/env.h"
#include "log/ring.h"

namespace perdure::log {

class GroupCommit {
 public:
  // `ring` has been read. `failed` is called once, when a log write fails: from then on nothing becomes
  // durable, and the vserver must stop serving. With `ring` null nothing is kept (durability level memory): a
  // record is durable at the next flush().
  GroupCommit(env::Env& env, LogRing* ring, Epoch epoch, std::move_only_function<void(Error)> failed);
  ~GroupCommit();

  Epoch epoch() const;
  // The LSN that the next append gives, provided that no flush() comes between.
  Lsn next_lsn() const;
  // Copies the record into the batch that fills. Its place: next_lsn().
  Lsn append(Bytes record);
  // Starts the batch that fills, if it has records and no write is under way. Called at the end of every
  // turn.
  void flush();

  Lsn durable() const;
  // Runs `task` when the record with this LSN is durable; if it is already, at the next flush().
  void when_durable(Lsn lsn, env::Task task);

  // Bytes of log that can still be appended before the tail must move. Callers admit new work by it
  // (DESIGN.md §10 rule 5).
  uint64_t room() const;
  // Where a reader must begin to find every record from next_lsn() on: for the checkpoint.
  Lsn batch_start() const;

  struct Figures {
    uint64_t records = 0, batches = 0, bytes = 0;
    env::Duration write_time{};  // sum over batches
  };
  const Figures& figures() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace perdure::log
