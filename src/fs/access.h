// Who may do what: the mode bits, or the object's access control list (fs/acl.h), against a Principal. Only
// what has a list needs more than its InodeRow, and may fault.
#pragma once

#include <cstdint>

#include "fs/acl.h"
#include "fs/directory.h"
#include "fs/file_system.h"

namespace perdure::fs {

inline constexpr uint32_t mode_set_uid = 04000, mode_set_gid = 02000, mode_sticky = 01000;
inline constexpr uint32_t mode_bits = 07777;

enum class Check : uint8_t {
  strict,  // as the mode or list says
  // For READ, WRITE and truncation: the owner may, whatever the mode says, and who may execute may read. A
  // client checks the mode when it opens; the server sees later I/O, perhaps after a chmod, and a program's
  // pages are read to execute it.
  data,
};

bool owns(const InodeRow& inode, const Principal& who);
// By the mode alone: of an object without a list.
Rights rights_by_mode(const InodeRow& inode, const Principal& who);
// By the list. The owner may always see the list and what stat shows, and change both; root may everything,
// but execute only what somebody may execute.
Rights rights_by_acl(const Acl& acl, const InodeRow& inode, const Principal& who);
// What Check::data adds to them.
Rights with_data_rights(Rights rights, const InodeRow& inode, const Principal& who);

// `inode` is the row of `id`, as load() gave it.
Outcome<Rights> rights(FileSystem& fs, Run& run, InodeId id, const InodeRow& inode, const Principal& who,
                       Check check = Check::strict);
// Status::access_denied unless `who` may do all of `wanted`.
Outcome<void> check_permission(FileSystem& fs, Run& run, InodeId id, const InodeRow& inode,
                               const Principal& who, uint32_t wanted, Check check = Check::strict);
Outcome<void> check_permission(FileSystem& fs, Run& run, const Directory& directory, const Principal& who,
                               uint32_t wanted);
// The entry of `directory` that names `id` may be removed or replaced.
Outcome<void> check_removal(FileSystem& fs, Run& run, const Directory& directory, InodeId id,
                            const InodeRow& inode, const Principal& who);
// What it takes to give an object of this type a name.
inline uint32_t right_to_add(FileType type) {
  return type == FileType::directory ? may_append : may_write;
}
// Status::ok only for a regular file: the only type that can be opened, read and written.
Outcome<void> check_regular(const InodeRow& inode);

// Only regular files and directories have extended attributes.
bool may_have_xattrs(const InodeRow& inode);
// `who` may set and remove them. access_denied if the mode or list forbids it; not_permitted for an object
// that has none, and, as everybody may write in a sticky directory, for all but the owner of that.
Outcome<void> check_xattr_change(FileSystem& fs, Run& run, InodeId id, const InodeRow& inode,
                                 const Principal& who);

// What the ACCESS operations of NFSv3 and NFSv4 ask; the values are theirs.
inline constexpr uint32_t access_read = 0x01, access_lookup = 0x02, access_modify = 0x04,
                          access_extend = 0x08, access_delete = 0x10, access_execute = 0x20,
                          access_xattr_read = 0x40, access_xattr_write = 0x80,
                          access_xattr_list = 0x100;  // the last three: only NFSv4.2
struct Access {
  uint32_t supported = 0;  // of what was asked, what makes sense for the object's type
  uint32_t allowed = 0;
};
Access access(const InodeRow& inode, const Principal& who, Rights rights, uint32_t wanted);
Outcome<Access> access(FileSystem& fs, Run& run, const Principal& who, InodeId id, uint32_t wanted);

// The list of an object that has one.
Outcome<const Acl*> find_acl(FileSystem& fs, Run& run, InodeId id);
// What an object has, or shows.
Outcome<Acl> get_acl(FileSystem& fs, Run& run, InodeId id, const InodeRow& inode);
// `who` may see these: may_read_attributes, may_read_acl. Looks at the list only if it could forbid it.
Outcome<void> check_seeing(FileSystem& fs, Run& run, InodeId id, const InodeRow& inode, const Principal& who,
                           uint32_t wanted);
// Makes `acl` the list, as far as it says more than a mode, and the mode what follows from it. The caller
// stores the inode.
void set_acl(FileSystem& fs, Run& run, InodeId id, InodeRow& inode, Acl acl);

// A write, truncation or chown by anybody but root takes the right to act as the owner or group away.
void clear_set_id(InodeRow& inode, const Principal& who);

}  // namespace perdure::fs
