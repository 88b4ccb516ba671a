// Directory entries: finding, inserting, replacing and erasing names in one directory.
//
// An entry's key is (directory, position). Names of one directory that have the same hash form a chain: they
// are at n = 0, 1, 2, ... of that hash, without gaps, at most 256 of them. So a name is looked up from n = 0
// until a position is empty.
//
// Operations change a Directory, which is its inode with the row in hand, and store it once at their end.
#pragma once

#include <string_view>

#include "fs/file_system.h"

namespace perdure::fs {

struct Directory {
  InodeId id;
  InodeRow row;
};

// Change attributes of a directory before and after an operation. Always atomic: nothing else came between.
struct ChangeInfo {
  uint64_t before = 0, after = 0;
};

struct Entry {
  uint64_t position = 0;
  const DirentRow* row = nullptr;  // valid until the run ends
  explicit operator bool() const { return row != nullptr; }
};

// A name that may stand in a directory: invalid_argument if it is empty, name_too_long, bad_name for "." and
// "..", bad_character for '/' and NUL. Any other byte string will do.
Outcome<void> check_name(std::string_view name);

// Status::stale, or not_directory.
Outcome<Directory> load_directory(FileSystem& fs, Run& run, InodeId id);

Outcome<Entry> find_entry(FileSystem& fs, Run& run, const Directory& directory, std::string_view name);
// The same, and when it has succeeded neither of the following can fault for this name in this run.
Outcome<Entry> find_entry_for_change(FileSystem& fs, Run& run, const Directory& directory,
                                     std::string_view name);

// These keep the directory's size and links (a subdirectory's ".." counts) in `directory.row`.
// The name is not there yet. Status::no_space if its chain is full.
Outcome<void> insert_entry(FileSystem& fs, Run& run, Directory& directory, std::string_view name,
                           InodeId inode, FileType type);
// The name is there, and means another object from now on.
Outcome<void> replace_entry(FileSystem& fs, Run& run, Directory& directory, std::string_view name,
                            InodeId inode, FileType type);
// The name is there, and goes.
Outcome<void> erase_entry(FileSystem& fs, Run& run, Directory& directory, std::string_view name);

// The end of an operation on entries: new times and change attribute, and the row is put.
ChangeInfo store_directory(FileSystem& fs, Run& run, Directory& directory);
inline ChangeInfo unchanged(const Directory& directory) {
  return {directory.row.change, directory.row.change};
}

}  // namespace perdure::fs
