#include "env/linux/timer_queue.h"

#include <algorithm>

namespace perdure::env {

bool TimerQueue::fires_later(const Entry& a, const Entry& b) {
  return a.deadline != b.deadline ? a.deadline > b.deadline : a.number > b.number;
}

TimerId TimerQueue::add(Instant deadline, Task task) {
  uint32_t slot;
  if (free_slots_.empty()) {
    slot = static_cast<uint32_t>(slots_.size());
    slots_.emplace_back();
  } else {
    slot = free_slots_.back();
    free_slots_.pop_back();
  }
  slots_[slot].task = std::move(task);
  const uint32_t generation = slots_[slot].generation;
  heap_.push_back({deadline, added_++, slot, generation});
  std::push_heap(heap_.begin(), heap_.end(), fires_later);
  ++live_;
  return TimerId{uint64_t{generation} << 32U | slot};
}

bool TimerQueue::cancel(TimerId timer) {
  const auto slot = static_cast<uint32_t>(static_cast<uint64_t>(timer));
  const auto generation = static_cast<uint32_t>(static_cast<uint64_t>(timer) >> 32U);
  if (slot >= slots_.size() || slots_[slot].generation != generation || !slots_[slot].task) return false;
  // Destroyed last: a task's destructor may come back here.
  const Task dropped = release(slot);
  if (heap_.size() > 64 && live_ < heap_.size() / 2) sweep();
  return true;
}

Task TimerQueue::release(uint32_t slot) {
  ++slots_[slot].generation;
  free_slots_.push_back(slot);
  --live_;
  return std::exchange(slots_[slot].task, nullptr);
}

void TimerQueue::drop_cancelled_front() {
  while (!heap_.empty() && !live(heap_.front())) {
    std::pop_heap(heap_.begin(), heap_.end(), fires_later);
    heap_.pop_back();
  }
}

void TimerQueue::sweep() {
  std::erase_if(heap_, [this](const Entry& entry) { return !live(entry); });
  std::make_heap(heap_.begin(), heap_.end(), fires_later);
  CHECK(heap_.size() == live_);
}

std::optional<Instant> TimerQueue::next_deadline() {
  drop_cancelled_front();
  if (heap_.empty()) return std::nullopt;
  return heap_.front().deadline;
}

std::optional<Task> TimerQueue::take_due(Instant now, uint64_t before) {
  drop_cancelled_front();
  if (heap_.empty() || heap_.front().deadline > now || heap_.front().number >= before) return std::nullopt;
  const uint32_t slot = heap_.front().slot;
  std::pop_heap(heap_.begin(), heap_.end(), fires_later);
  heap_.pop_back();
  return release(slot);
}

}  // namespace perdure::env
