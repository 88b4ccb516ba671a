// PageCache: clean pages of the block store that were used lately.
//
// Keyed by block number: a block that an extent refers to is never overwritten, so an entry is right until
// the block is allocated anew. Neighbours share an entry, because what was written or read in order comes and
// goes in order. Eviction is CLOCK, page by page, but pages that a run has looked at since the oldest
// faulted run stay, with their neighbours: that run will need them when it executes again (DESIGN.md §10 rule
// 8). Thread: the loop.
#pragma once

#include <absl/container/flat_hash_map.h>

#include <array>
#include <vector>

#include "base/ids.h"
#include "base/page.h"

namespace perdure::fs {

class PageCache {
 public:
  // The page, or nullptr; valid until the next call. `tick`: of the run that looks.
  const PageRef* find(BlockNo block, uint32_t tick);
  bool contains(BlockNo block);
  // `tick`: of the run for which the page was read.
  void insert(BlockNo block, PageRef page, uint32_t tick);
  void drop(BlockNo first, uint64_t count);
  // Evicts, with a bounded amount of work, until the pages take at most `bytes`. What was touched at or after
  // `oldest_fault` stays.
  void trim(uint64_t bytes, uint32_t oldest_fault);

  uint64_t bytes() const { return uint64_t{block_bytes} * pages_; }

 private:
  static constexpr uint64_t group_blocks = 16;
  struct Group {
    uint64_t number = 0;      // block / group_blocks
    uint32_t touched = 0;     // the last tick of any page
    uint16_t present = 0;     // a bit for each page; none: a free entry
    uint16_t referenced = 0;  // found since the hand has passed
    std::array<PageRef, group_blocks> pages;
  };
  static uint16_t bit_of(BlockNo block) { return static_cast<uint16_t>(1U << (block.value % group_blocks)); }
  // The group of a block, or nullptr.
  Group* group_of(BlockNo block);
  Group& add_group(uint64_t number);
  // Drops those pages, and the group if it has no others.
  void drop_pages(Group& group, uint16_t bits);

  std::vector<Group> groups_;
  std::vector<uint32_t> free_;                     // places in groups_
  absl::flat_hash_map<uint64_t, uint32_t> index_;  // group number to place; never iterated over
  uint32_t last_ = 0;                              // the place that was found last
  size_t pages_ = 0;
  size_t hand_ = 0;
};

}  // namespace perdure::fs
