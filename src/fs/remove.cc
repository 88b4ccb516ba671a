#include "fs/remove.h"

#include "fs/access.h"
#include "fs/reclaim.h"

namespace perdure::fs {

namespace {

Outcome<void> check_removable(const InodeRow& inode, RemoveKind kind) {
  const bool directory = inode.type == FileType::directory;
  if (directory && kind == RemoveKind::not_directory) return Status::is_directory;
  if (!directory && kind == RemoveKind::directory) return Status::not_directory;
  if (directory && inode.size != 0) return Status::not_empty;
  return {};
}

}  // namespace

Outcome<Removed> remove(FileSystem& fs, Run& run, const Principal& who, InodeId directory_id,
                        std::string_view name, RemoveKind kind) {
  Directory directory = TRY(load_directory(fs, run, directory_id));
  TRY(check_name(name));
  TRY(check_permission(fs, run, directory, who, may_execute));
  const Entry entry = TRY(find_entry_for_change(fs, run, directory, name));
  if (!entry) return Status::no_entry;
  const InodeId id = entry.row->inode;
  InodeRow inode = TRY(fs.load(run, id));
  TRY(check_removal(fs, run, directory, id, inode, who));
  TRY(check_removable(inode, kind));

  TRY(unlinked(fs, run, id, inode));
  TRY(erase_entry(fs, run, directory, name));
  return Removed{id, store_directory(fs, run, directory)};
}

Outcome<void> unlinked(FileSystem& fs, Run& run, InodeId id, InodeRow& inode) {
  CHECK(inode.links > 0);
  const bool directory = inode.type == FileType::directory;
  const uint32_t left = directory ? 0 : inode.links - 1;
  // Nobody opens a directory, and a handle of one that is gone is stale.
  const bool keep = left > 0 || (!directory && TRY(fs.hooks().is_open(run, id)));
  inode.links = left;
  fs.touch_attributes(run, inode);
  if (!keep) return drop(fs, run, id, inode);
  fs.store(run, id, inode);
  return {};
}

Outcome<void> released(FileSystem& fs, Run& run, InodeId id) {
  const InodeRow inode = TRY(fs.load(run, id));
  if (inode.links > 0) return {};
  return drop(fs, run, id, inode);
}

}  // namespace perdure::fs
