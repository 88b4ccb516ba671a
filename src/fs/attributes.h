// GETATTR's view of an object, and SETATTR.
#pragma once

#include <array>
#include <optional>

#include "fs/file_system.h"

namespace perdure::fs {

struct Attributes {
  InodeId inode;  // the fileid
  InodeRow row;   // with what unstable writes have done to it
  std::array<uint64_t, 2> fsid{};
  uint64_t used_bytes = 0;
  bool is_root = false;  // of its volume
};
Outcome<Attributes> get_attributes(FileSystem& fs, Run& run, InodeId id);

// The run's own time, or a given one.
struct NewTime {
  bool given = false;
  int64_t ns = 0;
};

struct SetAttributes {
  std::optional<uint32_t> mode{}, uid{}, gid{};
  std::optional<uint64_t> size{};
  std::optional<NewTime> atime{}, mtime{};
  bool empty() const { return !mode && !uid && !gid && !size && !atime && !mtime; }
};

enum class SizeRight : uint8_t {
  by_mode,  // the mode says whether the size may be set
  by_open,  // the caller holds an open for writing, which decides alone, as for ftruncate
};

// All or nothing. not_permitted if only the owner or root may; access_denied if the mode forbids it; a size
// of anything but a regular file is is_directory or invalid_argument; too_big.
Outcome<void> set_attributes(FileSystem& fs, Run& run, const Principal& who, InodeId id,
                             const SetAttributes& set, SizeRight right = SizeRight::by_mode);

// For create(): a new object's owner, group and mode, where `set` leaves a choice of its own only as far as
// `who` has one. `inode` has its type.
Outcome<void> set_initial_attributes(Run& run, const Principal& who, const InodeRow& directory,
                                     const SetAttributes& set, InodeRow& inode);

}  // namespace perdure::fs
