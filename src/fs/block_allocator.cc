#include "fs/block_allocator.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <bit>

#include "fs/data.h"

namespace perdure::fs {

namespace {

constexpr env::Duration grow_retry = std::chrono::seconds(10);

// Calls f(group, first bit, count) for each group that the range touches.
template <class F>
void for_each_part(const BlockRange& range, F&& f) {
  constexpr uint64_t group_blocks = AllocationRow::group_blocks;
  uint64_t block = range.first.value;
  for (uint64_t left = range.count; left > 0;) {
    const uint64_t bit = block % group_blocks;
    const uint64_t count = std::min(left, group_blocks - bit);
    f(block / group_blocks, static_cast<unsigned>(bit), static_cast<unsigned>(count));
    block += count;
    left -= count;
  }
}

template <class Bits>
bool test(const Bits& bits, unsigned bit) {
  return (bits[bit / 64] >> (bit % 64) & 1U) != 0;
}

// Sets or clears `count` bits, each of which must be the opposite.
template <class Bits>
void assign(Bits& bits, unsigned first, unsigned count, bool value) {
  for (unsigned bit = first, end = first + count; bit < end;) {
    const unsigned n = std::min(end - bit, 64 - bit % 64);
    const uint64_t mask = (n == 64 ? ~uint64_t{0} : (uint64_t{1} << n) - 1) << (bit % 64);
    uint64_t& word = bits[bit / 64];
    CHECK((word & mask) == (value ? 0 : mask));
    word ^= mask;
    bit += n;
  }
}

// The first run of at least `wanted` clear bits at or behind `from`; of a longer one than `most` the
// beginning.
template <class Bits>
std::pair<unsigned, unsigned> find_clear(const Bits& bits, unsigned from, uint64_t wanted, uint64_t most) {
  const auto size = static_cast<unsigned>(bits.size() * 64);
  for (unsigned bit = from; bit < size;) {
    const uint64_t clear = ~bits[bit / 64] >> (bit % 64);
    if (clear == 0) {
      bit = (bit / 64 + 1) * 64;
      continue;
    }
    bit += static_cast<unsigned>(std::countr_zero(clear));
    unsigned end = bit;
    while (end < size && end - bit < most) {
      const uint64_t set = bits[end / 64] >> (end % 64);
      if (set != 0) {
        end += static_cast<unsigned>(std::countr_zero(set));
        break;
      }
      end = (end / 64 + 1) * 64;
    }
    const uint64_t count = std::min<uint64_t>(std::min(end, size) - bit, most);
    if (count >= wanted) return {bit, static_cast<unsigned>(count)};
    bit = end;
  }
  return {size, 0};
}

}  // namespace

void append_range(std::vector<BlockRange>& ranges, BlockNo first, uint64_t count) {
  if (!ranges.empty() && ranges.back().first.value + ranges.back().count == first.value)
    ranges.back().count += static_cast<uint32_t>(count);
  else
    ranges.push_back({first, static_cast<uint32_t>(count)});
}

uint64_t block_count(std::span<const BlockRange> ranges) {
  uint64_t count = 0;
  for (const BlockRange& range : ranges) count += range.count;
  return count;
}

BlockAllocator::BlockAllocator(FileSystem& fs, store::BlockStore& blocks) : fs_(fs), blocks_(blocks) {
  restored();
}

void BlockAllocator::restored() {
  CHECK(reserved_.empty());
  groups_.clear();
  capacity_ = free_ = 0;
  extend(blocks_.capacity());
}

uint64_t BlockAllocator::available_max() const {
  const uint64_t growth =
      blocks_.capacity_max() > blocks_.capacity() ? blocks_.capacity_max() - blocks_.capacity() : 0;
  return growth + static_cast<uint64_t>(std::max<int64_t>(available(), 0));
}

int64_t BlockAllocator::available() const {
  return static_cast<int64_t>(free_) + placed_ - static_cast<int64_t>(fs_.dirty_pages.size()) -
         static_cast<int64_t>(fs_.pages.size());
}

bool BlockAllocator::used(BlockNo block) const {
  const AllocationRow* row = fs_.allocations.peek({block.value / group_blocks});
  return row != nullptr && test(row->used, static_cast<unsigned>(block.value % group_blocks));
}

bool BlockAllocator::reserved(BlockNo block) const {
  auto it = reserved_.find(block.value / group_blocks);
  return it != reserved_.end() && test(it->second, static_cast<unsigned>(block.value % group_blocks));
}

// Counts the blocks between the capacity known so far and `capacity`.
void BlockAllocator::extend(uint64_t capacity) {
  CHECK(capacity >= capacity_);
  const uint64_t first = capacity_ / group_blocks;
  capacity_ = capacity;
  groups_.resize((capacity + group_blocks - 1) / group_blocks);
  for (uint64_t group = first; group < groups_.size(); ++group) {
    uint64_t used = 0;
    for (const uint64_t word : taken(group)) used += static_cast<uint64_t>(std::popcount(word));
    free_ -= groups_[group].free;
    groups_[group] = {static_cast<uint32_t>(group_blocks - used), group_blocks};
    free_ += groups_[group].free;
  }
}

// Blocks that are used, reserved or do not exist.
auto BlockAllocator::taken(uint64_t group) const -> Bits {
  Bits bits{};
  if (const AllocationRow* row = fs_.allocations.peek({group})) bits = row->used;
  if (auto it = reserved_.find(group); it != reserved_.end())
    for (size_t i = 0; i < words; ++i) bits[i] |= it->second[i];
  if (group == 0) bits[0] |= 1;  // the store's header
  const uint64_t end = capacity_ - std::min(capacity_, group * group_blocks);
  for (uint64_t bit = end; bit < group_blocks; bit = (bit / 64 + 1) * 64)
    bits[bit / 64] |= ~uint64_t{0} << (bit % 64);
  return bits;
}

// Goes round three times: first for long runs, at last for any block.
std::vector<BlockRange> BlockAllocator::reserve(Run& run, uint64_t count) {
  std::vector<BlockRange> found;
  if (count == 0 || count > free_) return found;
  uint64_t missing = count;
  for (const uint64_t wanted : {uint64_t{64}, uint64_t{8}, uint64_t{1}}) {
    if (cursor_ >= capacity_) cursor_ = 1;
    const uint64_t start = cursor_;
    const uint64_t start_group = start / group_blocks;
    for (uint64_t i = 0; i <= groups_.size() && missing > 0; ++i) {
      const uint64_t group = (start_group + i) % groups_.size();
      const auto from = i == 0 ? static_cast<unsigned>(start % group_blocks) : 0U;
      while (missing > 0 && reserve_in(group, from, std::min(wanted, missing), missing, found)) {
      }
    }
    if (missing == 0) break;
  }
  CHECK(missing == 0);
  run.on_undo([this, found] { release(found); });
  return found;
}

bool BlockAllocator::reserve_in(uint64_t group, unsigned from, uint64_t wanted, uint64_t& missing,
                                std::vector<BlockRange>& found) {
  Group& g = groups_[group];
  if (g.free < wanted || g.run_max < wanted) return false;
  const auto [bit, count] = find_clear(taken(group), from, wanted, missing);
  if (count == 0) {
    if (from == 0) g.run_max = static_cast<uint32_t>(wanted - 1);
    return false;
  }
  assign(reserved_[group], bit, count, true);
  g.free -= count;
  free_ -= count;
  reserved_count_ += count;
  missing -= count;
  append_range(found, BlockNo(group * group_blocks + bit), count);
  cursor_ = group * group_blocks + bit + count;
  fs_.data().forget_block_content({BlockNo(group * group_blocks + bit), count});
  return true;
}

void BlockAllocator::clear_reserved(std::span<const BlockRange> ranges) {
  for (const BlockRange& range : ranges) {
    for_each_part(range, [&](uint64_t group, unsigned bit, unsigned count) {
      auto it = reserved_.find(group);
      CHECK(it != reserved_.end());
      assign(it->second, bit, count, false);
      if (std::all_of(it->second.begin(), it->second.end(), [](uint64_t word) { return word == 0; }))
        reserved_.erase(it);
    });
    reserved_count_ -= range.count;
  }
}

void BlockAllocator::release(std::span<const BlockRange> ranges) {
  clear_reserved(ranges);
  for (const BlockRange& range : ranges)
    for_each_part(range, [&](uint64_t group, unsigned, unsigned count) {
      groups_[group].free += count;
      groups_[group].run_max = group_blocks;
      free_ += count;
    });
}

void BlockAllocator::mark_used(Run& run, std::span<const BlockRange> ranges) {
  absl::btree_map<uint64_t, AllocationRow> rows;
  for (const BlockRange& range : ranges)
    for_each_part(range, [&](uint64_t group, unsigned bit, unsigned count) {
      auto [it, first] = rows.try_emplace(group);
      const AllocationRow* row = fs_.allocations.peek({group});
      if (first && row != nullptr) it->second = *row;
      assign(it->second.used, bit, count, true);
    });
  for (auto& [group, row] : rows) fs_.allocations.put(run, {group}, row);
  run.on_commit([this, done = std::vector(ranges.begin(), ranges.end())] { clear_reserved(done); });
}

void BlockAllocator::mark_free(Run& run, std::span<const BlockRange> ranges) {
  absl::btree_map<uint64_t, AllocationRow> rows;
  for (const BlockRange& range : ranges)
    for_each_part(range, [&](uint64_t group, unsigned bit, unsigned count) {
      auto [it, first] = rows.try_emplace(group);
      if (first) {
        const AllocationRow* row = fs_.allocations.peek({group});
        CHECK(row != nullptr);
        it->second = *row;
      }
      assign(it->second.used, bit, count, false);
    });
  for (auto& [group, row] : rows) {
    if (std::all_of(row.used.begin(), row.used.end(), [](uint64_t word) { return word == 0; }))
      fs_.allocations.erase(run, {group});
    else
      fs_.allocations.put(run, {group}, row);
  }
  run.on_commit([this, done = std::vector(ranges.begin(), ranges.end())] {
    for (const BlockRange& range : done)
      for_each_part(range, [&](uint64_t group, unsigned, unsigned count) {
        if (group >= groups_.size()) return;  // of a store that somebody has made smaller
        groups_[group].free += count;
        groups_[group].run_max = group_blocks;
        free_ += count;
      });
  });
}

bool BlockAllocator::grow() {
  if (growing_) return true;
  if (blocks_.capacity() >= blocks_.capacity_max() || fs_.env().now() < grow_after_) return false;
  growing_ = true;
  blocks_.grow([this, alive = std::weak_ptr(alive_)](Result<void> result) {
    if (alive.expired()) return;
    growing_ = false;
    if (!result) {
      spdlog::warn("the block store cannot grow beyond {} blocks: {}", capacity_, result.error().message);
      grow_after_ = fs_.env().now() + grow_retry;
    }
    extend(blocks_.capacity());
    grown.resume_all(fs_);
  });
  return true;
}

}  // namespace perdure::fs
