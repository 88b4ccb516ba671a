// Giving back what belonged to objects that are gone.
#pragma once

#include "fs/file_system.h"

namespace perdure::fs {

// `inode` has lost its last name and its last open: erases its row and its symlink's, and frees its data, or
// starts the transaction that does.
Outcome<void> drop(FileSystem& fs, Run& run, InodeId inode, const InodeRow& row);

}  // namespace perdure::fs
