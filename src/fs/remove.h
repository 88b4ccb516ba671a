// REMOVE (unlink and rmdir), and what happens to an object that has lost its last name.
#pragma once

#include "fs/directory.h"

namespace perdure::fs {

enum class RemoveKind : uint8_t {
  any,            // NFSv4 REMOVE
  not_directory,  // NFSv3 REMOVE: Status::is_directory
  directory,      // NFSv3 RMDIR: Status::not_directory
};

struct Removed {
  InodeId inode;
  ChangeInfo directory;
};

// no_entry, not_empty.
Outcome<Removed> remove(FileSystem& fs, Run& run, const Principal& who, InodeId directory,
                        std::string_view name, RemoveKind kind = RemoveKind::any);

// One name of `inode` is going (a directory's only one): takes a link from it and stores it; with the last
// link it is dropped, unless somebody has it open.
Outcome<void> unlinked(FileSystem& fs, Run& run, InodeId id, InodeRow& inode);

// The last open of an object went away: if it has no name any more, it is dropped.
Outcome<void> released(FileSystem& fs, Run& run, InodeId id);

}  // namespace perdure::fs
