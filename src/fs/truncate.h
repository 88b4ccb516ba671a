// Changing a file's size (SETATTR of the size, OPEN with truncation). One effective step, whatever the file's
// size: a few rows are erased at once, many are cut off (InodeRow::cut_from) and freed by a reclaim
// transaction (reclaim.h).
#pragma once

#include "fs/file_system.h"

namespace perdure::fs {

// Changes `inode`, which FileSystem::load() gave: its size, and what else depends on that. The caller calls
// touch_content() and stores it in the same run. Never takes space away from others: it succeeds in a full
// store. Before it changes anything it may fault, or wait for an earlier truncation's reclaim: the caller
// then begins again with load() in a new run.
Outcome<void> truncate(FileSystem& fs, Run& run, InodeId id, InodeRow& inode, uint64_t new_size);

}  // namespace perdure::fs
