// Reads a tree back over NFS, for a comparison with the model.
#pragma once

#include "bench/crash/compare.h"
#include "bench/ops.h"

namespace perdure::bench {

// All below `directory`, with content. Files beyond `file_blocks_max` are listed, but not read.
Task<NfsStatus> read_tree(Slot& slot, FileHandle directory, size_t file_blocks_max, FoundTree& found);

// A counter file's number. What is not there reads as 0.
Task<NfsStatus> read_counter(Slot& slot, FileHandle file, uint64_t& value);

}  // namespace perdure::bench
