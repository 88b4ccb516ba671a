#include "fs/link.h"

#include "fs/access.h"

namespace perdure::fs {

Outcome<ChangeInfo> link(FileSystem& fs, Run& run, const Principal& who, InodeId id, InodeId directory_id,
                         std::string_view name) {
  Directory directory = TRY(load_directory(fs, run, directory_id));
  TRY(check_name(name));
  TRY(check_permission(fs, run, directory, who, may_execute));
  InodeRow inode = TRY(fs.load(run, id));
  if (inode.type == FileType::directory) return Status::is_directory;
  if (inode.volume != directory.row.volume) return Status::cross_device;
  if (TRY(find_entry_for_change(fs, run, directory, name))) return Status::exists;
  TRY(check_permission(fs, run, directory, who, right_to_add(inode.type)));
  if (inode.links == 0) return Status::no_entry;
  if (inode.links >= links_max) return Status::too_many_links;

  TRY(insert_entry(fs, run, directory, name, id, inode.type));
  ++inode.links;
  fs.touch_attributes(run, inode);
  fs.store(run, id, inode);
  return store_directory(fs, run, directory);
}

}  // namespace perdure::fs
