// Access control lists, against the inodes that they belong to.
#include <algorithm>

#include "fs/acl.h"
#include "fs/check_inodes.h"

namespace perdure::fs {

namespace {

bool is_entry(const AclEntry& entry, FileType type) {
  constexpr uint32_t of_inheritance = inherit_to_files | inherit_to_directories | inherit_once | inherit_only;
  const uint32_t flags = type == FileType::directory ? is_inherited | of_inheritance : is_inherited;
  const bool has_id = entry.who == AclRow::Who::user || entry.who == AclRow::Who::group;
  return entry.who <= AclRow::Who::group && (has_id || entry.id == 0) && (entry.flags & ~flags) == 0 &&
         (entry.mask & ~acl_mask) == 0;
}

}  // namespace

Result<void> check_acls(FileSystem& fs, CheckedInodes& inodes, state::Findings& findings) {
  state::RowReader<AclRow> rows(fs.acls, inodes.damaged());
  while (TRY(rows.next())) {
    const InodeId id = rows.key().inode;
    const AclRow& acl = rows.row();
    CheckedInode* inode = inodes.find(id);
    if (inode == nullptr) {
      findings.add("inode {} has an access control list, but does not exist", id);
      continue;
    }
    inode->has_acl = true;
    const auto name = [&] { return inodes.describe(id); };
    if (!inode->says_acl)
      findings.add("{}: it has an access control list, but its flags say that it has none", name());
    if (inode->type == FileType::symlink)
      findings.add("{}: a symbolic link with an access control list", name());
    if (acl.entries.size() > acl_entries_kept_max)
      findings.add("{}: its access control list has {} entries", name(), acl.entries.size());
    if (!std::ranges::all_of(acl.entries, [&](const AclEntry& e) { return is_entry(e, inode->type); }))
      findings.add("{}: its access control list has an entry that is none", name());
    const uint32_t computed = mode_of(acl);
    if (computed != (inode->mode & 0777U))
      findings.add("{}: its mode is {:04o}, but its access control list makes it {:03o}", name(), inode->mode,
                   computed);
    else if (says_only_mode(acl, inode->type))
      findings.add("{}: its access control list says nothing that its mode does not say", name());
  }
  for (const CheckedInode& inode : inodes.all())
    if (inode.says_acl && !inode.has_acl)
      findings.add("{}: its flags say that it has an access control list, but it has none",
                   inodes.describe(inode.id));
  return {};
}

}  // namespace perdure::fs
