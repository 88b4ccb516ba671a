// The loop's io_uring: operations are queued during a turn and submitted together at its end; completions are
// reaped in batches. More operations may be started than the ring has room for: the rest waits here, in
// order.
//
// The ring belongs to the thread that calls enable(). While the loop is awake the kernel does not touch the
// eventfd: it is switched on by before_sleep() alone, which then looks for completions once more, so that
// none is missed.
#pragma once

#include <liburing.h>

#include <memory>

#include "base/result.h"

namespace perdure::env {

// One operation of the kernel. Lives from start() to complete() where it is.
class Operation {
 public:
  virtual void prepare(io_uring_sqe* sqe) = 0;
  // `result` is the system call's, or -errno. May start this operation again, or destroy it.
  virtual void complete(int result) = 0;

 protected:
  Operation() = default;
  Operation(const Operation&) = delete;
  Operation& operator=(const Operation&) = delete;
  ~Operation() = default;

 private:
  friend class Uring;
  Operation* next_ = nullptr;
};

class Uring {
 public:
  // `entries`: of the submission queue, a power of two. Operations under way in the kernel are four times
  // that at most.
  static Result<std::unique_ptr<Uring>> create(unsigned entries);
  ~Uring();
  Uring(const Uring&) = delete;
  Uring& operator=(const Uring&) = delete;

  // Becomes readable when operations complete while the loop sleeps.
  int event_fd() const { return event_fd_; }
  // Once, on the loop's thread, before submit().
  Result<void> enable();

  void start(Operation& operation);
  // Hands what was started to the kernel.
  void submit();
  // Calls complete() for what has completed by now.
  void reap();

  // False: there is something to submit or to reap, do not sleep.
  bool before_sleep();
  void after_sleep();

 private:
  Uring() = default;
  bool completions_waiting() const;

  io_uring ring_{};
  int event_fd_ = -1;
  bool initialised_ = false;
  bool deferred_ = false;  // completions need a system call to appear (IORING_SETUP_DEFER_TASKRUN)
  Operation* first_ = nullptr;
  Operation* last_ = nullptr;
  unsigned in_kernel_ = 0,
           in_kernel_max_ =
               0;  // invariant: in_kernel_ <= in_kernel_max_: the completion queue never overflows
};

}  // namespace perdure::env
