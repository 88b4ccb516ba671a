// What every KvStore demands of its callers, and says when it is poisoned.
#pragma once

#include <algorithm>
#include <vector>

#include "base/check.h"
#include "store/kv_store.h"

namespace perdure::store {

// A part's keys are sorted and unique and begin with a table number; 0 is the store's own.
inline void check_part(const std::vector<Change>& part) {
  const ByteVector* previous = nullptr;
  for (const Change& change : part) {
    CHECK(!change.key.empty() && change.key.front() != std::byte{0});
    CHECK(previous == nullptr || *previous < change.key);
    previous = &change.key;
  }
}

inline Error poisoned_error() {
  return error(ErrorKind::stopped, "the key-value store has stopped after an earlier failure");
}

}  // namespace perdure::store
