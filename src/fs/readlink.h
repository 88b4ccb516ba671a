// READLINK.
#pragma once

#include <string_view>

#include "fs/file_system.h"

namespace perdure::fs {

// The target, valid until the run ends. wrong_type for anything but a symlink (RFC 8881 §18.24.4 ¶2).
Outcome<std::string_view> readlink(FileSystem& fs, Run& run, InodeId id);

}  // namespace perdure::fs
