// From a directory and a name to an object, and from a directory to its parent.
#pragma once

#include <string_view>

#include "fs/file_system.h"

namespace perdure::fs {

struct Object {
  InodeId inode;
  FileType type{};
};

// Status::no_entry; is_symlink or not_directory if `directory` is none (RFC 8881 §18.13.3).
Outcome<Object> lookup(FileSystem& fs, Run& run, const Principal& who, InodeId directory,
                       std::string_view name);

// Status::no_entry for a volume's root (RFC 8881 §18.14.3).
Outcome<InodeId> lookup_parent(FileSystem& fs, Run& run, const Principal& who, InodeId directory);

}  // namespace perdure::fs
