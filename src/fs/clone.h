// CLONE and COPY within the server: content of a file becomes another's by sharing blocks, whose references
// are counted (sharing.h). What is not on blocks yet, page rows and dirty pages, is copied into the record.
#pragma once

#include "fs/file_system.h"

namespace perdure::fs {

// What both have to do. The ranges may lie in one file, but must not overlap.
struct CloneRange {
  InodeId from, to;
  uint64_t from_offset = 0, to_offset = 0, count = 0;  // bytes; count 0: to the end of `from`
};

// How far it has come. Plain data.
struct CloneRegisters {
  bool started = false;
  uint64_t count = 0;       // bytes in all, once it is started
  uint64_t done = 0;        // of them
  uint8_t write_backs = 0;  // waited for, in the hope of space
  template <class Self, class V>
  static void fields(Self& r, V&& v) {
    v("started", r.started), v("count", r.count), v("done", r.done), v("write_backs", r.write_backs);
  }
};

// Checks the range, and gives its count of bytes.
//   invalid_argument    it begins or ends behind the source, or overlaps itself
//   too_big
Outcome<uint64_t> clone_count(FileSystem& fs, Run& run, const CloneRange& range);

// The source as it is at one moment: while it goes on, whoever wants to change one of the files waits.
// Offsets and count are multiples of block_bytes, but that the count may end with the source if what is
// behind it in the target is overwritten or nothing: else invalid_argument. Takes a bounded number of rows in
// a run, then waits, and is called again with the same arguments and registers in a new one. Permissions are
// the caller's affair.
Outcome<void> clone(FileSystem& fs, Run& run, const Principal& who, const CloneRange& range,
                    CloneRegisters& registers);

// Returns how many bytes were copied, all stable: less than asked for after copy_bytes_max or when space runs
// out. Whole blocks are shared, where both offsets are alike within a block; others are copied
// through records. Others may change the files meanwhile. Waits as clone() does.
inline constexpr uint64_t copy_bytes_max = uint64_t{16} << 30U;        // that are shared
inline constexpr uint64_t copy_moved_bytes_max = uint64_t{64} << 20U;  // that are copied
Outcome<uint64_t> copy(FileSystem& fs, Run& run, const Principal& who, const CloneRange& range,
                       CloneRegisters& registers);

}  // namespace perdure::fs
