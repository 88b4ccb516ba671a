// The timers of one loop: a heap by deadline. Timers of equal deadline fire in the order in which they were
// made. Cancelling is cheap, because most timers are cancelled (leases, time-outs): it frees the task at once
// and leaves the heap's entry behind; when more than half of the entries are such, they are swept. Thread:
// the loop.
#pragma once

#include <optional>
#include <vector>

#include "env/env.h"

namespace perdure::env {

class TimerQueue {
 public:
  TimerId add(Instant deadline, Task task);
  // False: it has fired or was cancelled before.
  bool cancel(TimerId timer);
  // Deadline of the next timer to fire. None: there is none.
  std::optional<Instant> next_deadline();
  // Takes the next timer out if its deadline is not after `now` and it was added before `before`.
  std::optional<Task> take_due(Instant now, uint64_t before);
  // Grows with every timer added.
  uint64_t added() const { return added_; }
  size_t size() const { return live_; }

 private:
  // A TimerId is slot | generation << 32, so that an old one never names a new timer in the same slot.
  struct Slot {
    Task task;
    uint32_t generation = 1;
  };
  struct Entry {
    Instant deadline;
    uint64_t number = 0;  // order of creation
    uint32_t slot = 0, generation = 0;
  };
  static bool fires_later(const Entry& a, const Entry& b);
  bool live(const Entry& entry) const { return slots_[entry.slot].generation == entry.generation; }
  Task release(uint32_t slot);
  void drop_cancelled_front();
  void sweep();

  std::vector<Slot> slots_;
  std::vector<uint32_t> free_slots_;
  std::vector<Entry> heap_;
  size_t live_ = 0;  // invariant: live_ <= heap_.size()
  uint64_t added_ = 0;
};

}  // namespace perdure::env
