// What the name side needs of the data side, for files without data.
#include "fs/reclaim.h"
#include "fs/truncate.h"

namespace perdure::fs {

Outcome<void> drop(FileSystem& fs, Run& run, InodeId inode, const InodeRow& row) {
  if (row.type == FileType::symlink) fs.symlinks.erase(run, {inode});
  fs.inodes.erase(run, {inode});
  return {};
}

Outcome<void> truncate(FileSystem&, Run&, InodeId, InodeRow& row, uint64_t new_size) {
  row.size = new_size;
  return {};
}

}  // namespace perdure::fs
