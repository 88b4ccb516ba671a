// Removing a file's content, at once or bit by bit.
#pragma once

#include "fs/file_system.h"

namespace perdure::fs {

// The last link and the last open of `id` are gone; `inode` is what FileSystem::load() gave. Afterwards
// load() says stale. A small file, and everything that is not a regular file, is erased in this run; of a
// large one the row stays, as dropped, until its reclaim transaction has freed everything. Extended
// attributes are gone at once: they are bounded. A directory must be empty. May fault, and changes nothing
// then.
Outcome<void> drop(FileSystem& fs, Run& run, InodeId id, const InodeRow& inode);

// The machine of a reclaim transaction. What remains to be done is seen from the rows; positions only save
// looking at the same rows again.
struct ReclaimRegisters {
  InodeId inode;
  uint64_t stamp = 0;  // the positions belong to this InodeRow::cut_stamp
  uint64_t page = 0, extent = 0;
  template <class Self, class V>
  static void fields(Self& r, V&& v) {
    v("inode", r.inode), v("stamp", r.stamp), v("page", r.page), v("extent", r.extent);
  }
};

// Frees a bounded number of rows that are cut off. True: nothing is left, the cut is over or the dropped
// inode is erased; the transaction ends. False: the run is to be committed, and this is to be called again in
// a new one, at leisure. Each call is an effective step. May fault; never waits.
Outcome<bool> reclaim_step(FileSystem& fs, Run& run, ReclaimRegisters& registers);

}  // namespace perdure::fs
