#include "bench/loop.h"

#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/check.h"

namespace perdure::bench {

Nanoseconds clock_now() {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<uint64_t>(t.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(t.tv_nsec);
}

Result<Loop> Loop::create() {
  const int epoll = epoll_create1(EPOLL_CLOEXEC);
  if (epoll < 0) return error(ErrorKind::io, "epoll_create1: {}", std::strerror(errno));
  return Loop(epoll);
}

Loop::~Loop() {
  if (epoll_ >= 0) close(epoll_);
}

void Loop::add(int fd, uint32_t epoll_events, Handler& handler) {
  epoll_event event{.events = epoll_events, .data = {.ptr = &handler}};
  CHECK(epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event) == 0);
}

void Loop::modify(int fd, uint32_t epoll_events, Handler& handler) {
  epoll_event event{.events = epoll_events, .data = {.ptr = &handler}};
  CHECK(epoll_ctl(epoll_, EPOLL_CTL_MOD, fd, &event) == 0);
}

void Loop::remove(int fd) {
  CHECK(epoll_ctl(epoll_, EPOLL_CTL_DEL, fd, nullptr) == 0);
}

void Loop::at(Nanoseconds when, std::move_only_function<void()> action) {
  timers_.emplace(when, std::move(action));
}

void Loop::turn(Nanoseconds deadline) {
  if (!timers_.empty()) deadline = std::min(deadline, timers_.begin()->first);
  const Nanoseconds now = clock_now();
  const Nanoseconds wait = deadline > now ? deadline - now : 0;
  // Rounded up: a turn that wakes before its timer is due would only turn again.
  const auto wait_ms = static_cast<int>(std::min<Nanoseconds>((wait + 999'999) / 1'000'000, 1000));
  epoll_event events[64];
  const int n = epoll_wait(epoll_, events, 64, wait_ms);
  CHECK(n >= 0 || errno == EINTR);
  // A handler is called at most once per turn and removes only its own socket, so all pointers stay valid.
  for (int i = 0; i < n; ++i) static_cast<Handler*>(events[i].data.ptr)->on_ready(events[i].events);
  run_timers();
}

void Loop::run_timers() {
  if (timers_.empty()) return;
  const Nanoseconds now = clock_now();
  while (!timers_.empty() && timers_.begin()->first <= now) {
    auto due = timers_.extract(timers_.begin());
    due.mapped()();
  }
}

}  // namespace perdure::bench
