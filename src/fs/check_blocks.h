// Who uses the blocks of the block store, as the checker finds it: a bit for each block. Internal to
// check*.cc.
#pragma once

#include <absl/container/btree_map.h>

#include <array>
#include <string>
#include <vector>

#include "fs/freed.h"

namespace perdure::fs {

class CheckedBlocks {
 public:
  // All blocks of the range are in use; the parts that were so before go to `twice`.
  void add(BlockRange range, std::vector<BlockRange>& twice);
  uint64_t count() const { return count_; }

  // Calls f(group, bits) for every group with a used block, in order.
  using Bits = std::array<uint64_t, AllocationRow::group_blocks / 64>;
  const absl::btree_map<uint64_t, Bits>& groups() const { return groups_; }

 private:
  absl::btree_map<uint64_t, Bits> groups_;
  uint64_t count_ = 0;
};

// The blocks of a group whose bits are set, as ranges, appended.
void append_blocks(uint64_t group, const CheckedBlocks::Bits& bits, std::vector<BlockRange>& ranges);

// "block 7", "blocks 7..9".
std::string describe(const BlockRange& range);

}  // namespace perdure::fs
