// From "nothing refers to this block any more" to "it may be allocated again" (DESIGN.md §10 rule 11).
//
// A step that makes blocks unreferenced puts them into a freed row; their bits stay set. When that step's own
// record is in the checkpoint of every in-sync copy, free_pending() clears the bits and erases the row. From
// then on the blocks may be allocated and overwritten at once: whatever a restoration finds, nothing that it
// can redo refers to the old content.
#pragma once

#include <absl/container/btree_map.h>

#include <vector>

#include "fs/block_allocator.h"

namespace perdure::fs {

// The blocks that one step frees.
class FreedBlocks {
 public:
  // `may_be_shared`: other extents may name them as well (InodeRow::shares_blocks of the file).
  void add(BlockNo first, uint64_t count, bool may_be_shared) {
    append_range(may_be_shared ? maybe_shared_ : ranges_, first, count);
  }
  // Takes a reference from those that are shared, and puts a freed row of the others. May fault; the caller
  // then gives up its run, whatever it has changed.
  Outcome<void> put(FileSystem& fs, Run& run);

 private:
  std::vector<BlockRange> ranges_, maybe_shared_;
};

// Which freed rows a checkpoint covers. Volatile.
class FreedRows {
 public:
  // All rows that there are now count from the next checkpoint on.
  void restored(FileSystem& fs);
  // The row's own record is `lsn`.
  void added(uint64_t sequence, Lsn lsn) { lsns_.emplace(sequence, lsn); }
  void erased(uint64_t sequence) { lsns_.erase(sequence); }
  bool covered(FileSystem& fs, uint64_t sequence) const;
  bool empty() const { return lsns_.empty(); }

 private:
  absl::btree_map<uint64_t, Lsn> lsns_;
  Lsn restored_end_;  // every row that was there after restoration has a record before it
};

// One run of the job that the server starts after each checkpoint: frees the blocks of some covered rows.
// True: no more can be freed now; whoever waits for space is resumed. False: commit, and call it again in a
// new run. Never faults or waits.
bool free_pending(FileSystem& fs, Run& run);

}  // namespace perdure::fs
