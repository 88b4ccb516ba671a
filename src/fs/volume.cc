#include "fs/volume.h"

#include "fs/access.h"
#include "fs/directory.h"

namespace perdure::fs {

Outcome<InodeId> create_volume(FileSystem& fs, Run& run, const NewVolume& volume) {
  if (volume.id.value == 0 || volume.id.value > volume_id_max) return Status::invalid_argument;
  TRY(check_name(volume.name));
  if (TRY(fs.volumes.get(run, {volume.id})) != nullptr) return Status::exists;
  if (find_volume(fs, volume.name)) return Status::exists;

  VolumeRow row;
  row.volume_name = volume.name;
  for (uint64_t* word : {&row.uuid[0], &row.uuid[1], &row.name_key.k0, &row.name_key.k1})
    *word = fs.env().random();
  row.inode_limit = 1;
  fs.volumes.put(run, {volume.id}, row);
  const InodeId root = fs.new_inode_id(run, volume.id);
  row = *TRY(fs.volumes.get(run, {volume.id}));
  row.root = root;
  fs.volumes.put(run, {volume.id}, std::move(row));

  InodeRow inode;
  inode.type = FileType::directory;
  inode.volume = volume.id;
  inode.mode = volume.root_mode & mode_bits;
  inode.uid = volume.root_uid;
  inode.gid = volume.root_gid;
  inode.links = 2;
  inode.parent = root;
  inode.change = fs.new_change();
  inode.atime_ns = inode.mtime_ns = inode.ctime_ns = inode.btime_ns = run.now().time_since_epoch().count();
  fs.inodes.put_new(run, {root}, inode);
  fs.dirents.known_empty({root, 0}, {root, ~uint64_t{0}});
  return root;
}

std::optional<VolumeId> find_volume(FileSystem& fs, std::string_view name) {
  std::optional<VolumeId> found;
  fs.volumes.for_each([&](const VolumeRow::Key& key, const VolumeRow& row) {
    if (row.volume_name == name) found = key.volume;
  });
  return found;
}

}  // namespace perdure::fs
