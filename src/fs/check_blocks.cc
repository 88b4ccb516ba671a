#include "fs/check_blocks.h"

#include <algorithm>
#include <bit>

namespace perdure::fs {

void CheckedBlocks::add(BlockRange range, std::vector<BlockRange>& twice) {
  constexpr uint64_t group_blocks = AllocationRow::group_blocks;
  count_ += range.count;
  for (uint64_t block = range.first.value, left = range.count; left > 0;) {
    const uint64_t bit = block % group_blocks;
    const uint64_t n = std::min({left, 64 - bit % 64});
    const uint64_t mask = (n == 64 ? ~uint64_t{0} : (uint64_t{1} << n) - 1) << (bit % 64);
    uint64_t& word = groups_[block / group_blocks][bit / 64];
    for (uint64_t again = word & mask; again != 0; again &= again - 1)
      append_range(twice, BlockNo(block - bit % 64 + static_cast<uint64_t>(std::countr_zero(again))), 1);
    word |= mask;
    block += n;
    left -= n;
  }
}

void append_blocks(uint64_t group, const CheckedBlocks::Bits& bits, std::vector<BlockRange>& ranges) {
  for (size_t i = 0; i < bits.size(); ++i)
    for (uint64_t word = bits[i]; word != 0; word &= word - 1)
      append_range(ranges,
                   BlockNo(group * AllocationRow::group_blocks + i * 64 +
                           static_cast<uint64_t>(std::countr_zero(word))),
                   1);
}

std::string describe(const BlockRange& range) {
  if (range.count == 1) return fmt::format("block {}", range.first);
  return fmt::format("blocks {}..{}", range.first, range.first.value + range.count - 1);
}

}  // namespace perdure::fs
