#include "fs/page_cache.h"

#include <algorithm>

namespace perdure::fs {

const PageRef* PageCache::find(BlockNo block, uint32_t tick) {
  auto it = index_.find(block);
  if (it == index_.end()) return nullptr;
  Slot& slot = slots_[it->second];
  slot.touched = tick;
  slot.referenced = true;
  return &slot.page;
}

void PageCache::insert(BlockNo block, PageRef page, uint32_t tick) {
  auto [it, fresh] = index_.try_emplace(block, 0U);
  if (fresh) {
    if (free_slots_.empty()) {
      free_slots_.push_back(static_cast<uint32_t>(slots_.size()));
      slots_.emplace_back();
    }
    it->second = free_slots_.back();
    free_slots_.pop_back();
  }
  slots_[it->second] = {block, std::move(page), tick, false};
}

void PageCache::drop(BlockNo first, uint64_t count) {
  for (uint64_t i = 0; i < count && !index_.empty(); ++i)
    if (auto it = index_.find(BlockNo(first.value + i)); it != index_.end()) remove(it);
}

void PageCache::remove(absl::flat_hash_map<BlockNo, uint32_t>::iterator it) {
  slots_[it->second].page = {};
  free_slots_.push_back(it->second);
  index_.erase(it);
}

void PageCache::trim(uint64_t limit, uint32_t oldest_fault) {
  if (bytes() <= limit) return;
  size_t work = std::min(4 * ((bytes() - limit) / block_bytes) + 256, 2 * slots_.size());
  for (; work > 0 && bytes() > limit; --work) {
    if (hand_ >= slots_.size()) hand_ = 0;
    Slot& slot = slots_[hand_++];
    if (!slot.page || static_cast<int32_t>(slot.touched - oldest_fault) >= 0) continue;
    if (!std::exchange(slot.referenced, false)) remove(index_.find(slot.block));
  }
}

}  // namespace perdure::fs
