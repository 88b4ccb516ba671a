// The two halves of moving pages to fresh blocks that COMMIT and write-back share: choosing pages, and the
// effective step that maps them once they are there. Between the two other transactions may change the file:
// a page is mapped only if it has not changed since it was copied out (DESIGN.md §10 rule 10).
#pragma once

#include <vector>

#include "fs/file_system.h"
#include "fs/placement.h"

namespace perdure::fs {

enum class IfChanged : uint8_t {
  leave,          // a page that has changed stays dirty
  put_in_record,  // its present content becomes a page row: what it held when it was chosen is stable then
};

// Maps the pages of a placement that has been written. Everything about one file that is pending becomes
// stable with its pages. May fault, and has changed nothing then.
Outcome<void> map_placement(FileSystem& fs, Run& run, PlacementId id, IfChanged if_changed);

// These dirty pages become page rows of this run's record, and the inode stable.
Outcome<void> put_in_record(FileSystem& fs, Run& run, InodeId id, const std::vector<FileBlock>& blocks);

}  // namespace perdure::fs
