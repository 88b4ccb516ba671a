// GETATTR's view of an object, and SETATTR.
#pragma once

#include <array>
#include <optional>

#include "fs/acl.h"
#include "fs/directory.h"

namespace perdure::fs {

struct Attributes {
  InodeId inode;  // the fileid
  InodeRow row;   // with what unstable writes have done to it
  std::array<uint64_t, 2> fsid{};
  uint64_t used_bytes = 0;
  bool is_root = false;  // of its volume
  Acl acl;               // only where somebody has asked for it
};
Outcome<Attributes> get_attributes(FileSystem& fs, Run& run, InodeId id);

// The run's own time, or a given one.
struct NewTime {
  bool given = false;
  int64_t ns = 0;
};

struct SetAttributes {
  std::optional<uint32_t> mode{}, uid{}, gid{};
  uint32_t mode_mask = 07777;       // which bits of the mode
  std::optional<uint32_t> umask{};  // of a new object: to be taken from the mode unless it inherits a list
  std::optional<Acl> acl{};         // takes effect behind the mode, and changes it
  std::optional<uint64_t> size{};
  std::optional<NewTime> atime{}, mtime{};
  bool empty() const { return !mode && !acl && !uid && !gid && !size && !atime && !mtime; }
};

enum class SizeRight : uint8_t {
  by_mode,  // the mode says whether the size may be set
  by_open,  // the caller holds an open for writing, which decides alone, as for ftruncate
};

// All or nothing. not_permitted if only the owner or root may, or somebody whom the list allows it expressly;
// access_denied if mode or list forbid it; a size of anything but a regular file, and the list of a symlink,
// is invalid_argument; too_big.
Outcome<void> set_attributes(FileSystem& fs, Run& run, const Principal& who, InodeId id,
                             const SetAttributes& set, SizeRight right = SizeRight::by_mode);

// The content has changed, or is about to, where it is not seen: change, mtime and ctime are new.
Outcome<void> note_change(FileSystem& fs, Run& run, InodeId id);

// For create(): a new object's owner, group, mode and list, where `set` leaves a choice of its own only as
// far as `who` has one. `inode` has its type. Gives its list, if it has one from `set` or (`inherits`) from
// the directory; the caller sets it.
Outcome<std::optional<Acl>> set_initial_attributes(FileSystem& fs, Run& run, const Principal& who,
                                                   const Directory& directory, const SetAttributes& set,
                                                   bool inherits, InodeRow& inode);

}  // namespace perdure::fs
