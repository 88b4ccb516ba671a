// What the server process says to whoever looks after it: the guardian (over a socket pair that it
// inherited), systemd (over NOTIFY_SOCKET, where there is no guardian), or nobody.
//
// Never blocks, never fails: a supervisor that does not listen has its own reasons.
// Thread: the vserver's loop.
#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "base/result.h"
#include "server/systemd.h"

namespace perdure::server {

// How `perdure serve` ends, and what its server process tells the guardian by the way it ends.
enum class ExitStatus : int {
  stopped = 0,       // as it was asked to
  failed = 1,        // it could not go on; a restart may help. Of the guardian: restarts did not help
  usage = 2,         // a wrong command line or configuration
  cannot_start = 3,  // a restart would not help: port in use, data directory locked or damaged
  again = 4,         // of a pair's server process: all is well, and it has to begin anew
};

// What the messages from the server process to the guardian begin with.
enum class Report : char { heartbeat = 'H', ready = 'R', stopping = 'S' };

class Supervision {
 public:
  static constexpr std::chrono::milliseconds heartbeat_interval{100};

  // Whether there is a guardian stands in the environment, from which this takes it away. `systemd` is told
  // what happens if there is none.
  static Supervision from_environment(SystemdNotifier systemd);
  ~Supervision();
  Supervision(Supervision&& other) noexcept;
  Supervision& operator=(Supervision&&) = delete;

  bool has_guardian() const { return guardian_fd_ >= 0; }
  // The server process before this one ended by itself, because it could not go on.
  bool last_failed() const { return last_failed_; }
  // The configuration file as the guardian read it: a restarted server goes on with that one, whatever has
  // happened to the file. Only with a guardian.
  Result<std::string> config_text() const;
  // What a restarted server is to go on with. Nothing happens without a guardian.
  Result<void> set_config_text(std::string_view text);

  // Clients are answered from now on. `status` is one line for a person.
  void ready(std::string_view status);
  // Not heard for Config::hang_seconds, the process counts as hung and is killed.
  void heartbeat();
  // A clean stop has begun: no more heartbeats are expected.
  void stopping();

 private:
  Supervision() = default;
  void report(Report what, std::string_view text = {}) const;

  int guardian_fd_ = -1;
  int config_fd_ = -1;
  bool last_failed_ = false;
  SystemdNotifier systemd_;
};

// The environment variable by which the guardian tells the server process that it has one:
// "PID:FD:FD:STATUS" (the guardian's process id, the socket, the file with the configuration, and the exit
// status of the server process before, or 0).
inline constexpr const char* guardian_variable = "PERDURE_GUARDIAN";

}  // namespace perdure::server
