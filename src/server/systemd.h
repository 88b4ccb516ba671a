// The two protocols by which systemd (or whatever speaks them as well) starts and watches a service: sockets
// inherited as LISTEN_FDS, and messages to NOTIFY_SOCKET (sd_listen_fds(3), sd_notify(3)).
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace perdure::server {

// Number of the first inherited socket.
inline constexpr int first_inherited_fd = 3;

// The listening sockets that were passed to this process; none if there are none. Takes the variables out of
// the environment, so that no child takes them for its own.
Result<std::vector<int>> inherited_sockets();

class SystemdNotifier {
 public:
  SystemdNotifier() = default;  // notifies nobody
  // Takes the variables out of the environment.
  static SystemdNotifier from_environment();

  // For example "READY=1\nSTATUS=serving". Best effort.
  void notify(std::string_view message) const;
  // Sends WATCHDOG=1 if the last one is long enough ago. To be called again and again.
  void keep_alive(std::chrono::steady_clock::time_point now);

 private:
  std::string socket_;                                        // path or abstract name; empty: nobody
  std::optional<std::chrono::microseconds> watchdog_period_;  // half of what systemd allows
  std::chrono::steady_clock::time_point last_;
};

}  // namespace perdure::server
