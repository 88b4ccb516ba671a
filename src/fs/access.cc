#include "fs/access.h"

namespace perdure::fs {

bool owns(const InodeRow& inode, const Principal& who) {
  return who.is_root() || inode.uid == who.uid;
}

Rights rights_by_mode(const InodeRow& inode, const Principal& who) {
  if (who.is_root()) {
    // Root may execute what somebody may execute, and pass every directory.
    const bool executable = inode.type == FileType::directory || (inode.mode & 0111U) != 0;
    return {executable ? all_rights : all_rights & ~may_execute};
  }
  // The first class that fits decides, even if a later one would allow more.
  if (inode.uid == who.uid)
    return {rights_of_bits(inode.type, inode.mode >> 6U) | rights_of_all | rights_of_owner};
  const uint32_t bits = who.in_group(inode.gid) ? inode.mode >> 3U : inode.mode;
  return {rights_of_bits(inode.type, bits) | rights_of_all};
}

Rights rights_by_acl(const Acl& acl, const InodeRow& inode, const Principal& who) {
  if (who.is_root()) {
    const bool executable = inode.type == FileType::directory || somebody_executes(acl);
    return {executable ? all_rights : all_rights & ~may_execute};
  }
  Rights rights = evaluate(acl, inode, who);
  if (inode.uid == who.uid)
    rights.allowed |= may_read_attributes | may_write_attributes | may_read_acl | may_write_acl;
  return rights;
}

Rights with_data_rights(Rights rights, const InodeRow& inode, const Principal& who) {
  if (inode.type != FileType::regular) return rights;
  if (inode.uid == who.uid) rights.allowed |= may_read | may_write | may_append;
  if ((rights.allowed & may_execute) != 0) rights.allowed |= may_read;
  return rights;
}

namespace {

Outcome<Rights> rights_by_acl(FileSystem& fs, Run& run, InodeId id, const InodeRow& inode,
                              const Principal& who) {
  if (who.is_root()) {
    // The list can only say what the mode does not: that some named user may execute it.
    const Rights rights = rights_by_mode(inode, who);
    if (rights.allow(may_execute)) return rights;
  }
  return rights_by_acl(*TRY(find_acl(fs, run, id)), inode, who);
}

}  // namespace

Outcome<Rights> rights(FileSystem& fs, Run& run, InodeId id, const InodeRow& inode, const Principal& who,
                       Check check) {
  const Rights rights = (inode.flags & InodeRow::has_acl) == 0 ? rights_by_mode(inode, who)
                                                               : TRY(rights_by_acl(fs, run, id, inode, who));
  return check == Check::data ? with_data_rights(rights, inode, who) : rights;
}

Outcome<void> check_permission(FileSystem& fs, Run& run, InodeId id, const InodeRow& inode,
                               const Principal& who, uint32_t wanted, Check check) {
  if (!TRY(rights(fs, run, id, inode, who, check)).allow(wanted)) return Status::access_denied;
  return {};
}

Outcome<void> check_permission(FileSystem& fs, Run& run, const Directory& directory, const Principal& who,
                               uint32_t wanted) {
  return check_permission(fs, run, directory.id, directory.row, who, wanted);
}

namespace {

// RFC 8881 §6.2.1.3.2: who may delete the object or the directory's children, whatever the other of the two
// says; without a word about either, who may add to the directory.
bool may_remove(const Rights& directory, const Rights& object) {
  if ((directory.allowed & may_delete_child) != 0 || (object.allowed & may_delete) != 0) return true;
  const bool denied = (directory.denied & may_delete_child) != 0 || (object.denied & may_delete) != 0;
  return !denied && (directory.allowed & may_write) != 0;
}

}  // namespace

// POSIX allows EPERM and EACCES for the sticky bit; REMOVE and RENAME know only NFS4ERR_ACCESS (RFC 8881
// §15.2).
Outcome<void> check_removal(FileSystem& fs, Run& run, const Directory& directory, InodeId id,
                            const InodeRow& inode, const Principal& who) {
  if ((directory.row.mode & mode_sticky) != 0 && !owns(directory.row, who) && !owns(inode, who))
    return Status::access_denied;
  const Rights in_directory = TRY(rights(fs, run, directory.id, directory.row, who));
  Rights of_object;
  // A mode says nothing about the deletion of its object.
  if ((inode.flags & InodeRow::has_acl) != 0) of_object = TRY(rights(fs, run, id, inode, who));
  if (!may_remove(in_directory, of_object)) return Status::access_denied;
  return {};
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

namespace {
// Everybody may write in a sticky directory, but its attributes are its owner's.
bool keeps_xattrs(const InodeRow& directory, const Principal& who) {
  return directory.type == FileType::directory && (directory.mode & mode_sticky) != 0 &&
         !owns(directory, who);
}
}  // namespace

bool may_have_xattrs(const InodeRow& inode) {
  return inode.type == FileType::regular || inode.type == FileType::directory;
}

Outcome<void> check_xattr_change(FileSystem& fs, Run& run, InodeId id, const InodeRow& inode,
                                 const Principal& who) {
  TRY(check_permission(fs, run, id, inode, who, may_write));
  if (!may_have_xattrs(inode) || keeps_xattrs(inode, who)) return Status::not_permitted;
  return {};
}

Access access(const InodeRow& inode, const Principal& who, Rights rights, uint32_t wanted) {
  const bool directory = inode.type == FileType::directory;
  const bool xattrs = may_have_xattrs(inode);
  const bool executes = rights.allow(may_execute), writes = rights.allow(may_write);
  const bool extends = writes || rights.allow(may_append);
  const bool removes = may_remove(rights, {});
  const struct {
    uint32_t asked;
    bool allowed, supported;
  } rules[] = {
      {access_read, rights.allow(may_read), true},
      {access_lookup, executes, directory},
      // Entries change only where they can be looked up.
      {access_modify, directory ? executes && writes && removes : writes, true},
      {access_extend, directory ? executes && extends : extends, true},
      {access_delete, executes && removes, directory},
      {access_execute, executes, !directory},
      {access_xattr_read, rights.allow(may_read), xattrs},
      {access_xattr_write, writes && !keeps_xattrs(inode, who), xattrs},
      {access_xattr_list, rights.allow(may_read), xattrs},
  };
  Access result;
  for (const auto& rule : rules) {
    if ((wanted & rule.asked) == 0 || !rule.supported) continue;
    result.supported |= rule.asked;
    if (rule.allowed) result.allowed |= rule.asked;
  }
  return result;
}

Outcome<Access> access(FileSystem& fs, Run& run, const Principal& who, InodeId id, uint32_t wanted) {
  const InodeRow inode = TRY(fs.load(run, id));
  return access(inode, who, TRY(rights(fs, run, id, inode, who)), wanted);
}

Outcome<const Acl*> find_acl(FileSystem& fs, Run& run, InodeId id) {
  const Acl* acl = TRY(fs.acls.get(run, {id}));
  if (acl == nullptr) return Status::io_error;
  return acl;
}

Outcome<Acl> get_acl(FileSystem& fs, Run& run, InodeId id, const InodeRow& inode) {
  if ((inode.flags & InodeRow::has_acl) == 0) return acl_of_mode(inode.type, inode.mode);
  return *TRY(find_acl(fs, run, id));
}

Outcome<void> check_seeing(FileSystem& fs, Run& run, InodeId id, const InodeRow& inode, const Principal& who,
                           uint32_t wanted) {
  if ((inode.flags & InodeRow::has_acl) == 0 || wanted == 0 || owns(inode, who)) return {};
  return check_permission(fs, run, id, inode, who, wanted);
}

void set_acl(FileSystem& fs, Run& run, InodeId id, InodeRow& inode, Acl acl) {
  CHECK(acl.entries.size() <= acl_entries_kept_max);
  inode.mode = (inode.mode & ~0777U) | mode_of(acl);
  const bool had = (inode.flags & InodeRow::has_acl) != 0;
  if (!says_only_mode(acl, inode.type)) {
    inode.flags |= InodeRow::has_acl;
    fs.acls.put(run, {id}, std::move(acl));
  } else if (had) {
    inode.flags &= ~InodeRow::has_acl;
    fs.acls.erase(run, {id});
  }
}

void clear_set_id(InodeRow& inode, const Principal& who) {
  if (who.is_root() || inode.type == FileType::directory) return;
  inode.mode &= ~mode_set_uid;
  // Without the group's execute bit it never meant to act as the group.
  if ((inode.mode & 0010U) != 0) inode.mode &= ~mode_set_gid;
}

}  // namespace perdure::fs
