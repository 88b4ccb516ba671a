// New objects: regular files, directories, symlinks, fifos, sockets and devices.
#pragma once

#include <string_view>

#include "fs/attributes.h"
#include "fs/directory.h"

namespace perdure::fs {

enum class CreateMode : uint8_t {
  unchecked,  // an object that exists is as good
  guarded,    // Status::exists if there is one
  exclusive,  // Status::exists if there is one, unless this very request made it (the same verifier)
};

struct CreateRequest {
  FileType type = FileType::regular;
  CreateMode mode = CreateMode::guarded;
  uint64_t verifier = 0;     // exclusive only
  SetAttributes attributes;  // a size makes a sparse file
  bool inherits = true;      // the directory's list counts, if `attributes` has none
  std::string_view target;   // of a symlink
  uint32_t device_major = 0, device_minor = 0;
};

struct Created {
  InodeId inode;
  FileType type{};  // of what exists, whatever was asked for
  // A new object. If false there was one already (unchecked), its attributes are untouched, and it may be of
  // any type: the caller checks type, shares and permissions, then truncates by set_attributes() if it must.
  bool created = false;
  // The requester made it, now or by an earlier transmission of the same exclusive request: it may be opened
  // whatever its mode says.
  bool own = false;
  ChangeInfo directory;
};

// Needs search and write permission of the directory, but only search if the object exists.
// invalid_argument or name_too_long for a bad target, not_permitted for devices unless by root.
Outcome<Created> create(FileSystem& fs, Run& run, const Principal& who, InodeId directory,
                        std::string_view name, const CreateRequest& request);

}  // namespace perdure::fs
