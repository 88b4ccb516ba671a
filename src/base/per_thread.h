// per_thread<T>(): the calling thread's own T, made when it is first asked for. When a thread ends, its T is
// kept for the next thread that asks: for pools of memory, which objects in flight may outlive, and which are
// worth keeping.
#pragma once

#include <mutex>
#include <vector>

namespace perdure {

template <class T>
T& per_thread() {
  struct Idle {
    std::mutex mutex;
    std::vector<T*> all;
  };
  static auto* idle = new Idle;  // never destroyed: threads may end after it would be
  struct Lease {
    T* object = nullptr;
    Lease() {
      const std::lock_guard lock(idle->mutex);
      if (idle->all.empty()) return;
      object = idle->all.back();
      idle->all.pop_back();
    }
    ~Lease() {
      const std::lock_guard lock(idle->mutex);
      idle->all.push_back(object);
    }
  };
  // A plain pointer, so that it still serves while the thread's other objects are destroyed.
  thread_local T* mine = nullptr;
  if (mine == nullptr) [[unlikely]] {
    thread_local Lease lease;
    if (lease.object == nullptr) lease.object = new T;
    mine = lease.object;
  }
  return *mine;
}

}  // namespace perdure
