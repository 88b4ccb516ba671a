// SEEK: where the next data or the next hole of a file begins.
#pragma once

#include "fs/file_system.h"

namespace perdure::fs {

enum class SeekWhat : uint8_t { data, hole };  // the values are data_content4's

struct SeekRegisters {
  uint64_t next = 0;  // file block: those before it are not what is looked for
  template <class Self, class V>
  static void fields(Self& r, V&& v) {
    v("next", r.next);
  }
};

struct SeekResult {
  bool eof = false;     // data: there is no more; hole: the one behind the file's end
  uint64_t offset = 0;  // bytes
};

// From byte `offset` on, which lies before the end of the file. A block is a hole if nothing was written to
// it, or if it was punched; what holds zeros is data. Looks at a bounded number of rows in a run: then waits,
// and is called again with the same arguments and registers in a new one. Changes nothing.
Outcome<SeekResult> seek(FileSystem& fs, Run& run, InodeId id, const InodeRow& inode, uint64_t offset,
                         SeekWhat what, SeekRegisters& registers);

}  // namespace perdure::fs
