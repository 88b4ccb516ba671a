// Write-back: moves dirty pages and page rows of many files to the block store, placed sequentially. The
// server runs it in a transaction of its own: now and then, when the hook want_write_back asks for it, before
// each checkpoint (so that page rows need not go through the checkpoint store), and before a clean stop.
#pragma once

#include "fs/file_system.h"

namespace perdure::fs {

enum class WriteBackScope : uint8_t {
  aged,        // dirty pages that have not been written to since `age` ago
  checkpoint,  // these, and every page row
  everything,  // every dirty page and page row
};

enum class WriteBackStep : uint8_t {
  placing,  // pages before `position` are done; the next ones are chosen
  placed,   // chunks are on their way to fresh blocks, or there; the oldest is mapped next
};

// Plain data. After a restoration the placements are unknown: their pages are left to another pass.
struct WriteBackRegisters {
  WriteBackStep step = WriteBackStep::placing;
  // On their way, the oldest first; 0: none. Several, so that the disk has work while one is flushed and
  // mapped.
  std::array<uint64_t, 4> placements{};
  PageKey position;
  uint64_t dirty_before = 0, rows_before = 0;  // stamps: what is older is moved
  template <class Self, class V>
  static void fields(Self& r, V&& v) {
    v("step", r.step), v("placements", r.placements), v("position", r.position);
    v("dirty_before", r.dirty_before), v("rows_before", r.rows_before);
  }
};

// A pass that moves what there is now; one of everything that finds nothing but files that a COMMIT is
// placing waits for it. `age` is for dirty pages.
WriteBackRegisters begin_write_back(FileSystem& fs, WriteBackScope scope, env::Duration age = {});

// True: the pass is over; pages that were changed meanwhile, or that a COMMIT is placing, are left. False:
// commit, and call it again in a new run. It waits for its I/O, and may fault. Each run maps at most one
// chunk, which is an effective step of its own. A status (io_error, no_space): the pass has ended early;
// nothing is lost, another one may be tried later.
Outcome<bool> write_back(FileSystem& fs, Run& run, WriteBackRegisters& registers);

}  // namespace perdure::fs
