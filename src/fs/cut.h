// Taking content away from a file, block by block: what truncation, removal, reclaim and the punching of
// holes share.
#pragma once

#include <vector>

#include "fs/content.h"

namespace perdure::fs {

// The rows that hold content of file blocks first .. end - 1. Valid in the run that made it.
struct RowsIn {
  uint64_t first = 0;
  uint64_t end = 0;                                     // up to here that is all of them
  std::vector<state::Table<ExtentRow>::Found> extents;  // the outer ones may reach beyond first and end
  std::vector<state::Table<PageRow>::Found> pages;
};
// At most `rows_max` extents and so many page rows: `end` may come before `end_wanted`, but never at `first`
// unless nothing was wanted.
Outcome<RowsIn> rows_in(FileSystem& fs, Run& run, InodeId id, const InodeRow& inode, uint64_t first,
                        uint64_t end_wanted, uint32_t rows_max);

// Erases these rows, cut off or not, and all dirty pages among them; changes inode.blocks and extent_end.
// May fault in the end.
Outcome<void> erase_content(FileSystem& fs, Run& run, InodeId id, InodeRow& inode, const RowsIn& rows);

// Bytes from..to - 1 of the block become zero, in a page row: it had room before, so nothing is admitted.
// `old` and `rows`: its content, and what survey() says of it.
void zero_part(FileSystem& fs, Run& run, InodeId id, InodeRow& inode, FileBlock block, const PageRef& old,
               BlockRows rows, uint64_t from, uint64_t to);

// Erases the part of the extent that lies in first .. end - 1; its blocks go to `freed`.
void cut_extent(FileSystem& fs, Run& run, const InodeRow& inode, const state::Table<ExtentRow>::Found& extent,
                uint64_t first, uint64_t end, FreedBlocks& freed);

// Erases all dirty pages in first .. end - 1. Calls gone(block) for each.
template <class Gone>
void erase_dirty(FileSystem& fs, Run& run, InodeId id, uint64_t first, uint64_t end, Gone&& gone) {
  const PageKey last{id, FileBlock(end - 1)};
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
