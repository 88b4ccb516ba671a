#include "fs/access.h"

namespace perdure::fs {

namespace {

uint32_t permitted(const InodeRow& inode, const Principal& who) {
  if (who.is_root()) {
    // Root may execute what somebody may execute, and pass every directory.
    const bool executable = inode.type == FileType::directory || (inode.mode & 0111U) != 0;
    return may_read | may_write | (executable ? may_execute : 0);
  }
  // The first class that fits decides, even if a later one would allow more.
  if (inode.uid == who.uid) return (inode.mode >> 6U) & 7U;
  if (who.in_group(inode.gid)) return (inode.mode >> 3U) & 7U;
  return inode.mode & 7U;
}

}  // namespace

bool owns(const InodeRow& inode, const Principal& who) {
  return who.is_root() || inode.uid == who.uid;
}

Outcome<void> check_permission(const InodeRow& inode, const Principal& who, uint32_t wanted, Check check) {
  uint32_t allowed = permitted(inode, who);
  if (check == Check::data && inode.type == FileType::regular) {
    if (inode.uid == who.uid) allowed |= may_read | may_write;
    if ((allowed & may_execute) != 0) allowed |= may_read;
  }
  if ((wanted & ~allowed) != 0) return Status::access_denied;
  return {};
}

// POSIX allows EPERM and EACCES here; REMOVE and RENAME know only NFS4ERR_ACCESS (RFC 8881 §15.2).
Outcome<void> check_sticky(const InodeRow& directory, const InodeRow& inode, const Principal& who) {
  if ((directory.mode & mode_sticky) == 0 || owns(directory, who) || owns(inode, who)) return {};
  return Status::access_denied;
}

Outcome<void> check_regular(const InodeRow& inode) {
  switch (inode.type) {
    case FileType::regular:
      return {};
    case FileType::directory:
      return Status::is_directory;
    case FileType::symlink:
      return Status::is_symlink;
    case FileType::block_device:
    case FileType::character_device:
    case FileType::socket:
    case FileType::fifo:
      return Status::wrong_type;
  }
  return Status::wrong_type;
}

bool may_have_xattrs(const InodeRow& inode) {
  return inode.type == FileType::regular || inode.type == FileType::directory;
}

Outcome<void> check_xattr_change(const InodeRow& inode, const Principal& who) {
  TRY(check_permission(inode, who, may_write));
  if (!may_have_xattrs(inode)) return Status::not_permitted;
  const bool sticky = inode.type == FileType::directory && (inode.mode & mode_sticky) != 0;
  if (sticky && !owns(inode, who)) return Status::not_permitted;
  return {};
}

Access access(const InodeRow& inode, const Principal& who, uint32_t wanted) {
  const uint32_t allowed = permitted(inode, who);
  const bool directory = inode.type == FileType::directory;
  const bool xattrs = may_have_xattrs(inode);
  const uint32_t change_entries = may_write | may_execute;
  const struct {
    uint32_t asked, needs;
    bool supported;
  } rules[] = {
      {access_read, may_read, true},
      {access_lookup, may_execute, directory},
      {access_modify, directory ? change_entries : may_write, true},
      {access_extend, directory ? change_entries : may_write, true},
      {access_delete, change_entries, directory},
      {access_execute, may_execute, !directory},
      {access_xattr_read, may_read, xattrs},
      {access_xattr_write, may_write, xattrs},
      {access_xattr_list, may_read, xattrs},
  };
  Access result;
  for (const auto& rule : rules) {
    if ((wanted & rule.asked) == 0 || !rule.supported) continue;
    result.supported |= rule.asked;
    if ((rule.needs & ~allowed) == 0) result.allowed |= rule.asked;
  }
  if (!check_xattr_change(inode, who)) result.allowed &= ~access_xattr_write;
  return result;
}

Outcome<Access> access(FileSystem& fs, Run& run, const Principal& who, InodeId id, uint32_t wanted) {
  return access(TRY(fs.load(run, id)), who, wanted);
}

void clear_set_id(InodeRow& inode, const Principal& who) {
  if (who.is_root() || inode.type == FileType::directory) return;
  inode.mode &= ~mode_set_uid;
  // Without the group's execute bit it never meant to act as the group.
  if ((inode.mode & 0010U) != 0) inode.mode &= ~mode_set_gid;
}

}  // namespace perdure::fs
