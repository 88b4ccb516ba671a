#include "fs/lookup.h"

#include "fs/access.h"
#include "fs/directory.h"

namespace perdure::fs {

namespace {

// LOOKUP and LOOKUPP alone tell a symlink, which the client would have to follow, from other non-directories.
Outcome<Directory> load_searchable(FileSystem& fs, Run& run, const Principal& who, InodeId id) {
  Directory directory{id, TRY(fs.load(run, id))};
  if (directory.row.type == FileType::symlink) return Status::is_symlink;
  if (directory.row.type != FileType::directory) return Status::not_directory;
  TRY(check_permission(fs, run, directory, who, may_execute));
  return directory;
}

}  // namespace

Outcome<Object> lookup(FileSystem& fs, Run& run, const Principal& who, InodeId id, std::string_view name) {
  const Directory directory = TRY(load_searchable(fs, run, who, id));
  TRY(check_name(name));
  const Entry entry = TRY(find_entry(fs, run, directory, name));
  if (!entry) return Status::no_entry;
  return Object{entry.row->inode, entry.row->type};
}

Outcome<InodeId> lookup_parent(FileSystem& fs, Run& run, const Principal& who, InodeId id) {
  const Directory directory = TRY(load_searchable(fs, run, who, id));
  if (directory.row.parent == id) return Status::no_entry;
  return directory.row.parent;
}

}  // namespace perdure::fs
