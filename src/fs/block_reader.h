// BlockReader: blocks from the block store into the page cache, each checked against its CRC.
//
// A run that misses blocks faults; they are read asynchronously, consecutive ones in one request, and the
// run executes again. A block that somebody else is reading already is waited for, not read twice. A block
// that cannot be read, or whose CRC is wrong, is asked for elsewhere, if there is such a place, and written
// again. If it is not right there either, it is remembered as bad: the run that executes again gets
// Status::io_error instead of a fault without end. A later access tries again. While a block is being read it
// must not be allocated anew: whoever frees blocks asks under_way(). Thread: the loop.
#pragma once

#include <absl/container/btree_map.h>

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "fs/block_allocator.h"
#include "fs/file_system.h"
#include "fs/page_cache.h"

namespace perdure::fs {

struct WantedBlock {
  BlockNo block;
  uint32_t crc = 0;
};

class BlockReader {
 public:
  // `retry`: a bad block gives errors for so long before it is read again.
  BlockReader(env::Env& env, store::BlockStore& blocks, PageCache& cache, env::Duration retry)
      : env_(env), blocks_(blocks), cache_(cache), retry_(retry) {}

  // Gives the content of a block as somebody else has it, right or not; or an error, if nobody has. Always
  // calls `done`, and never inline.
  using Elsewhere = std::function<void(BlockNo block, env::Done<PageRef> done)>;
  void set_elsewhere(Elsewhere elsewhere) { elsewhere_ = std::move(elsewhere); }

  // The page, if it is in memory; a null page if it must be read (miss()); or io_error.
  Outcome<PageRef> find(Run& run, BlockNo block);
  // Notes in the run that these are missing. The caller returns Stop::fault().
  void miss(Run& run, std::vector<WantedBlock> wanted);
  // The page; faults if it is not in memory.
  Outcome<PageRef> get(Run& run, BlockNo block, uint32_t crc);
  // Starts reading what is neither in memory nor under way, and nobody waits for it.
  void read_ahead(std::span<const WantedBlock> wanted, uint32_t tick);

  // One of the blocks is being read.
  bool under_way(const BlockRange& range) const;
  // Runs the task when the last of those, which there is, has been read, well or badly.
  void when_read(const BlockRange& range, env::Task task);
  uint64_t blocks_under_way() const { return blocks_under_way_; }
  // They are allocated anew: what was known of their content is wrong.
  void forget(const BlockRange& range);

  struct Figures {
    uint64_t blocks_read = 0, requests = 0, joined = 0, bad = 0, mended = 0;
  };
  const Figures& figures() const { return figures_; }

 private:
  // Consecutive blocks that are being read.
  struct Fetch {
    BlockNo first;
    std::vector<uint32_t> crcs;
    std::vector<PageRef> pages;  // null: could not be read
    std::string problem;         // of the last one that could not
    uint32_t tick = 0;
    std::vector<env::Task> waiters;
    bool right(size_t i) const;
  };
  struct Bad {
    env::Instant since;
    bool told = false;  // some run has got the error
  };
  // Calls begin(consecutive blocks that must be read) and join(fetch under way) for what is not in memory.
  template <class Begin, class Join>
  void sort_out(std::span<const WantedBlock> wanted, Begin&& begin, Join&& join);
  std::shared_ptr<Fetch> start(std::span<const WantedBlock> wanted, uint32_t tick);
  void read_singly(const std::shared_ptr<Fetch>& fetch, size_t index);
  void mend(const std::shared_ptr<Fetch>& fetch, size_t index);
  void finish(const std::shared_ptr<Fetch>& fetch);
  void mark_bad(BlockNo block, const std::string& why);
  // The last one that reads any of these; nullptr: there is none.
  Fetch* last_of(const BlockRange& range) const;

  static constexpr size_t request_blocks_max = 256;
  static constexpr size_t bad_max = 65536;

  env::Env& env_;
  store::BlockStore& blocks_;
  PageCache& cache_;
  const env::Duration retry_;
  Elsewhere elsewhere_;
  absl::btree_map<BlockNo, std::shared_ptr<Fetch>> fetches_;  // by first block; they do not overlap
  absl::btree_map<BlockNo, Bad> bad_;
  uint64_t blocks_under_way_ = 0;
  Figures figures_;
  const std::shared_ptr<bool> alive_ = std::make_shared<bool>();
};

}  // namespace perdure::fs
