// Volumes: making one, and finding one by its name.
#pragma once

#include <optional>
#include <string_view>

#include "fs/file_system.h"

namespace perdure::fs {

// The number is part of every inode id of the volume.
inline constexpr uint32_t volume_id_max = 0xffff;

struct NewVolume {
  VolumeId id;  // 1 .. volume_id_max, never used before
  std::string_view name;
  uint32_t root_mode = 0755, root_uid = 0, root_gid = 0;
};

// Puts the volume's row and its root directory; gives the root. Status::exists if the number or the name is
// taken, invalid_argument for a bad number, and what check_name() says of the name.
Outcome<InodeId> create_volume(FileSystem& fs, Run& run, const NewVolume& volume);

// Whose inode it is.
inline VolumeId volume_of(InodeId id) {
  return VolumeId(static_cast<uint32_t>(id.value >> inode_counter_bits) + 1);
}

std::optional<VolumeId> find_volume(FileSystem& fs, std::string_view name);

}  // namespace perdure::fs
