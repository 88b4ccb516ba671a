// Who may do what: the mode bits against a Principal. Pure functions of rows; nothing here faults.
#pragma once

#include <cstdint>

#include "fs/file_system.h"

namespace perdure::fs {

inline constexpr uint32_t mode_set_uid = 04000, mode_set_gid = 02000, mode_sticky = 01000;
inline constexpr uint32_t mode_bits = 07777;

// What is to be done with an object, combined by |.
inline constexpr uint32_t may_execute = 1, may_write = 2, may_read = 4;

enum class Check : uint8_t {
  strict,  // as the mode says
  // For READ, WRITE and truncation: the owner may, whatever the mode says, and who may execute may read. A
  // client checks the mode when it opens; the server sees later I/O, perhaps after a chmod, and a program's
  // pages are read to execute it.
  data,
};

bool owns(const InodeRow& inode, const Principal& who);
// Status::access_denied unless `who` may do all of `wanted`.
Outcome<void> check_permission(const InodeRow& inode, const Principal& who, uint32_t wanted,
                               Check check = Check::strict);
// An entry of `directory` that names `inode` may be removed or replaced as far as the sticky bit goes.
Outcome<void> check_sticky(const InodeRow& directory, const InodeRow& inode, const Principal& who);
// Status::ok only for a regular file: the only type that can be opened, read and written.
Outcome<void> check_regular(const InodeRow& inode);

// Only regular files and directories have extended attributes.
bool may_have_xattrs(const InodeRow& inode);
// `who` may set and remove them. access_denied if the mode forbids it; not_permitted for an object that has
// none, and, as everybody may write in a sticky directory, for all but the owner of that.
Outcome<void> check_xattr_change(const InodeRow& inode, const Principal& who);

// What the ACCESS operations of NFSv3 and NFSv4 ask; the values are theirs.
inline constexpr uint32_t access_read = 0x01, access_lookup = 0x02, access_modify = 0x04,
                          access_extend = 0x08, access_delete = 0x10, access_execute = 0x20,
                          access_xattr_read = 0x40, access_xattr_write = 0x80,
                          access_xattr_list = 0x100;  // the last three: only NFSv4.2
struct Access {
  uint32_t supported = 0;  // of what was asked, what makes sense for the object's type
  uint32_t allowed = 0;
};
Access access(const InodeRow& inode, const Principal& who, uint32_t wanted);
Outcome<Access> access(FileSystem& fs, Run& run, const Principal& who, InodeId id, uint32_t wanted);

// A write, truncation or chown by anybody but root takes the right to act as the owner or group away.
void clear_set_id(InodeRow& inode, const Principal& who);

}  // namespace perdure::fs
