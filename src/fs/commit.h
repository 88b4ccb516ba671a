// COMMIT: what unstable writes have left of a file becomes stable.
#pragma once

#include "fs/file_system.h"

namespace perdure::fs {

enum class CommitStep : uint8_t {
  start,    // nothing has been done; or another transaction is placing the file's pages, and this one waits
  placing,  // the dirty pages before `next` are stable; those from there on are next
  placed,   // a chunk of pages is on its way to fresh blocks, or there; it is mapped next
};

// Plain data. After a restoration the placement is unknown, and there are no dirty pages: COMMIT starts again
// and answers under the new write verifier.
struct CommitRegisters {
  CommitStep step = CommitStep::start;
  uint64_t placement = 0;
  FileBlock next, end;  // what is still to be done
  template <class Self, class V>
  static void fields(Self& r, V&& v) {
    v("step", r.step), v("placement", r.placement), v("next", r.next), v("end", r.end);
  }
};

// Makes the bytes [offset, offset + count) stable (count 0: to the end), and the file's size, times and
// change attribute. A few pages go into this run's record; many are placed and mapped in chunks, each in a
// step of its own: then the caller calls it again with the same arguments and registers in a new run. What
// was written after the call may, but need not, be stable afterwards.
Outcome<void> commit(FileSystem& fs, Run& run, InodeId id, uint64_t offset, uint64_t count,
                     CommitRegisters& registers);

}  // namespace perdure::fs
