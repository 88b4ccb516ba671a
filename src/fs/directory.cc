#include "fs/directory.h"

#include <tuple>

namespace perdure::fs {

namespace {

constexpr uint64_t chain_max = 256;

struct Chain {
  Entry found;
  uint64_t begin = 0, end = 0;  // its positions; end is the first free one
};

// Follows the chain of `name` to its end, or only up to the name.
Outcome<Chain> follow(FileSystem& fs, Run& run, const Directory& directory, std::string_view name,
                      bool to_end) {
  Chain chain;
  chain.begin = chain.end = fs.position_of(directory.row.volume, name);
  for (; chain.end < chain.begin + chain_max; ++chain.end) {
    auto row = fs.dirents.get(run, {directory.id, chain.end});
    if (!row) {
      // A change needs to know where the chain ends as well: both are fetched at once.
      if (to_end && chain.end == chain.begin)
        std::ignore = fs.dirents.get(run, {directory.id, chain.begin + 1});
      return row.error();
    }
    if (*row == nullptr) break;
    if ((*row)->entry_name == name) {
      chain.found = {chain.end, *row};
      if (!to_end) break;
    }
  }
  return chain;
}

void count_entry(InodeRow& directory, FileType type, bool added) {
  directory.size += added ? 1 : uint64_t(-1);
  if (type == FileType::directory) directory.links += added ? 1 : uint32_t(-1);
}

}  // namespace

Outcome<void> check_name(std::string_view name) {
  if (name.empty()) return Status::invalid_argument;
  if (name.size() > name_bytes_max) return Status::name_too_long;
  if (name == "." || name == "..") return Status::bad_name;
  if (name.find_first_of(std::string_view("/\0", 2)) != name.npos) return Status::bad_character;
  return {};
}

Outcome<Directory> load_directory(FileSystem& fs, Run& run, InodeId id) {
  Directory directory{id, TRY(fs.load(run, id))};
  if (directory.row.type != FileType::directory) return Status::not_directory;
  return directory;
}

Outcome<Entry> find_entry(FileSystem& fs, Run& run, const Directory& directory, std::string_view name) {
  return TRY(follow(fs, run, directory, name, false)).found;
}

Outcome<Entry> find_entry_for_change(FileSystem& fs, Run& run, const Directory& directory,
                                     std::string_view name) {
  return TRY(follow(fs, run, directory, name, true)).found;
}

Outcome<void> insert_entry(FileSystem& fs, Run& run, Directory& directory, std::string_view name,
                           InodeId inode, FileType type) {
  const Chain chain = TRY(follow(fs, run, directory, name, true));
  CHECK(!chain.found);
  if (type == FileType::directory && directory.row.links == UINT32_MAX) return Status::too_many_links;
  if (chain.end == chain.begin + chain_max) return Status::no_space;
  fs.dirents.put(run, {directory.id, chain.end}, {inode, type, std::string(name)});
  count_entry(directory.row, type, true);
  return {};
}

Outcome<void> replace_entry(FileSystem& fs, Run& run, Directory& directory, std::string_view name,
                            InodeId inode, FileType type) {
  const Entry entry = TRY(find_entry(fs, run, directory, name));
  CHECK(entry);
  count_entry(directory.row, entry.row->type, false);
  count_entry(directory.row, type, true);
  fs.dirents.put(run, {directory.id, entry.position}, {inode, type, std::string(name)});
  return {};
}

// The chain's last entry moves into the hole. A READDIR whose cookie lies between the two positions misses
// it: that takes two names with the same 55-bit hash in one directory, and a reply that ended between them.
Outcome<void> erase_entry(FileSystem& fs, Run& run, Directory& directory, std::string_view name) {
  const Chain chain = TRY(follow(fs, run, directory, name, true));
  CHECK(chain.found);
  count_entry(directory.row, chain.found.row->type, false);
  const uint64_t last = chain.end - 1;
  if (chain.found.position != last) {
    const DirentRow* moved = TRY(fs.dirents.get(run, {directory.id, last}));
    fs.dirents.put(run, {directory.id, chain.found.position}, *moved);
  }
  fs.dirents.erase(run, {directory.id, last});
  return {};
}

ChangeInfo store_directory(FileSystem& fs, Run& run, Directory& directory) {
  const uint64_t before = directory.row.change;
  fs.touch_content(run, directory.row);
  fs.store(run, directory.id, directory.row);
  return {before, directory.row.change};
}

}  // namespace perdure::fs
