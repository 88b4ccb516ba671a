// ReadAhead: notices who reads a file sequentially, and reads ahead for him without making him wait.
//
// A client sends its READs several at a time and they arrive in any order, so a read continues a stream if it
// begins anywhere between what the stream has read and what was read ahead for it. Volatile, and only a
// guess: being wrong costs I/O, nothing else.
#pragma once

#include <array>

#include "fs/block_reader.h"
#include "fs/file_system.h"

namespace perdure::fs {

class ReadAhead {
 public:
  ReadAhead(BlockReader& reader, uint64_t window_bytes_max)
      : reader_(reader), window_max_(window_bytes_max) {}

  // [offset, end) was read, and came from memory.
  void after_read(FileSystem& fs, Run& run, InodeId id, const InodeRow& inode, uint64_t offset, uint64_t end);
  // [offset, end) will be read soon, somebody says: reads the beginning of it, as far as there is room.
  void will_read(FileSystem& fs, Run& run, InodeId id, const InodeRow& inode, uint64_t offset, uint64_t end);

 private:
  static constexpr uint64_t window_min = 128U << 10U;
  static constexpr uint64_t blocks_under_way_max = 2048;
  struct Stream {
    InodeId inode;
    uint64_t next = 0;    // behind the furthest byte that was read
    uint64_t ahead = 0;   // behind the furthest byte that was asked for
    uint64_t window = 0;  // 0: read once so far
    uint64_t used = 0;    // when, as a count of calls
  };
  uint64_t fetch(FileSystem& fs, Run& run, InodeId id, const InodeRow& inode, uint64_t from, uint64_t end);

  BlockReader& reader_;
  const uint64_t window_max_;
  std::array<Stream, 64> streams_;
  uint64_t calls_ = 0;
};

}  // namespace perdure::fs
