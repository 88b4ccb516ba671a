// RENAME, within a volume; the target is replaced if it is compatible.
#pragma once

#include "fs/directory.h"

namespace perdure::fs {

struct Renamed {
  InodeId inode{};
  InodeId replaced{};       // what lost the target's name, 0 if nothing did
  ChangeInfo from{}, to{};  // equal if both are one directory
};

// If both names mean the same object, nothing happens (RFC 8881 §18.26.3 ¶4). Otherwise an existing target
// goes if neither is a directory, or both are and the target is empty; if not, Status::exists (¶2, ¶3).
// invalid_argument for a directory that would move below itself, cross_device, no_entry.
Outcome<Renamed> rename(FileSystem& fs, Run& run, const Principal& who, InodeId from_directory,
                        std::string_view from, InodeId to_directory, std::string_view to);

}  // namespace perdure::fs
