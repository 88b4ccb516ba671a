// The limits of the data side. The defaults are for a server with some gigabytes of memory; tests use small
// ones.
#pragma once

#include <cstdint>

#include "env/env.h"

namespace perdure::fs {

struct DataOptions {
  uint64_t memory_bytes = 256U << 20U;        // of pages: clean ones have what the others leave
  uint64_t dirty_bytes_max = 128U << 20U;     // above it an unstable write waits for write-back
  uint64_t dirty_bytes_low = 32U << 20U;      // above it write-back is asked for
  uint64_t page_row_bytes_max = 128U << 20U;  // the same for stable writes and page rows
  uint64_t page_row_bytes_low = 64U << 20U;
  uint32_t record_bytes_max = 64U << 10U;  // a stable write up to this size travels in the record
  uint32_t record_blocks_max = 16;         // of a COMMIT's pages too, if there are no more
  uint32_t commit_blocks = 256;            // placed and mapped at a time
  uint32_t write_back_blocks = 1024;
  uint32_t rows_max = 256;        // extents and page rows that one run cuts off or frees
  uint64_t margin_blocks = 1024;  // not given to writes: truncations and COMMITs go on in a full store
  uint64_t grow_below = 16384;    // with fewer available blocks the block store is made larger
  uint64_t read_ahead_bytes_max = 2U << 20U;
  env::Duration bad_block_retry = std::chrono::seconds(1);
};

}  // namespace perdure::fs
