// Group commit: many records share one log write. There is no timer: a batch is written at the end of the
// turn in which it was filled, unless some are being written already; then it fills on until one of them has
// ended.
//
// Invariants:
//   durable() <= first record of the first batch under way <= first record of the batch that fills <=
//   next_lsn() a record never spans batches durable() never decreases, and passes a record only when its
//   whole batch is on stable storage and every sink that must have it (the mirror) has acknowledged it
// A record with LSN x is durable when durable() > x. No record has an LSN below batch_header_bytes, and
// durable() is never less than that. One thread: the loop of its Env. Waiters run batch by batch, within a
// batch in the order of the calls, from the loop or from flush(), never inside when_durable(). They may call
// everything here.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <vector>

#include "base/ids.h"
#include "env/env.h"
#include "log/ring.h"

namespace perdure::log {

// Batches that are being written at the same time, at most. With one, the disk idles while the next turn
// executes, and where flushes are slow a request waits for two of them. With many, batches are small, and
// each has its price.
inline constexpr size_t log_writes_max = 4;

class GroupCommit {
 public:
  // `ring` has been read. `failed` is called once, when a log write fails: from then on nothing becomes
  // durable, and the vserver must stop serving. With `ring` null nothing is kept (durability level memory): a
  // record is durable at the next flush().
  GroupCommit(env::Env& env, LogRing* ring, Epoch epoch, std::move_only_function<void(Error)> failed);
  ~GroupCommit();

  Epoch epoch() const;
  StartNumber start() const;  // the ring's; 0 without one
  // The LSN that the next append gives, provided that no flush() comes between.
  Lsn next_lsn() const;
  // Copies the record into the batch that fills. Its place: next_lsn(). What is appended beyond room() is
  // written when the tail has moved.
  Lsn append(Bytes record);
  // Starts the write of what has been appended, or leaves it to fill on (see above). Its owner calls it at
  // the end of every turn (Env::at_turn_end).
  void flush();

  // Every record before it is durable: the LSN of the first record that is not.
  Lsn durable() const;
  // Runs `task` when every record up to and including `lsn` is durable; if it is already, at the next
  // flush(). `lsn` is below next_lsn(). After a failed write no task runs any more.
  void when_durable(Lsn lsn, env::Task task);

  // Bytes of log that can still be appended before the tail must move; what is buffered has its place
  // already. A record of n bytes takes at most batch_bytes(n), because it may get a batch of its own. Callers
  // admit new work by it (DESIGN.md §10 rule 5).
  uint64_t room() const;
  // Where a reader must begin to find every record from next_lsn() on: for the checkpoint.
  Lsn batch_start() const;

  // Of what is durable.
  struct Figures {
    uint64_t records = 0, batches = 0, bytes = 0;  // bytes: with headers and padding
    env::Duration write_time{};                    // sum over batches
  };
  const Figures& figures() const;

 private:
  class Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace perdure::log
