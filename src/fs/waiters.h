// Waiters: transactions that wait for one thing to happen. Whoever is resumed looks again for itself: being
// resumed too often does no harm, so an entry is never taken back when its run is undone.
#pragma once

#include <algorithm>
#include <utility>
#include <vector>

#include "fs/file_system.h"

namespace perdure::fs {

class Waiters {
 public:
  // The caller returns Stop::wait() then.
  void add(const Run& run) {
    if (std::find(waiting_.begin(), waiting_.end(), run.transaction()) == waiting_.end())
      waiting_.push_back(run.transaction());
  }
  void resume_all(FileSystem& fs) {
    for (const TransactionId id : std::exchange(waiting_, {})) fs.hooks().resume(id);
  }
  bool empty() const { return waiting_.empty(); }

 private:
  std::vector<TransactionId> waiting_;
};

}  // namespace perdure::fs
