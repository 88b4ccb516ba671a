#include "fs/attributes.h"

#include "fs/access.h"
#include "fs/truncate.h"

namespace perdure::fs {

namespace {

Outcome<void> check_owner(const InodeRow& inode, const Principal& who, const SetAttributes& set) {
  if (set.mode && !owns(inode, who)) return Status::not_permitted;
  // The owner may keep what is, and give the object to one of his own groups.
  if (set.uid && !who.is_root() && (inode.uid != who.uid || *set.uid != inode.uid))
    return Status::not_permitted;
  if (set.gid && !who.is_root() &&
      (inode.uid != who.uid || (*set.gid != inode.gid && !who.in_group(*set.gid))))
    return Status::not_permitted;
  return {};
}

// Setting both times to now is what a write does: who may write may do it. Any other choice is the owner's.
Outcome<void> check_times(const InodeRow& inode, const Principal& who, const SetAttributes& set) {
  if ((!set.atime && !set.mtime) || owns(inode, who)) return {};
  if ((set.atime && set.atime->given) || (set.mtime && set.mtime->given)) return Status::not_permitted;
  return check_permission(inode, who, may_write);
}

Outcome<void> check_size(const InodeRow& inode, const Principal& who, const SetAttributes& set,
                         SizeRight right) {
  if (!set.size) return {};
  if (inode.type != FileType::regular) return Status::invalid_argument;
  if (*set.size > file_bytes_max) return Status::too_big;
  if (right == SizeRight::by_open) return {};
  return check_permission(inode, who, may_write, Check::data);
}

void set_times(Run& run, const SetAttributes& set, InodeRow& inode) {
  const int64_t now = run.now().time_since_epoch().count();
  if (set.atime) inode.atime_ns = set.atime->given ? set.atime->ns : now;
  if (set.mtime) inode.mtime_ns = set.mtime->given ? set.mtime->ns : now;
}

// `mode` as `who` may set it: whoever is not in the file's group cannot make programs that act as the group.
uint32_t permitted_mode(uint32_t mode, const Principal& who, const InodeRow& inode) {
  mode &= mode_bits;
  if (!who.is_root() && !who.in_group(inode.gid)) mode &= ~mode_set_gid;
  return mode;
}

}  // namespace

Outcome<Attributes> get_attributes(FileSystem& fs, Run& run, InodeId id) {
  Attributes attributes{.inode = id, .row = TRY(fs.load(run, id))};
  const VolumeRow* volume = TRY(fs.volumes.get(run, {attributes.row.volume}));
  CHECK(volume != nullptr);
  attributes.fsid = volume->uuid;
  attributes.is_root = volume->root == id;
  attributes.used_bytes = attributes.row.blocks * block_bytes;
  return attributes;
}

Outcome<void> set_attributes(FileSystem& fs, Run& run, const Principal& who, InodeId id,
                             const SetAttributes& set, SizeRight right) {
  InodeRow inode = TRY(fs.load(run, id));
  TRY(check_owner(inode, who, set));
  TRY(check_times(inode, who, set));
  TRY(check_size(inode, who, set, right));
  if (set.empty()) return {};

  const bool symlink = inode.type == FileType::symlink;
  if (set.size) {
    TRY(truncate(fs, run, id, inode, *set.size));
    fs.touch_content(run, inode);
  } else {
    fs.touch_attributes(run, inode);
  }
  if (set.gid) inode.gid = *set.gid;
  if (set.uid) inode.uid = *set.uid;
  // A symlink's mode means nothing, and stays what everybody expects of it.
  if (set.mode && !symlink) inode.mode = permitted_mode(*set.mode, who, inode);
  if (set.uid || set.gid || (set.size && !set.mode)) clear_set_id(inode, who);
  set_times(run, set, inode);
  fs.store(run, id, inode);
  return {};
}

Outcome<void> set_initial_attributes(Run& run, const Principal& who, const InodeRow& directory,
                                     const SetAttributes& set, InodeRow& inode) {
  const bool is_directory = inode.type == FileType::directory;
  const bool inherits_group = (directory.mode & mode_set_gid) != 0;
  inode.uid = who.uid;
  inode.gid = inherits_group ? directory.gid : who.gid;
  if (!who.is_root() && set.uid && *set.uid != who.uid) return Status::not_permitted;
  if (!who.is_root() && set.gid && *set.gid != inode.gid && !who.in_group(*set.gid))
    return Status::not_permitted;
  if (set.uid) inode.uid = *set.uid;
  if (set.gid) inode.gid = *set.gid;

  // Without a mode from the client the object is its creator's alone.
  inode.mode = permitted_mode(set.mode.value_or(is_directory ? 0700 : 0600), who, inode);
  if (inode.type == FileType::symlink) inode.mode = 0777;
  if (is_directory && inherits_group) inode.mode |= mode_set_gid;

  if (set.size && inode.type != FileType::regular) return Status::invalid_argument;
  if (set.size.value_or(0) > file_bytes_max) return Status::too_big;
  if (set.size) inode.size = *set.size;

  const int64_t now = run.now().time_since_epoch().count();
  inode.atime_ns = inode.mtime_ns = inode.ctime_ns = inode.btime_ns = now;
  set_times(run, set, inode);
  return {};
}

}  // namespace perdure::fs
