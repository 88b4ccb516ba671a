#include "env/linux/worker.h"

#include <pthread.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>

namespace perdure::env {

namespace {
// Below the loop, so that a checkpoint costs requests little on a machine whose processors are busy.
constexpr int nicer_by = 10;
}  // namespace

Worker::Worker(std::function<void(Task done)> finished)
    : finished_(std::move(finished)), thread_([this] { run(); }) {}

Worker::~Worker() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_one();
  thread_.join();
}

void Worker::add(Task work, Task done) {
  {
    const std::lock_guard lock(mutex_);
    jobs_.push_back({std::move(work), std::move(done)});
  }
  changed_.notify_one();
}

void Worker::run() {
  ::pthread_setname_np(::pthread_self(), "perdure-worker");
  // For this thread alone: Linux gives each thread its own nice value. Best effort.
  const auto self = static_cast<id_t>(::gettid());
  (void)::setpriority(PRIO_PROCESS, self, std::min(::getpriority(PRIO_PROCESS, self) + nicer_by, 19));
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return stopping_ || !jobs_.empty(); });
    if (stopping_) return;
    Job job = std::move(jobs_.front());
    jobs_.pop_front();
    lock.unlock();
    job.work();
    job.work = nullptr;
    finished_(std::move(job.done));
    lock.lock();
  }
}

}  // namespace perdure::env
