// The real Env: one Asio io_context for sockets and signals, one io_uring for disks, one low-priority thread.
//
// One turn of the loop:
//   1. sleep until there is something to do, if there is nothing;
//   2. run the Asio handlers that are ready, the completions of the disks, the timers that are due, and the
//   tasks that
//      were posted before this point, each a bounded number of times;
//   3. run the at_turn_end tasks;
//   4. submit all disk requests of the turn with one system call.
// Timers are not early, and up to a millisecond late.
//
// Thread: whoever calls run() for the first time is the loop, for the life of the Env. Before that everything
// may be called from the thread that made it. Owner: destroy the Env after everything that stands on it.
// Tasks that have not run by then are dropped.
#pragma once

#include <memory>

#include "env/env.h"

namespace asio {
class io_context;
}

namespace perdure::env {

class LinuxEnv final : public Env {
 public:
  static Result<std::unique_ptr<LinuxEnv>> create();
  ~LinuxEnv() override;
  LinuxEnv(const LinuxEnv&) = delete;
  LinuxEnv& operator=(const LinuxEnv&) = delete;

  // For sockets (server/ only). Nobody but run() runs or stops it.
  asio::io_context& context();
  // Returns when the turn ends in which stop() was called. May be called again.
  void run();
  // From any thread.
  void stop();

  Instant now() override;
  WallTime wall_time() override;
  uint64_t random() override;
  void post(Task task) override;
  TimerId after(Duration delay, Task task) override;
  void cancel(TimerId timer) override;
  void at_turn_end(Task task) override;
  void offload(Task work, Task done) override;
  Result<std::unique_ptr<File>> open(const std::string& path, bool create) override;

 private:
  class Impl;
  explicit LinuxEnv(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace perdure::env
