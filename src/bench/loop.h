// The client's event loop: epoll and timers on one thread. A load generator has a few busy sockets, so a turn
// serves all that are ready, and whoever wants to send does so once per turn, batched.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <utility>

#include "base/result.h"

namespace perdure::bench {

// Nanoseconds of the monotonic clock.
using Nanoseconds = uint64_t;
Nanoseconds clock_now();
inline constexpr Nanoseconds milliseconds(uint64_t n) {
  return n * 1'000'000;
}
inline constexpr Nanoseconds seconds(uint64_t n) {
  return n * 1'000'000'000;
}

class Loop {
 public:
  class Handler {
   public:
    virtual void on_ready(uint32_t epoll_events) = 0;

   protected:
    ~Handler() = default;
  };

  static Result<Loop> create();
  Loop(Loop&& other) noexcept : epoll_(std::exchange(other.epoll_, -1)) {}
  Loop& operator=(Loop&&) = delete;
  ~Loop();

  // Watches `fd` until it is removed or closed. `handler` lives that long.
  void add(int fd, uint32_t epoll_events, Handler& handler);
  void modify(int fd, uint32_t epoll_events, Handler& handler);
  void remove(int fd);

  // Calls `action` once at `when`, in a turn. Actions due at the same time come in the order in which they
  // were set.
  void at(Nanoseconds when, std::move_only_function<void()> action);

  // Waits for a ready socket or a timer, at most until `deadline`, and serves all that are ready.
  void turn(Nanoseconds deadline);

 private:
  explicit Loop(int epoll) : epoll_(epoll) {}
  void run_timers();

  int epoll_;
  std::multimap<Nanoseconds, std::move_only_function<void()>> timers_;
};

}  // namespace perdure::bench
