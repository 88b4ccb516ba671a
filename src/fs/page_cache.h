// PageCache: clean pages of the block store that were used lately.
//
// Keyed by block number: a block that an extent refers to is never overwritten, so an entry is right until
// the block is allocated anew. Eviction is CLOCK, but pages that a run has looked at since the oldest
// faulted run stay: that run will need them when it executes again (DESIGN.md §10 rule 8). Thread: the loop.
#pragma once

#include <absl/container/flat_hash_map.h>

#include <vector>

#include "base/ids.h"
#include "base/page.h"

namespace perdure::fs {

class PageCache {
 public:
  // The page, or nullptr; valid until the next call. `tick`: of the run that looks.
  const PageRef* find(BlockNo block, uint32_t tick);
  bool contains(BlockNo block) const { return index_.contains(block); }
  // `tick`: of the run for which the page was read.
  void insert(BlockNo block, PageRef page, uint32_t tick);
  void drop(BlockNo first, uint64_t count);
  // Evicts, with a bounded amount of work, until the pages take at most `bytes`. What was touched at or after
  // `oldest_fault` stays.
  void trim(uint64_t bytes, uint32_t oldest_fault);

  uint64_t bytes() const { return uint64_t{block_bytes} * index_.size(); }

 private:
  struct Slot {
    BlockNo block;
    PageRef page;  // null: a free slot
    uint32_t touched = 0;
    bool referenced = false;  // found since the hand has passed
  };
  void remove(absl::flat_hash_map<BlockNo, uint32_t>::iterator it);

  std::vector<Slot> slots_;
  std::vector<uint32_t> free_slots_;
  absl::flat_hash_map<BlockNo, uint32_t> index_;  // never iterated over
  size_t hand_ = 0;
};

}  // namespace perdure::fs
