#include "fs/readdir.h"

#include <algorithm>
#include <vector>

#include "fs/access.h"
#include "fs/directory.h"

namespace perdure::fs {

namespace {

constexpr uint64_t first_position = 1U << 8U;
constexpr size_t window_max = 512;

struct Window {
  std::vector<ListedEntry> entries;
  bool end = false;
};

// False: something of it is missing.
bool look_at_inode(FileSystem& fs, Run& run, InodeId id) {
  const auto inode = fs.inodes.get(run, {id});
  if (!inode) return false;
  const bool has_acl = *inode != nullptr && ((*inode)->flags & InodeRow::has_acl) != 0;
  return !has_acl || fs.acls.get(run, {id});
}

// The next entries. Every inode that is missing is asked for before the fault is reported, so that a listing
// of cold inodes runs again once per window and not once per entry.
Outcome<void> read_window(FileSystem& fs, Run& run, InodeId directory, uint64_t after, Ahead ahead,
                          size_t count, Window& window) {
  window.entries.clear();
  bool missing = false;
  while (window.entries.size() < count) {
    const auto next = TRY(fs.dirents.next(run, {directory, after}, {directory, ~uint64_t{0}}));
    if (!next) {
      window.end = true;
      break;
    }
    after = next.key.position;
    const DirentRow& row = *next.row;
    window.entries.push_back({after, row.entry_name, row.inode, row.type});
    if (ahead == Ahead::inodes) missing |= !look_at_inode(fs, run, row.inode);
  }
  if (missing) return Stop::fault();
  return {};
}

}  // namespace

Outcome<bool> readdir(FileSystem& fs, Run& run, const Principal& who, InodeId directory,
                      uint64_t after_cookie, Ahead ahead, size_t expected, const EachEntry& each) {
  const Directory loaded = TRY(load_directory(fs, run, directory));
  TRY(check_permission(fs, run, loaded, who, may_read));
  if (after_cookie != 0 && after_cookie < first_position) return Status::bad_cookie;
  Window window;
  do {
    TRY(read_window(fs, run, directory, after_cookie, ahead, std::clamp<size_t>(expected, 1, window_max),
                    window));
    for (const ListedEntry& entry : window.entries) {
      if (!TRY(each(entry))) return false;
      after_cookie = entry.cookie;
    }
  } while (!window.end);
  return true;
}

}  // namespace perdure::fs
