// Who serves a vserver: the configuration of a pair, as PacificA has it (Lin et al., "PacificA: Replication
// in Log-Based Distributed Storage Systems", 2008). It lies in the arbiter and changes by compare-and-swap
// alone.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "base/ids.h"

namespace perdure::mirror {

// One start of a server process on one blade. What it had in memory is gone with it, so its successor is
// another one, and has no part in a promise that this one gave.
struct Start {
  std::string blade;
  uint64_t number = 0;  // random
  friend bool operator==(const Start&, const Start&) = default;
  template <class Self, class V>
  static void fields(Self& s, V&& v) {
    v("blade", s.blade), v("number", s.number);
  }
};

struct Configuration {
  Epoch epoch;  // grows by one with each change
  Start primary;
  std::vector<Start> in_sync;  // has every record that is durable; the primary is one of them
  friend bool operator==(const Configuration&, const Configuration&) = default;

  bool has(const Start& start) const { return std::ranges::find(in_sync, start) != in_sync.end(); }
  bool alone() const { return in_sync.size() == 1; }
};

// Where a primary began: the log from this LSN on is its own, up to the next one's.
struct EpochStart {
  Epoch epoch;
  Lsn lsn;
  friend bool operator==(const EpochStart&, const EpochStart&) = default;
  template <class Self, class V>
  static void fields(Self& s, V&& v) {
    v("epoch", s.epoch), v("lsn", s.lsn);
  }
};
using History = std::vector<EpochStart>;  // oldest first

inline Epoch newest_epoch(const History& history) {
  return history.empty() ? Epoch(0) : history.back().epoch;
}

// Up to where batches of `epoch` are part of the log whose history this is. Lsn max: all of them.
Lsn end_of_epoch(const History& history, Epoch epoch);

}  // namespace perdure::mirror
