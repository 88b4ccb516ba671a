// The locks of one lock-owner in one file, as rows: POSIX semantics on byte ranges.
//
// Invariants, for the rows of one owner in descending order of their starts:
//   no row is empty, and none has more than LockRow::ranges_max locks
//   start <= first byte of every lock in the row < start of the row above
//   its locks are disjoint and in order; neighbours of one type that touch are one lock
#pragma once

#include <optional>
#include <vector>

#include "base/outcome.h"
#include "client/rows.h"
#include "state/run.h"

namespace perdure::client {

class ClientState;

struct ByteRange {
  uint64_t first = 0, last = 0;
  bool operator==(const ByteRange&) const = default;
};

struct LockRange {
  uint64_t first = 0, last = 0;
  bool write = false;
  bool operator==(const LockRange&) const = default;
};

std::vector<LockRange> ranges_of(const LockRow& row);

// Makes `range` locked with the type `write` says, or not locked, whatever it was. `state` is the owner's
// row, and its `rows` is updated; the caller stores it. Status::resource, with nothing changed: too many
// locks. O(log n + number of locks that lie in the range).
Outcome<void> set_range(ClientState& cs, state::Run& run, StateKey key, LockStateRow& state, ByteRange range,
                        std::optional<bool> write);

}  // namespace perdure::client
