#include "env/linux/linux_env.h"

#include <time.h>
#include <unistd.h>

#include <asio/error.hpp>
#include <asio/executor_work_guard.hpp>
#include <asio/io_context.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <asio/post.hpp>
#include <atomic>
#include <deque>
#include <mutex>
#include <random>
#include <thread>
#include <vector>

#include "base/check.h"
#include "env/linux/linux_file.h"
#include "env/linux/timer_queue.h"
#include "env/linux/uring.h"
#include "env/linux/worker.h"

namespace perdure::env {

namespace {

constexpr unsigned ring_entries = 256;
// So that a connection that is always ready does not keep the turn from ending.
constexpr int handlers_per_turn_max = 256;

Duration read_clock(clockid_t clock) {
  timespec t{};
  ::clock_gettime(clock, &t);
  return std::chrono::seconds(t.tv_sec) + std::chrono::nanoseconds(t.tv_nsec);
}

std::mt19937_64 seeded_generator() {
  std::random_device device;  // getrandom or the processor's generator
  std::seed_seq seed{device(), device(), device(), device(), device(), device(), device(), device()};
  return std::mt19937_64(seed);
}

}  // namespace

class LinuxEnv::Impl {
 public:
  explicit Impl(std::unique_ptr<Uring> uring)
      : uring_(std::move(uring)),
        ring_event_(context_, ::dup(uring_->event_fd())),
        worker_([this](Task done) { post(std::move(done)); }) {}

  void run() {
    if (loop_ == std::thread::id{}) {
      loop_ = std::this_thread::get_id();
      CHECK(uring_->enable());
      watch_ring();
    }
    CHECK(loop_ == std::this_thread::get_id() && thread_loop == nullptr);
    thread_loop = this;
    while (!stopping_.exchange(false)) turn();
    thread_loop = nullptr;
  }

  void stop() {
    stopping_ = true;
    post([] {});
  }

  void post(Task task) {
    if (thread_loop == this) {
      posted_.push_back(std::move(task));
      return;
    }
    bool first;
    {
      const std::lock_guard lock(remote_mutex_);
      first = remote_posted_.empty();
      remote_posted_.push_back(std::move(task));
    }
    if (first) asio::post(context_, [this] { take_remote(); });
  }

  asio::io_context context_{1};  // one thread runs it
  std::unique_ptr<Uring> uring_;
  TimerQueue timers_;
  std::deque<Task> turn_end_;  // a task may add others: references stay valid
  std::mt19937_64 random_ = seeded_generator();

  void offload(Task work, Task done) { worker_.add(std::move(work), std::move(done)); }

 private:
  void turn() {
    if (posted_.empty() && uring_->before_sleep()) {
      sleep();
      uring_->after_sleep();
    }
    for (int n = 0; n < handlers_per_turn_max && context_.poll_one() != 0; ++n) {
    }
    uring_->reap();
    run_timers();
    run_posted();
    for (size_t i = 0; i < turn_end_.size(); ++i) turn_end_[i]();
    uring_->submit();
  }

  // Runs at most one handler.
  void sleep() {
    const std::optional<Instant> deadline = timers_.next_deadline();
    if (!deadline)
      context_.run_one();
    else
      context_.run_one_until(std::chrono::steady_clock::time_point(deadline->time_since_epoch()));
  }

  void watch_ring() {
    ring_event_.async_wait(asio::posix::stream_descriptor::wait_read,
                           [this](const asio::error_code& failure) {
                             if (failure == asio::error::operation_aborted) return;
                             uint64_t count;
                             (void)!::read(ring_event_.native_handle(), &count, sizeof count);
                             watch_ring();
                           });
  }

  void run_timers() {
    if (timers_.size() == 0) return;
    const Instant now(read_clock(CLOCK_MONOTONIC));
    // Timers that these tasks make wait for the next turn, due or not.
    const uint64_t before = timers_.added();
    while (std::optional<Task> task = timers_.take_due(now, before)) (*task)();
  }

  void run_posted() {
    running_.swap(posted_);
    for (Task& task : running_) {
      task();
      task = nullptr;
    }
    running_.clear();
  }

  void take_remote() {
    const std::lock_guard lock(remote_mutex_);
    for (Task& task : remote_posted_) posted_.push_back(std::move(task));
    remote_posted_.clear();
  }

  // The loop that runs on this thread.
  static thread_local Impl* thread_loop;

  asio::executor_work_guard<asio::io_context::executor_type> keep_running_{context_.get_executor()};
  asio::posix::stream_descriptor ring_event_;
  std::thread::id loop_;
  std::atomic<bool> stopping_ = false;
  std::vector<Task> posted_, running_;
  std::mutex remote_mutex_;
  std::vector<Task> remote_posted_;
  Worker worker_;  // the last member: its thread uses the others
};

thread_local LinuxEnv::Impl* LinuxEnv::Impl::thread_loop = nullptr;

LinuxEnv::LinuxEnv(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
LinuxEnv::~LinuxEnv() = default;

Result<std::unique_ptr<LinuxEnv>> LinuxEnv::create() {
  auto uring = TRY(Uring::create(ring_entries));
  return std::unique_ptr<LinuxEnv>(new LinuxEnv(std::make_unique<Impl>(std::move(uring))));
}

asio::io_context& LinuxEnv::context() {
  return impl_->context_;
}
void LinuxEnv::run() {
  impl_->run();
}
void LinuxEnv::stop() {
  impl_->stop();
}

Instant LinuxEnv::now() {
  return Instant(read_clock(CLOCK_MONOTONIC));
}
WallTime LinuxEnv::wall_time() {
  return WallTime(read_clock(CLOCK_REALTIME));
}
uint64_t LinuxEnv::random() {
  return impl_->random_();
}

void LinuxEnv::post(Task task) {
  impl_->post(std::move(task));
}
TimerId LinuxEnv::after(Duration delay, Task task) {
  return impl_->timers_.add(now() + delay, std::move(task));
}
void LinuxEnv::cancel(TimerId timer) {
  impl_->timers_.cancel(timer);
}
void LinuxEnv::at_turn_end(Task task) {
  impl_->turn_end_.push_back(std::move(task));
}
void LinuxEnv::offload(Task work, Task done) {
  impl_->offload(std::move(work), std::move(done));
}

Result<std::unique_ptr<File>> LinuxEnv::open(const std::string& path, bool create) {
  return LinuxFile::open({*this, *impl_->uring_}, path, create);
}

}  // namespace perdure::env
