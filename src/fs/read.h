// READ: the content of a regular file, as shared pages. Nothing is copied.
#pragma once

#include <absl/container/inlined_vector.h>

#include "fs/file_system.h"

namespace perdure::fs {

inline constexpr uint32_t read_bytes_max = 4U << 20U;

// The bytes are those of `pages`, one behind the other, from `first_offset` of the first page on, `length` of
// them.
struct ReadResult {
  absl::InlinedVector<PageRef, 8> pages;
  uint32_t first_offset = 0;
  uint32_t length = 0;
  bool eof = false;
};

// `inode` is what FileSystem::load() gave. Gives less than `count` bytes only at the end of the file, or if
// `count` is above read_bytes_max. Permissions are the caller's affair. Changes nothing. Notices sequential
// readers and reads ahead for them.
Outcome<ReadResult> read(FileSystem& fs, Run& run, InodeId id, const InodeRow& inode, uint64_t offset,
                         uint64_t count);

}  // namespace perdure::fs
