// ALLOCATE and DEALLOCATE: room for what will be written, and holes.
#pragma once

#include "fs/file_system.h"

namespace perdure::fs {

struct AllocateRegisters {
  uint8_t write_backs = 0;  // waited for, in the hope of space
  template <class Self, class V>
  static void fields(Self& r, V&& v) {
    v("write_backs", r.write_backs);
  }
};

// The file becomes at least offset + count long, if there are blocks for all of the range that may be
// without: else no_space, and nothing is changed. What is overwritten goes to fresh blocks in this file
// system, so the blocks are not set aside: others may take them meanwhile. Waits for space, and is then
// called again with the same arguments and registers in a new run.
Outcome<void> allocate(FileSystem& fs, Run& run, const Principal& who, InodeId id, uint64_t offset,
                       uint64_t count, AllocateRegisters& registers);

struct DeallocateRegisters {
  bool started = false;
  uint64_t next = 0;  // file block: those before it are holes
  template <class Self, class V>
  static void fields(Self& r, V&& v) {
    v("started", r.started), v("next", r.next);
  }
};

// The bytes [offset, offset + count) become zero; whole blocks among them become holes. The size stays. Takes
// a bounded number of rows in a run, then waits, and is called again with the same arguments and registers in
// a new one: until its end a reader may see a beginning of the range punched and the rest not yet. Succeeds
// in a full store.
Outcome<void> deallocate(FileSystem& fs, Run& run, const Principal& who, InodeId id, uint64_t offset,
                         uint64_t count, DeallocateRegisters& registers);

}  // namespace perdure::fs
