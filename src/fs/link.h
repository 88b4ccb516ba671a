// LINK: one more name for an object that is not a directory.
#pragma once

#include "fs/directory.h"

namespace perdure::fs {

// is_directory, cross_device, exists, too_many_links; no_entry if the object has lost its last name.
Outcome<ChangeInfo> link(FileSystem& fs, Run& run, const Principal& who, InodeId object, InodeId directory,
                         std::string_view name);

}  // namespace perdure::fs
