// Task<T>: a coroutine that a client's work is written in: each session slot has one, and `co_await` of a
// request gives its reply. Lazily started by co_await, or by TaskGroup::spawn for the outermost. One thread.
//
// g++ 12 miscompiles a coroutine that has a co_await inside the condition of an `if` or `while` and no local
// variable at all (it traps when resumed): take the result into a variable first.
//
// A task that waits for something that never comes (the session is lost) is simply destroyed with its
// TaskGroup; destroying a waiting coroutine runs the destructors of its locals.
#pragma once

#include <coroutine>
#include <cstdlib>
#include <optional>
#include <utility>
#include <vector>

#include "base/check.h"

namespace perdure::bench {

template <class T>
class Task;

namespace task_detail {

struct PromiseBase {
  std::coroutine_handle<> continuation = std::noop_coroutine();

  struct Final {
    bool await_ready() noexcept { return false; }
    template <class P>
    std::coroutine_handle<> await_suspend(std::coroutine_handle<P> done) noexcept {
      return done.promise().continuation;
    }
    void await_resume() noexcept {}
  };
  std::suspend_always initial_suspend() noexcept { return {}; }
  Final final_suspend() noexcept { return {}; }
  void unhandled_exception() { std::abort(); }
};

template <class T>
struct Promise : PromiseBase {
  std::optional<T> value;
  Task<T> get_return_object();
  void return_value(T v) { value.emplace(std::move(v)); }
  T take() { return std::move(*value); }
};
template <>
struct Promise<void> : PromiseBase {
  Task<void> get_return_object();
  void return_void() {}
  void take() {}
};

}  // namespace task_detail

template <class T = void>
class [[nodiscard]] Task {
 public:
  using promise_type = task_detail::Promise<T>;
  using Handle = std::coroutine_handle<promise_type>;

  explicit Task(Handle handle) : handle_(handle) {}
  Task(Task&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Task& operator=(Task&&) = delete;
  ~Task() {
    if (handle_) handle_.destroy();
  }

  bool await_ready() const noexcept { return false; }
  std::coroutine_handle<> await_suspend(std::coroutine_handle<> waiter) noexcept {
    handle_.promise().continuation = waiter;
    return handle_;
  }
  T await_resume() { return handle_.promise().take(); }

  bool done() const { return handle_.done(); }
  void start() { handle_.resume(); }

 private:
  Handle handle_;
};

namespace task_detail {

template <class T>
Task<T> Promise<T>::get_return_object() {
  return Task<T>(std::coroutine_handle<Promise>::from_promise(*this));
}
inline Task<void> Promise<void>::get_return_object() {
  return Task<void>(std::coroutine_handle<Promise>::from_promise(*this));
}

}  // namespace task_detail

// Tasks that run side by side.
class TaskGroup {
 public:
  void spawn(Task<> task) {
    tasks_.push_back(std::move(task));
    tasks_.back().start();
  }
  bool all_done() const {
    for (const Task<>& t : tasks_) {
      if (!t.done()) return false;
    }
    return true;
  }
  void clear() { tasks_.clear(); }

 private:
  std::vector<Task<>> tasks_;
};

}  // namespace perdure::bench
