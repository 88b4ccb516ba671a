// Changing the size of a regular file.
#pragma once

#include "fs/file_system.h"

namespace perdure::fs {

// Changes `row`; the caller stores it.
Outcome<void> truncate(FileSystem& fs, Run& run, InodeId inode, InodeRow& row, uint64_t new_size);

}  // namespace perdure::fs
