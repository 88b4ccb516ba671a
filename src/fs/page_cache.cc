#include "fs/page_cache.h"

#include <algorithm>
#include <bit>

namespace perdure::fs {

auto PageCache::group_of(BlockNo block) -> Group* {
  const uint64_t number = block.value / group_blocks;
  if (last_ < groups_.size() && groups_[last_].number == number && groups_[last_].present != 0)
    return &groups_[last_];
  auto it = index_.find(number);
  if (it == index_.end()) return nullptr;
  last_ = it->second;
  return &groups_[last_];
}

auto PageCache::add_group(uint64_t number) -> Group& {
  if (free_.empty()) {
    free_.push_back(static_cast<uint32_t>(groups_.size()));
    groups_.emplace_back();
  }
  last_ = free_.back();
  free_.pop_back();
  index_.emplace(number, last_);
  Group& group = groups_[last_];
  group.number = number;
  group.referenced = 0;
  return group;
}

bool PageCache::contains(BlockNo block) {
  const Group* group = group_of(block);
  return group != nullptr && (group->present & bit_of(block)) != 0;
}

const PageRef* PageCache::find(BlockNo block, uint32_t tick) {
  Group* group = group_of(block);
  const uint16_t bit = bit_of(block);
  if (group == nullptr || (group->present & bit) == 0) return nullptr;
  group->touched = tick;
  group->referenced |= bit;
  return &group->pages[block.value % group_blocks];
}

void PageCache::insert(BlockNo block, PageRef page, uint32_t tick) {
  Group* group = group_of(block);
  const bool fresh = group == nullptr;
  if (fresh) group = &add_group(block.value / group_blocks);
  const uint16_t bit = bit_of(block);
  if ((group->present & bit) == 0) ++pages_;
  group->pages[block.value % group_blocks] = std::move(page);
  group->present |= bit;
  group->referenced &= static_cast<uint16_t>(~bit);
  // Never backwards: what a faulted run needs of the group stays, though the page was placed or asked for
  // before.
  if (fresh || static_cast<int32_t>(tick - group->touched) > 0) group->touched = tick;
}

void PageCache::drop_pages(Group& group, uint16_t bits) {
  bits &= group.present;
  pages_ -= static_cast<size_t>(std::popcount(bits));
  group.present &= static_cast<uint16_t>(~bits);
  for (uint16_t left = bits; left != 0; left &= static_cast<uint16_t>(left - 1))
    group.pages[static_cast<size_t>(std::countr_zero(left))] = {};
  if (bits == 0 || group.present != 0) return;
  auto it = index_.find(group.number);
  free_.push_back(it->second);
  index_.erase(it);
}

void PageCache::drop(BlockNo first, uint64_t count) {
  for (uint64_t i = 0; i < count && pages_ != 0; ++i) {
    const BlockNo block(first.value + i);
    if (Group* group = group_of(block)) drop_pages(*group, bit_of(block));
  }
}

void PageCache::trim(uint64_t limit, uint32_t oldest_fault) {
  if (bytes() <= limit) return;
  size_t work = std::min(4 * ((bytes() - limit) / block_bytes / group_blocks) + 64, 2 * groups_.size());
  for (; work > 0 && bytes() > limit; --work) {
    if (hand_ >= groups_.size()) hand_ = 0;
    Group& group = groups_[hand_++];
    if (group.present == 0 || static_cast<int32_t>(group.touched - oldest_fault) >= 0) continue;
    const uint16_t referenced = std::exchange(group.referenced, uint16_t{0});
    drop_pages(group, static_cast<uint16_t>(~referenced));
  }
}

}  // namespace perdure::fs
