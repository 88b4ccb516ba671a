// GETXATTR, SETXATTR, LISTXATTRS and REMOVEXATTR (RFC 8276): values that programs attach to a regular file or
// a directory, each under a name. Nothing here means anything to the server.
//
// Each is a row under (inode, position). Names of one object that have the same hash are at n = 0, 1, 2, ...
// of it without a gap, as in a directory. Always: InodeRow::flags has has_xattrs if and only if there is such
// a row; who has not set it is not searched.
//
// What an object has together is bounded, because a run looks at all of it to add one, and erases all of it
// with the object: 128 removals of full ones in one COMPOUND are a record of some 4 MB (log/record.h allows
// 8) and 32 MB in memory.
#pragma once

#include <functional>
#include <string_view>
#include <vector>

#include "fs/directory.h"
#include "fs/file_system.h"

namespace perdure::fs {

// Linux, as a client, allows 255 bytes and puts "user." before the name. A longer one of another client's
// would make the whole list unreadable there.
inline constexpr size_t xattr_name_bytes_max = 250;
inline constexpr size_t xattr_value_bytes_max = 64U << 10U;
// Of one object: their number; their names as Linux lists them, each with its "user." and a NUL, in at most
// 64 KiB; and names and values together.
inline constexpr size_t xattrs_max = 1024;
inline constexpr size_t xattr_list_bytes_max = 64U << 10U;
inline constexpr size_t xattr_total_bytes_max = 256U << 10U;

// What all of these say of a name: invalid_argument if it is empty, name_too_long, bad_character for NUL.

// The value, valid until the run ends. no_xattr, access_denied.
Outcome<Bytes> get_xattr(FileSystem& fs, Run& run, const Principal& who, InodeId id, std::string_view name);

enum class SetXattr : uint8_t {
  either,   // new or not
  create,   // Status::exists if it is there
  replace,  // no_xattr if it is not
};
// The object's change attribute before and after. xattr_too_big; no_space if the object would have too many
// or too much of them; and what check_xattr_change() says.
Outcome<ChangeInfo> set_xattr(FileSystem& fs, Run& run, const Principal& who, InodeId id,
                              std::string_view name, Bytes value, SetXattr how);
// no_xattr, and what check_xattr_change() says.
Outcome<ChangeInfo> remove_xattr(FileSystem& fs, Run& run, const Principal& who, InodeId id,
                                 std::string_view name);

// Takes a name, which is valid until the run ends; false: it does not fit any more, and the listing ends
// before it.
using EachXattr = std::function<bool(uint64_t cookie, std::string_view name)>;
// Lists the names behind `after_cookie` (0: from the start) until `each` says false; true if it got them all.
// One that is there all the time is given exactly once, however often the listing is taken up again while
// others come and go. bad_cookie for one that was never given; access_denied.
Outcome<bool> list_xattrs(FileSystem& fs, Run& run, const Principal& who, InodeId id, uint64_t after_cookie,
                          const EachXattr& each);

// For the removal of the object: the keys of all its rows.
Outcome<std::vector<XattrRow::Key>> xattr_keys(FileSystem& fs, Run& run, InodeId id, const InodeRow& inode);

}  // namespace perdure::fs
