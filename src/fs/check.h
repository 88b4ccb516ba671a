// The consistency checker of the file system: whether the rows keep the invariants of rows.h, and agree with
// each other. For `perdure check`, and at the end of tests.
//
// Checked are: inodes and the volumes that they belong to, link counts, entries and what they point to, ".."
// and entry counts of directories, positions (READDIR cookies), what nobody refers to, access control lists,
// extended attributes,
// symbolic links, extents and page rows against sizes and block counts, blocks against the allocation bitmaps
// and freed rows; and with read_blocks the checksums of all data. Unlogged rows (unstable writes) are left
// out.
//
// Rows are read through state/row_reader.h, so what this takes in memory is about 100 bytes for each inode
// and a bit for each block. The tables must not change meanwhile. Blocks.
#pragma once

#include <functional>
#include <vector>

#include "fs/file_system.h"
#include "state/findings.h"

namespace perdure::fs {

// What only the layers around know.
struct CheckSurroundings {
  std::vector<InodeId> open;      // named by some open; sorted
  std::vector<InodeId> reclaims;  // a reclaim transaction is in flight; sorted
  uint64_t blocks = 0;            // BlockStore::capacity()
  // Fills `into` with the blocks from `first` on; left out: data is not checked.
  std::function<Result<void>(BlockNo first, MutableBytes into)> read_blocks;
};

struct CheckFigures {
  uint64_t inodes = 0, directories = 0, entries = 0, xattrs = 0;
  uint64_t used_blocks = 0, freed_blocks = 0, page_rows = 0;
  uint64_t verified_blocks = 0;
};

// An error means that the rows themselves cannot be read.
Result<CheckFigures> check(FileSystem& fs, const CheckSurroundings& surroundings, state::Findings& findings);

}  // namespace perdure::fs
