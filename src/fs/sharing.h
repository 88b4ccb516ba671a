// Blocks that several extents name: counting references up and down (rows.h, BlockReferenceRow).
#pragma once

#include <span>
#include <vector>

#include "fs/block_allocator.h"
#include "fs/file_system.h"

namespace perdure::fs {

// One more extent names each of these blocks. May fault, or end with Status::resource, and has changed
// nothing then.
Outcome<void> share_blocks(FileSystem& fs, Run& run, std::span<const BlockRange> ranges);

// One extent less names each of these blocks, as often as they stand here. Those that none names any more go
// to `unreferenced`. May fault, and has changed nothing then.
Outcome<void> unshare_blocks(FileSystem& fs, Run& run, std::span<const BlockRange> ranges,
                             std::vector<BlockRange>& unreferenced);

}  // namespace perdure::fs
