// Access control lists (RFC 8881 §6): what an entry means, who may do what by a list, how a list and a mode
// follow from each other, and what new objects inherit. Pure functions of rows; nothing here faults.
//
// Always holds: mode_of(with_mode(acl, type, mode, ...)) == (mode & 0777)
//               with_mode(acl_of_mode(type, a), type, b, b) == acl_of_mode(type, b)
#pragma once

#include <optional>

#include "fs/file_system.h"

namespace perdure::fs {

using Acl = AclRow;
using AclEntry = AclRow::Entry;

// What is to be done with an object, combined by |: the bits of acemask4.
inline constexpr uint32_t may_read = 0x1,          // or list a directory
    may_write = 0x2,                               // or add to it what is no directory
    may_append = 0x4,                              // write at the end of a file, or add a subdirectory
    may_read_named = 0x8, may_write_named = 0x10,  // attributes that have names: xattrs
    may_execute = 0x20,                            // or pass through a directory
    may_delete_child = 0x40,                       // remove what a directory has
    may_read_attributes = 0x80, may_write_attributes = 0x100, may_delete = 0x10000, may_read_acl = 0x20000,
                          may_write_acl = 0x40000,  // and the mode
    may_write_owner = 0x80000, may_synchronize = 0x100000;
inline constexpr uint32_t all_rights = 0x1f01ff;
// What an entry may name: also ACE4_WRITE_RETENTION and ACE4_WRITE_RETENTION_HOLD, which are kept and allow
// nothing.
inline constexpr uint32_t acl_mask = all_rights | 0x600;

// AclRow::Entry::flags, with the values of aceflag4.
inline constexpr uint32_t inherit_to_files = 0x1, inherit_to_directories = 0x2,
                          inherit_once = 0x4,  // by children, not by what is below them
    inherit_only = 0x8,                        // has no effect on the directory itself
    is_inherited = 0x80;
// AclRow::flags, with the values of aclflag4. They mean something to programs that change whole trees.
inline constexpr uint32_t acl_auto_inherit = 1, acl_protected = 2, acl_defaulted = 4;

// Of a list that a client sets; and of one that is kept: a mode may once split each entry in two, one that
// has effect and one that is inherited, and it has up to five of its own; inheriting adds three.
inline constexpr size_t acl_entries_max = 256;
inline constexpr size_t acl_entries_kept_max = 2 * acl_entries_max + 8;

struct Rights {
  uint32_t allowed = 0;
  uint32_t denied = 0;  // expressly; what is neither is denied for want of an entry
  bool allow(uint32_t wanted) const { return (wanted & ~allowed) == 0; }
};

// What the class of users `bits` (rwx, as in a mode) may do.
uint32_t rights_of_bits(FileType type, uint32_t bits);
// What everybody may do with an object that has a mode alone, and its owner besides.
inline constexpr uint32_t rights_of_all = may_read_attributes | may_read_acl | may_synchronize;
inline constexpr uint32_t rights_of_owner = may_write_attributes | may_write_acl;

// What the entries say of `who` (§6.2.1), who is no superuser.
Rights evaluate(const Acl& acl, const InodeRow& inode, const Principal& who);
// Somebody may execute it.
bool somebody_executes(const Acl& acl);

// The nine bits (§6.3.2).
uint32_t mode_of(const Acl& acl);
// What an object without a list shows (§6.4.2).
Acl acl_of_mode(FileType type, uint32_t mode);
bool says_only_mode(const Acl& acl, FileType type);
// The list after its object was given this mode (§6.4.1.1). What is inherited by others stays as it is, and
// so do all rights that a mode knows nothing of. Named users and groups keep what `named` (rwx) allows.
Acl with_mode(const Acl& acl, FileType type, uint32_t mode, uint32_t named);

// As it is kept: without what has no effect on an object of this type.
Acl effective_for(const Acl& acl, FileType type);
// What a new object of this type inherits (§6.4.3.1); without entries: nothing.
Acl inherited(const Acl& parent, FileType type);
// What it has inherited, with the mode that its creator asks for (§6.4.3 no. 1); or, with the umask apart
// from the mode (RFC 8275), what the creator allows of it.
Acl inherited_with_mode(const Acl& inherited, FileType type, uint32_t mode, std::optional<uint32_t> umask);

}  // namespace perdure::fs
