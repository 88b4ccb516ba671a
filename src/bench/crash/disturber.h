// Disturber: kills the server, and cuts connections of the client's own, at random moments; and measures how
// long it takes until an answer comes again. Its timers run in the client's loop.
#pragma once

#include <vector>

#include "bench/crash/crash_options.h"
#include "bench/pattern.h"

namespace perdure::bench {

class Disturber {
 public:
  Disturber(Client& client, const DisturbOptions& options, uint64_t seed)
      : client_(client), options_(options), random_(seed) {}

  void start();
  void stop() { stopped_ = true; }

  uint64_t kills() const { return kills_; }
  uint64_t cuts() const { return cuts_; }
  // Of each kill: from the signal to the first answer on a connection that was made after it.
  const std::vector<Nanoseconds>& resumed_after() const { return resumed_after_; }

 private:
  void kill_later();
  void kill_now();
  bool send_signal();
  void run_command();
  void cut_later();
  // Around an average, from half of it to one and a half.
  Nanoseconds about(double seconds);

  Client& client_;
  const DisturbOptions options_;
  Random random_;
  bool stopped_ = false;
  uint64_t kills_ = 0;
  uint64_t cuts_ = 0;
  std::vector<Nanoseconds> resumed_after_;
};

}  // namespace perdure::bench
