// The loop's low-priority thread: does one piece of work after another (RocksDB, checkpoints, the odd
// blocking system call), so that the loop never waits for a disk. Work that has not begun when the Worker is
// destroyed is dropped.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

#include "env/env.h"

namespace perdure::env {

class Worker {
 public:
  // `finished` is called on the worker's thread with the `done` of each piece of work.
  explicit Worker(std::function<void(Task done)> finished);
  // Waits for the piece of work under way.
  ~Worker();

  void add(Task work, Task done);

 private:
  struct Job {
    Task work, done;
  };
  void run();

  const std::function<void(Task)> finished_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Job> jobs_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace perdure::env
