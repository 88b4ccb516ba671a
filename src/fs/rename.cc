#include "fs/rename.h"

#include "fs/access.h"
#include "fs/remove.h"

namespace perdure::fs {

namespace {

// Deeper trees than this exist, but no directory with subdirectories moves within one: the way up is read in
// one run.
constexpr size_t depth_max = 4096;

// invalid_argument if `target` is `moved` or lies below it.
Outcome<void> check_not_below(FileSystem& fs, Run& run, const Directory& target, InodeId moved_id,
                              const InodeRow& moved) {
  if (target.id == moved_id) return Status::invalid_argument;
  if (moved.links == 2) return {};  // nothing lies below a directory without subdirectories
  InodeId at = target.id, parent = target.row.parent;
  for (size_t depth = 0; at != parent; ++depth) {
    if (depth == depth_max) return Status::name_too_long;
    if (parent == moved_id) return Status::invalid_argument;
    at = parent;
    parent = TRY(fs.load(run, at)).parent;
  }
  return {};
}

Outcome<void> check_compatible(const InodeRow& moved, const InodeRow& target) {
  const bool directory = moved.type == FileType::directory;
  if (directory != (target.type == FileType::directory)) return Status::exists;
  if (directory && target.size != 0) return Status::exists;
  return {};
}

}  // namespace

Outcome<Renamed> rename(FileSystem& fs, Run& run, const Principal& who, InodeId from_id,
                        std::string_view from_name, InodeId to_id, std::string_view to_name) {
  TRY(check_name(from_name));
  TRY(check_name(to_name));
  const bool same_directory = from_id == to_id;
  Directory from = TRY(load_directory(fs, run, from_id));
  Directory other = same_directory ? Directory{} : TRY(load_directory(fs, run, to_id));
  Directory& to = same_directory ? from : other;
  if (from.row.volume != to.row.volume) return Status::cross_device;
  TRY(check_permission(fs, run, from, who, may_execute));
  TRY(check_permission(fs, run, to, who, may_execute));
  const Entry source = TRY(find_entry_for_change(fs, run, from, from_name));
  const Entry target = TRY(find_entry_for_change(fs, run, to, to_name));
  if (!source) return Status::no_entry;
  const InodeId id = source.row->inode;
  const FileType type = source.row->type;
  if (target && target.row->inode == id) return Renamed{id, InodeId(0), unchanged(from), unchanged(to)};

  InodeRow moved = TRY(fs.load(run, id));
  TRY(check_removal(fs, run, from, id, moved, who));
  TRY(check_permission(fs, run, to, who, right_to_add(type)));
  const bool new_parent = type == FileType::directory && !same_directory;
  if (new_parent) {
    TRY(check_permission(fs, run, id, moved, who, may_write));  // its ".." changes
    TRY(check_not_below(fs, run, to, id, moved));
  }
  Renamed result{.inode = id};
  if (target) {
    result.replaced = target.row->inode;
    InodeRow replaced = TRY(fs.load(run, result.replaced));
    TRY(check_removal(fs, run, to, result.replaced, replaced, who));
    TRY(check_compatible(moved, replaced));
    TRY(unlinked(fs, run, result.replaced, replaced));
    TRY(replace_entry(fs, run, to, to_name, id, type));
  } else {
    TRY(insert_entry(fs, run, to, to_name, id, type));
  }
  TRY(erase_entry(fs, run, from, from_name));
  if (new_parent) moved.parent = to_id;
  fs.touch_attributes(run, moved);
  fs.store(run, id, moved);
  result.from = store_directory(fs, run, from);
  result.to = same_directory ? result.from : store_directory(fs, run, to);
  return result;
}

}  // namespace perdure::fs
