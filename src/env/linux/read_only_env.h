// An Env for tools that look at a stopped server's files: nothing that is done in it changes them. What is
// written to a file stays in memory, and later reads of this File see it; so the same code that a server
// starts with can be run on its files (the log's superblock gets a new start number in memory alone).
//
// A file is locked for reading while it is open: no server can open it, and open() fails with `busy` while
// one has it. Everything runs on the one thread that calls run(), and reads block. Timers never fire.
#pragma once

#include <deque>
#include <random>

#include "env/env.h"

namespace perdure::env {

class ReadOnlyEnv final : public Env {
 public:
  // Until nothing is left to do.
  void run();

  Instant now() override;
  WallTime wall_time() override;
  uint64_t random() override { return random_(); }
  void post(Task task) override { tasks_.push_back(std::move(task)); }
  TimerId after(Duration delay, Task task) override;
  void cancel(TimerId timer) override;
  void at_turn_end(Task task) override;
  void offload(Task work, Task done) override;
  Result<std::unique_ptr<File>> open(const std::string& path, bool create) override;

 private:
  std::deque<Task> tasks_;
  std::mt19937_64 random_{std::random_device{}()};
  uint64_t timers_ = 0;
};

}  // namespace perdure::env
