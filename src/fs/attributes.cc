#include "fs/attributes.h"

#include "fs/access.h"
#include "fs/truncate.h"

namespace perdure::fs {

namespace {

// What only the owner may is also the right of those to whom a list, and no mode ever, gives it.
Outcome<bool> may_as_owner(FileSystem& fs, Run& run, InodeId id, const InodeRow& inode, const Principal& who,
                           uint32_t right) {
  if (owns(inode, who)) return true;
  if ((inode.flags & InodeRow::has_acl) == 0) return false;
  return TRY(rights(fs, run, id, inode, who)).allow(right);
}

Outcome<void> check_owner(FileSystem& fs, Run& run, InodeId id, const InodeRow& inode, const Principal& who,
                          const SetAttributes& set) {
  if ((set.mode || set.acl) && !TRY(may_as_owner(fs, run, id, inode, who, may_write_acl)))
    return Status::not_permitted;
  if (who.is_root() || (!set.uid && !set.gid)) return {};
  if (!TRY(may_as_owner(fs, run, id, inode, who, may_write_owner))) return Status::not_permitted;
  // The owner may keep what is, and give the object to one of his own groups; another one may take it.
  if (set.uid && *set.uid != who.uid) return Status::not_permitted;
  const bool keeps_group = inode.uid == who.uid && set.gid && *set.gid == inode.gid;
  if (set.gid && !keeps_group && !who.in_group(*set.gid)) return Status::not_permitted;
  return {};
}

// Setting both times to now is what a write does: who may write may do it. Any other choice is the owner's.
Outcome<void> check_times(FileSystem& fs, Run& run, InodeId id, const InodeRow& inode, const Principal& who,
                          const SetAttributes& set) {
  if (!set.atime && !set.mtime) return {};
  if (TRY(may_as_owner(fs, run, id, inode, who, may_write_attributes))) return {};
  if ((set.atime && set.atime->given) || (set.mtime && set.mtime->given)) return Status::not_permitted;
  return check_permission(fs, run, id, inode, who, may_write);
}

Outcome<void> check_size(FileSystem& fs, Run& run, InodeId id, const InodeRow& inode, const Principal& who,
                         const SetAttributes& set, SizeRight right) {
  if (!set.size) return {};
  if (inode.type != FileType::regular) return Status::invalid_argument;
  if (*set.size > file_bytes_max) return Status::too_big;
  if (right == SizeRight::by_open) return {};
  const Rights has = TRY(rights(fs, run, id, inode, who, Check::data));
  if (has.allow(may_write) || (has.allow(may_append) && *set.size >= inode.size)) return {};
  return Status::access_denied;
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

// A symlink's mode means nothing, and stays what everybody expects of it.
Outcome<void> set_mode_and_acl(FileSystem& fs, Run& run, const Principal& who, InodeId id,
                               const SetAttributes& set, InodeRow& inode) {
  if (set.mode && inode.type != FileType::symlink) {
    uint32_t mode = permitted_mode((inode.mode & ~set.mode_mask) | (*set.mode & set.mode_mask), who, inode);
    // Whom a list allows it does not thereby make programs that act as the owner or the group.
    if (!owns(inode, who)) mode &= inode.mode | 0777U;
    inode.mode = mode;
    const bool has_acl = (inode.flags & InodeRow::has_acl) != 0;
    if (has_acl && !set.acl && (set.mode_mask & 0777U) != 0)
      set_acl(fs, run, id, inode, with_mode(*TRY(find_acl(fs, run, id)), inode.type, mode, mode >> 3U & 7U));
  }
  if (set.acl) set_acl(fs, run, id, inode, effective_for(*set.acl, inode.type));
  return {};
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
  TRY(check_owner(fs, run, id, inode, who, set));
  TRY(check_times(fs, run, id, inode, who, set));
  TRY(check_size(fs, run, id, inode, who, set, right));
  if (inode.type == FileType::symlink && set.acl) return Status::invalid_argument;
  if (set.empty()) return {};
  // No fault once a change number is taken.
  if (set.mode && (inode.flags & InodeRow::has_acl) != 0) TRY(find_acl(fs, run, id));

  if (set.size) {
    TRY(truncate(fs, run, id, inode, *set.size));
    fs.touch_content(run, inode);
  } else {
    fs.touch_attributes(run, inode);
  }
  if (set.gid) inode.gid = *set.gid;
  if (set.uid) inode.uid = *set.uid;
  TRY(set_mode_and_acl(fs, run, who, id, set, inode));
  if (set.uid || set.gid || (set.size && !set.mode)) clear_set_id(inode, who);
  set_times(run, set, inode);
  fs.store(run, id, inode);
  return {};
}

Outcome<void> note_change(FileSystem& fs, Run& run, InodeId id) {
  InodeRow inode = TRY(fs.load(run, id));
  fs.touch_content(run, inode);
  fs.store(run, id, inode);
  return {};
}

namespace {

// §6.4.3: a list that is given is the list; otherwise what is inherited, with the mode applied if one is
// given.
Outcome<std::optional<Acl>> initial_acl(FileSystem& fs, Run& run, const Directory& directory, FileType type,
                                        const SetAttributes& set, bool inherits) {
  const bool symlink = type == FileType::symlink;
  if (set.acl && symlink) return Status::invalid_argument;
  if (set.acl) return effective_for(*set.acl, type);
  if (symlink || !inherits || (directory.row.flags & InodeRow::has_acl) == 0) return std::nullopt;
  Acl acl = inherited(*TRY(find_acl(fs, run, directory.id)), type);
  if (acl.entries.empty()) return std::nullopt;
  return set.mode ? inherited_with_mode(acl, type, *set.mode, set.umask) : acl;
}

}  // namespace

Outcome<std::optional<Acl>> set_initial_attributes(FileSystem& fs, Run& run, const Principal& who,
                                                   const Directory& directory, const SetAttributes& set,
                                                   bool inherits, InodeRow& inode) {
  const bool is_directory = inode.type == FileType::directory;
  const bool inherits_group = (directory.row.mode & mode_set_gid) != 0;
  inode.uid = who.uid;
  inode.gid = inherits_group ? directory.row.gid : who.gid;
  if (!who.is_root() && set.uid && *set.uid != who.uid) return Status::not_permitted;
  if (!who.is_root() && set.gid && *set.gid != inode.gid && !who.in_group(*set.gid))
    return Status::not_permitted;
  if (set.uid) inode.uid = *set.uid;
  if (set.gid) inode.gid = *set.gid;
  std::optional<Acl> acl = TRY(initial_acl(fs, run, directory, inode.type, set, inherits));

  // Without a mode from the client the object is its creator's alone.
  const uint32_t mode = set.mode.value_or(is_directory ? 0700 : 0600);
  inode.mode = permitted_mode(mode & ~set.umask.value_or(0), who, inode);
  if (inode.type == FileType::symlink) inode.mode = 0777;
  if (is_directory && inherits_group) inode.mode |= mode_set_gid;

  if (set.size && inode.type != FileType::regular) return Status::invalid_argument;
  if (set.size.value_or(0) > file_bytes_max) return Status::too_big;
  if (set.size) inode.size = *set.size;

  const int64_t now = run.now().time_since_epoch().count();
  inode.atime_ns = inode.mtime_ns = inode.ctime_ns = inode.btime_ns = now;
  set_times(run, set, inode);
  return acl;
}

}  // namespace perdure::fs
