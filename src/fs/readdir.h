// READDIR: the entries of a directory in the order of their positions, without "." and "..".
#pragma once

#include <functional>
#include <string_view>

#include "fs/file_system.h"

namespace perdure::fs {

struct ListedEntry {
  uint64_t cookie = 0;
  std::string_view name;  // valid until the run ends
  InodeId inode;
  FileType type{};
};

// Takes an entry; false: it does not fit any more, and the listing ends before it.
using EachEntry = std::function<Outcome<bool>(const ListedEntry&)>;

enum class Ahead : uint8_t {
  entries,  // only the entries will be looked at
  inodes,   // `each` loads the entries' inodes: those of the next ones are brought into memory together
};

// Lists the entries behind `after_cookie` (0: from the start) until `each` says false; true if it got them
// all. An entry that is there all the time is given exactly once, however often the listing is taken up
// again while others come and go. `expected`: about how many entries will fit; so many are read at a time.
// bad_cookie for one that was never given.
Outcome<bool> readdir(FileSystem& fs, Run& run, const Principal& who, InodeId directory,
                      uint64_t after_cookie, Ahead ahead, size_t expected, const EachEntry& each);

}  // namespace perdure::fs
