// BlockAllocator: which blocks of the block store are free.
//
// The truth is the allocation rows (a bit per block in use). Beside them, volatile: blocks reserved for data
// that is on its way to them and not yet named by any row, and counts.
//
//   free block      == neither used by a row nor reserved
//   free_blocks()   == number of free blocks
//   pledged         == dirty pages + page rows: each will need a block when it is written back
//   available()     == free_blocks() + (reserved blocks that serve pledged pages) - pledged
//
// Writes are admitted while available() is above a margin, so that write-back always finds blocks (DESIGN.md
// §10 rule 5). A block goes free -> reserved -> used (an extent names it) -> freed (a freed row names it, the
// bit stays) -> free. Thread: the loop.
#pragma once

#include <absl/container/btree_map.h>

#include <array>
#include <memory>
#include <span>
#include <vector>

#include "fs/file_system.h"
#include "fs/waiters.h"

namespace perdure::fs {

using BlockRange = FreedRow::Range;

class BlockAllocator {
 public:
  BlockAllocator(FileSystem& fs, store::BlockStore& blocks);
  // Counts what the rows say.
  void restored();

  uint64_t free_blocks() const { return free_; }
  uint64_t reserved_blocks() const { return reserved_count_; }
  int64_t available() const;
  // Of the whole store, as far as it can grow.
  uint64_t total_blocks() const { return blocks_.capacity_max(); }
  // What could still be given to writes, growth included.
  uint64_t available_max() const;

  // Exactly `count` blocks in as few ranges as is quickly found, or none at all if there are not so many.
  // They are reserved at once, and free again if the run is undone.
  std::vector<BlockRange> reserve(Run& run, uint64_t count);
  // Reserved blocks are free again, now. (Nothing refers to them and no I/O is under way.)
  void release(std::span<const BlockRange> ranges);
  // Reserved blocks become used in this run.
  void mark_used(Run& run, std::span<const BlockRange> ranges);
  // Used blocks become free when this run is committed.
  void mark_free(Run& run, std::span<const BlockRange> ranges);

  // `count` more (or fewer) reserved blocks serve pledged pages.
  void add_placed(int64_t count) { placed_ += count; }

  // Makes the block store larger, if that is possible. True: it is under way.
  bool grow();
  bool growing() const { return growing_; }
  // Resumed when growing has ended, well or badly.
  Waiters grown;

  // A row says so: an extent names it, or it is freed and may be named by one after a crash.
  bool used(BlockNo block) const;
  // For tests and the checker: the block is reserved.
  bool reserved(BlockNo block) const;

 private:
  static constexpr uint64_t group_blocks = AllocationRow::group_blocks;
  static constexpr size_t words = group_blocks / 64;
  using Bits = std::array<uint64_t, words>;
  struct Group {
    uint32_t free = 0;
    uint32_t run_max = 0;  // no longer run of free blocks exists; or group_blocks: not known
  };

  void extend(uint64_t capacity);
  Bits taken(uint64_t group) const;
  bool reserve_in(uint64_t group, unsigned from, uint64_t wanted, uint64_t& missing,
                  std::vector<BlockRange>& found);
  void clear_reserved(std::span<const BlockRange> ranges);

  FileSystem& fs_;
  store::BlockStore& blocks_;
  std::vector<Group> groups_;
  absl::btree_map<uint64_t, Bits> reserved_;  // groups that have reserved blocks
  uint64_t capacity_ = 0;                     // as far as groups_ knows
  uint64_t cursor_ = 1;                       // the next reservation looks from here on
  uint64_t free_ = 0, reserved_count_ = 0;
  int64_t placed_ = 0;
  bool growing_ = false;
  env::Instant grow_after_{};  // not before, because it has failed
  const std::shared_ptr<bool> alive_ = std::make_shared<bool>();
};

// Appends blocks to `ranges`, to the last range if they follow it.
void append_range(std::vector<BlockRange>& ranges, BlockNo first, uint64_t count);
uint64_t block_count(std::span<const BlockRange> ranges);

}  // namespace perdure::fs
