// The guardian: a small process that owns the listening sockets, starts the server process, and starts it
// again the moment it dies or hangs. Clients that connect in between wait in the sockets' backlogs instead of
// being refused.
//
//   starting -> serving -> stopping        stopping: asked to by SIGTERM, SIGINT or SIGHUP
//   starting, serving -> pausing -> starting   the server process died; the first time without a pause
//
// Hung is a server process that is not ready within start_limit, or ready and without a heartbeat for
// hang_limit. Time is counted in the guardian's own ticks, each as one however late it is: a machine that was
// suspended, or too busy to run even the guardian, has not found out anything about the server.
//
// Who kills the guardian kills the server process with it (PR_SET_PDEATHSIG): nothing runs unwatched, and a
// new guardian finds port and data free. Thread: the process has one.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "server/supervision.h"

namespace perdure::server {

struct GuardianOptions {
  std::string executable = "/proc/self/exe";
  std::vector<std::string> command;  // arguments of the server process, its name first
  std::vector<int> listening;
  std::string config_text;  // handed to each server process, see Supervision::config_text

  std::chrono::milliseconds tick{100};
  std::chrono::milliseconds start_limit{600'000};  // 0: no limit; so for hang_limit
  std::chrono::milliseconds hang_limit{5'000};
  std::chrono::milliseconds stop_limit{30'000};
  uint32_t crashes_max = 5;
  std::chrono::milliseconds crash_window{60'000};
};

// Returns when it was asked to stop and the server process has ended (stopped), when restarting does not help
// (failed), or when the server process said that it would not (usage, cannot_start).
ExitStatus run_guardian(const GuardianOptions& options, const SystemdNotifier& systemd);

// Ticks without a sign of life.
class Silence {
 public:
  explicit Silence(std::chrono::milliseconds tick) : tick_(tick) {}
  void heard() { ticks_ = 0; }
  // True in the one tick in which the limit is reached.
  bool tick(std::chrono::milliseconds limit) {
    return ++ticks_ * tick_ >= limit && (ticks_ - 1) * tick_ < limit;
  }

 private:
  std::chrono::milliseconds tick_;
  int64_t ticks_ = 0;
};

// Tells a crash loop from crashes: it counts the deaths of server processes that did not serve for a while.
class CrashHistory {
 public:
  using Time = std::chrono::steady_clock::time_point;
  // A server process that was ready for so long does not die of what killed the one before.
  static constexpr std::chrono::milliseconds settled{1000};

  CrashHistory(uint32_t crashes_max, std::chrono::milliseconds window)
      : crashes_max_(crashes_max), window_(window) {}
  // `served`: how long it was ready.
  void died(Time now, std::chrono::milliseconds served);
  bool is_loop() const { return deaths_.size() > crashes_max_; }
  // What is good for the next start: none at first, then longer and longer.
  std::chrono::milliseconds pause() const;

 private:
  uint32_t crashes_max_;
  std::chrono::milliseconds window_;
  std::deque<Time> deaths_;  // within window_ of the last one
};

}  // namespace perdure::server
