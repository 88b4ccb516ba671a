// What a file block holds. It is looked up in this order: dirty page, page row, extent; a page row or extent
// counts only if it is not cut off; else the block is a hole. Behind the end of the file all bytes are zero.
// Helpers that the operations on file content share.
#pragma once

#include <absl/container/inlined_vector.h>

#include <optional>

#include "fs/extents.h"
#include "fs/file_system.h"

namespace perdure::fs {

// Of several outcomes the Stop that ends the run, if there is one: a fault comes before all others, because
// something has been noted as missing.
template <class... Outcomes>
std::optional<Stop> first_stop(const Outcomes&... outcomes) {
  std::optional<Stop> stop;
  const auto consider = [&stop](const auto& outcome) {
    if (!outcome && (!stop || outcome.error().is_fault())) stop = outcome.error();
  };
  (consider(outcomes), ...);
  return stop;
}

// The block's content; a null page: a hole. Faults if it must be read.
Outcome<PageRef> content_of(FileSystem& fs, Run& run, InodeId id, const InodeRow& inode, FileBlock block);

// Which rows a file block has, cut off or not.
struct BlockRows {
  bool dirty = false, page = false, extent = false;
  bool stable() const { return page || extent; }
  bool any() const { return dirty || stable(); }
};
using Survey = absl::InlinedVector<BlockRows, 32>;
// Of the blocks first, first+1, ...
Outcome<Survey> survey(FileSystem& fs, Run& run, InodeId id, const InodeRow& inode, uint64_t first,
                       uint64_t count);

// Keeps InodeRow.blocks (as load() gives it) and PendingInodeRow.new_blocks exact while rows of blocks come
// and go: one call for each block that changes.
class BlockCount {
 public:
  BlockCount(FileSystem& fs, Run& run, InodeId id);

  void now_dirty(InodeRow& inode, BlockRows before);
  void now_stable(InodeRow& inode, BlockRows before);  // a page row or an extent, and no dirty page
  void gone(InodeRow& inode, uint64_t stable, uint64_t only_dirty);  // so many blocks have no rows any more
  void only_dirty(InodeRow& inode, BlockRows now);                   // its last page row or extent is gone

  // The inode with its size and times becomes stable.
  void store(InodeId id, const InodeRow& inode);
  // It becomes pending: unstable.
  void store_pending(InodeId id, const InodeRow& inode);
  // Only the count: the inode will be stored by the caller's caller.
  void put(InodeId id, const InodeRow& inode);

 private:
  FileSystem& fs_;
  Run& run_;
  uint64_t new_blocks_ = 0;
  bool pending_ = false;
};

// The block becomes a page row; a dirty page of it goes. `page`: bytes behind the end of the file are zero.
void put_page_row(FileSystem& fs, Run& run, InodeId id, FileBlock block, uint64_t stamp, PageRef page,
                  BlockRows before);

}  // namespace perdure::fs
