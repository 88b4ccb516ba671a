// WRITE: content of a regular file. Three ways, all of them atomic:
//
//   unstable        dirty pages beside the rows and a pending inode; nothing is logged
//   stable, small   page rows and the inode in this run's record
//   stable, big     whole blocks go to fresh blocks first; then one effective step maps them, its partial
//                   head and tail blocks being page rows
//
// The data is copied once, into pages.
#pragma once

#include <span>

#include "fs/file_system.h"

namespace perdure::fs {

// As in NFS (RFC 8881 §18.32): what is stable when WRITE answers.
enum class Stable : uint8_t { unstable, data_sync, file_sync };

// The bytes to be written, where they were received: one piece or several.
class WriteData {
 public:
  // `pages`: what the memory of `piece` is made of, if it is pages that may be kept.
  WriteData(Bytes piece, const PageRun* pages = nullptr) : one_(piece), size_(piece.size()), pages_(pages) {}
  WriteData(std::span<const Bytes> pieces) : pieces_(pieces) {
    for (const Bytes piece : pieces) size_ += piece.size();
  }
  uint64_t size() const { return size_; }
  void copy(uint64_t offset, MutableBytes to) const;
  // The page that holds the block_bytes bytes from `offset` on; null if they must be copied.
  PageRef page(uint64_t offset) const;

 private:
  Bytes one_;
  std::span<const Bytes> pieces_;  // if empty: one_
  uint64_t size_ = 0;
  const PageRun* pages_ = nullptr;
};

enum class WriteStep : uint8_t {
  start,   // nothing has been done; or the write waits for space, and looks again
  placed,  // its whole blocks are on their way to fresh blocks, or there
};

// Plain data. After a restoration the placement is unknown: the write starts again from its arguments.
struct WriteRegisters {
  WriteStep step = WriteStep::start;
  uint8_t write_backs = 0;  // waited for, in the hope of space
  uint64_t placement = 0;
  template <class Self, class V>
  static void fields(Self& r, V&& v) {
    v("step", r.step), v("write_backs", r.write_backs), v("placement", r.placement);
  }
};

struct WriteResult {
  uint32_t count = 0;
  Stable committed{};
};

// Writes all of `data`, or fails and changes nothing. Whoever may write is the caller's affair; `who` decides
// whether the set-id bits survive. Waits (for fresh blocks to be written, for space, for write-back): the
// caller then calls it again with the same arguments and registers in a new run.
Outcome<WriteResult> write(FileSystem& fs, Run& run, const Principal& who, InodeId id, uint64_t offset,
                           const WriteData& data, Stable stable, WriteRegisters& registers);

}  // namespace perdure::fs
