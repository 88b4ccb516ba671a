// Group commit: many records share one log write. There is no timer: a batch is written at the end of the
// turn in which it was filled, unless some are being written already; then it fills on until one of them has
// ended.
//
// A log has up to two homes: this blade's ring, and a mirror, to which somebody else (mirror/) carries the
// closed batches, and says how far it has them. On the mirror another GroupCommit appends them as they are,
// at the same LSNs.
//
// Invariants:
//   durable() <= first record of the batch that fills <= next_lsn()
//   a record never spans batches; a closed batch never changes
//   durable() never decreases, and passes a record only when every home that is required has its whole batch
//   what waits for a record runs only while the gate is open (a primary's lease)
// A record with LSN x is durable when durable() > x. No record has an LSN below batch_header_bytes, and
// durable() is never less than that. One thread: the loop of its Env. Waiters run batch by batch, within a
// batch in the order of the calls, from the loop or from flush(), never inside when_durable(). They may call
// everything here.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <optional>
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

  // Of what is appended from now on.
  Epoch epoch() const;
  void set_epoch(Epoch epoch);
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

  // On a mirror, instead of append(): a whole batch of the primary's, which begins at batch_start().
  void append_batch(Bytes payload, uint64_t records, Epoch epoch);

  // What the mirror is sent: the closed batch that begins at `lsn`, as long as it is in memory, which it is
  // while a required home lacks it. Valid until the loop's next callback.
  struct BatchView {
    Lsn start, end;
    Epoch epoch;
    uint64_t records = 0;
    Bytes payload;
  };
  std::optional<BatchView> closed_batch(Lsn lsn) const;
  // Where the batch begins that is not closed yet.
  Lsn closed_end() const { return batch_start(); }

  // Which homes must have a batch before it is durable. At first the ring alone.
  struct Homes {
    bool ring = true, mirror = false;
  };
  void require(Homes homes);
  // The mirror has everything before `end`, in the way that is asked of it (in memory, or stable).
  void mirrored(Lsn end);
  // What was read from the ring counts as durable, unless this says at first that only what is before `end`
  // does: a mirror's ring may end with something that never became durable.
  void doubt(Lsn end);
  // Everything before it is on this blade's stable storage.
  Lsn stable_end() const;
  // For how long the oldest write to the ring has been under way; zero if none is.
  env::Duration write_age() const;
  // `task` runs when this blade's ring has everything up to and including `lsn`, whatever the gate says.
  void when_stable(Lsn lsn, env::Task task);

  // Whether what is durable may be told, asked anew each time. What it has held back runs at the first
  // flush() that finds it open.
  void set_gate(std::function<bool()> open);
  bool gate_open() const;

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
