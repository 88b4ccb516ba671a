// LeaseClock: the time by which leases run. It stands still while what clients have sent may be waiting where
// nobody has looked at it yet, so that a request renews its client's lease as if it had been executed when it
// came: a server that is slow, or was stopped, ends no lease. Thread: the vserver's loop.
#pragma once

#include <optional>
#include <utility>

#include "env/env.h"

namespace perdure::client {

class LeaseClock {
 public:
  explicit LeaseClock(env::Env& env) : env_(env) {}

  env::Instant now() const { return stopped_at_.value_or(env_.now() - stood_still_); }
  void stop() {
    if (!stopped_at_) stopped_at_ = now();
  }
  void go_on() {
    if (stopped_at_) stood_still_ = env_.now() - *std::exchange(stopped_at_, std::nullopt);
  }
  // It should have stood still for the last `time`.
  void put_back(env::Duration time) {
    if (!stopped_at_) stood_still_ += time;
  }

 private:
  env::Env& env_;
  env::Duration stood_still_{};
  std::optional<env::Instant> stopped_at_;
};

}  // namespace perdure::client
