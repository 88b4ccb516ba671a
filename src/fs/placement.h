// Placements: pages on their way to fresh blocks.
//
// A placement reserves blocks, writes pages to them and flushes; only then may an extent name the blocks
// (DESIGN.md §10 rule 9). It takes two runs of its transaction:
//
//   place()    blocks are reserved; when the run commits the I/O starts; the transaction waits and is resumed
//   find()     in a later run: writing, written or failed; or unknown: the server has been restarted since,
//              and the transaction starts again
//   take()     the effective run: the mapped blocks become used, the others are free again
//   abandon()  it failed, or its purpose is gone: all its blocks are free again, at once
//
// A failed flush fails every placement that had written anything by then: it is not known what the device
// still holds. Volatile, all of it. Thread: the loop.
#pragma once

#include <absl/container/btree_map.h>

#include <memory>
#include <string>
#include <vector>

#include "fs/block_allocator.h"
#include "fs/page_cache.h"

namespace perdure::fs {

struct PlacedPage {
  enum class Source : uint8_t {
    dirty,     // a dirty page with this stamp
    page_row,  // a page row with this stamp
    write,     // a stable write's own data
  };
  InodeId inode;
  FileBlock file_block;
  uint64_t stamp = 0;
  PageRef page;
  Source source{};
  // Filled in by place().
  BlockNo block;
  uint32_t crc = 0;
};

struct Placement {
  enum class State : uint8_t { writing, written, failed };
  std::vector<PlacedPage> pages;  // in the order in which place() got them
  State state = State::writing;
  Status failure = Status::ok;  // io_error or no_space

  TransactionId waiter;
  bool pledged = false;  // the pages are dirty pages or page rows, not a write's own
  size_t writes_under_way = 0;
  uint64_t flush_failures = 0;  // of the device, when its first write began
  uint32_t tick = 0;
};

using PlacementId = uint64_t;  // never given twice; 0: none

class Placements {
 public:
  Placements(FileSystem& fs, store::BlockStore& blocks, BlockAllocator& allocator, PageCache& cache)
      : fs_(fs), blocks_(blocks), allocator_(allocator), cache_(cache) {}

  // 0: there are not so many free blocks. All pages come from a write, or none does.
  PlacementId place(Run& run, std::vector<PlacedPage> pages);
  Placement* find(PlacementId id);
  // `mapped[i]`: an extent names the block of page i from this run on.
  void take(Run& run, PlacementId id, const std::vector<bool>& mapped);
  void abandon(PlacementId id);
  size_t under_way() const { return placements_.size(); }

  struct Figures {
    uint64_t pages_written = 0, writes = 0, flushes = 0, failures = 0;
  };
  const Figures& figures() const { return figures_; }

 private:
  void start(PlacementId id);
  void written(PlacementId id, const Result<void>& result);
  void flush(PlacementId id);
  void flushed(const Result<void>& result);
  void end(PlacementId id, Placement::State state);

  static constexpr size_t write_blocks_max = 256;

  FileSystem& fs_;
  store::BlockStore& blocks_;
  BlockAllocator& allocator_;
  PageCache& cache_;
  absl::btree_map<PlacementId, std::unique_ptr<Placement>> placements_;
  std::vector<PlacementId> flushing_, flush_next_;  // waiting for the flush under way; for the one after it
  uint64_t last_id_ = 0, flush_failures_ = 0;
  Figures figures_;
  const std::shared_ptr<bool> alive_ = std::make_shared<bool>();
};

// The blocks of these pages.
std::vector<BlockRange> blocks_of(const std::vector<PlacedPage>& pages);

}  // namespace perdure::fs
