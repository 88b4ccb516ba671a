// Cutting a file off at a block: what truncation, removal and reclaim share.
#pragma once

#include <vector>

#include "fs/content.h"

namespace perdure::fs {

// The rows that hold content at or behind a file block. Valid in the run that made it.
struct RowsBehind {
  std::vector<state::Table<ExtentRow>::Found> extents;  // the first one may begin before the block
  std::vector<state::Table<PageRow>::Found> pages;
  bool complete = false;  // that is all of them; if not, there are more than `rows_max`
};
Outcome<RowsBehind> rows_behind(FileSystem& fs, Run& run, InodeId id, const InodeRow& inode, uint64_t first,
                                uint32_t rows_max);

// Erases the part of the extent that lies at or behind `first`; its blocks go to `freed`.
void cut_extent(FileSystem& fs, Run& run, const state::Table<ExtentRow>::Found& extent, uint64_t first,
                FreedBlocks& freed);

// Erases all dirty pages at or behind `first`. Calls gone(block) for each.
template <class Gone>
void erase_dirty_behind(FileSystem& fs, Run& run, InodeId id, uint64_t first, Gone&& gone) {
  const PageKey last{id, FileBlock(UINT64_MAX)};
  DirtyPages::Edit edit(fs.dirty_pages, run);
  for (auto dirty = fs.dirty_pages.first(run, {id, FileBlock(first)}, last); dirty;
       dirty = fs.dirty_pages.next(run, dirty, last)) {
    gone(dirty.key.block);
    edit.erase(dirty.key);
  }
}

// The inode's cut fields are set: its reclaim transaction starts with this run, if it does not run already.
void start_reclaim(FileSystem& fs, Run& run, InodeId id, bool runs_already);

}  // namespace perdure::fs
