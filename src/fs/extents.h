// Extents: which blocks of the block store hold a file's content. Searching and mapping; cutting off is in
// cut.h. All of it may fault on extent rows, but never at or behind InodeRow::extent_end.
#pragma once

#include <span>
#include <vector>

#include "fs/block_allocator.h"
#include "fs/file_system.h"
#include "fs/freed.h"

namespace perdure::fs {

// A part of an extent that is cut off as a whole or not at all.
struct ExtentPart {
  FileBlock first;
  BlockNo block;
  std::span<const uint32_t> crcs;  // one per block
  bool cut_off = false;
  uint64_t count() const { return crcs.size(); }
  uint64_t end() const { return first.value + crcs.size(); }
};

// Goes through the extents of a range of file blocks in order, clipped to the range.
class ExtentCursor {
 public:
  // `inode` lives longer.
  ExtentCursor(FileSystem& fs, Run& run, InodeId id, const InodeRow& inode, uint64_t first, uint64_t end);
  // False: there are no more.
  Outcome<bool> next(ExtentPart& part);

 private:
  FileSystem& fs_;
  Run& run_;
  const InodeId id_;
  const InodeRow& inode_;
  uint64_t next_;
  const uint64_t end_;
  state::Table<ExtentRow>::Found extent_;
};

// A file block that is to be mapped to a block.
struct MappedBlock {
  FileBlock file_block;
  BlockNo block;
  uint32_t crc = 0;
  bool had_extent = false;  // result: an extent named another block before
};

// Maps many blocks of one file at once: the extents that hold them are rebuilt in one sweep.
class ExtentMap {
 public:
  ExtentMap(FileSystem& fs, InodeId id) : fs_(fs), id_(id) {}

  // Finds the extents that hold these blocks (sorted). A fault is returned after all have been looked for, so
  // that everything missing is fetched at once.
  Outcome<void> look_up(Run& run, const InodeRow& inode, std::span<const FileBlock> blocks);
  // Some extent, cut off or not, has this block. After look_up() with it.
  bool has(FileBlock block) const;
  // Makes extents of `mapped` (sorted; a subset of what look_up got), and changes inode.extent_end. What they
  // replace goes to `freed`.
  void map(Run& run, InodeRow& inode, std::span<MappedBlock> mapped, FreedBlocks& freed);

 private:
  class Builder;
  FileSystem& fs_;
  const InodeId id_;
  std::vector<state::Table<ExtentRow>::Found> old_;  // in order, valid in this run
};

inline uint64_t blocks_for(uint64_t bytes) {
  return bytes / block_bytes + (bytes % block_bytes != 0 ? 1 : 0);
}

}  // namespace perdure::fs
