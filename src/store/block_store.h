// File data: a flat space of 4 KiB blocks. Its layout is docs/formats/blocks.md.
//
// A block that a durable extent refers to is never overwritten (fs/ sees to that); what is written is durable
// after a flush() that is called after its completion. The store does not know which blocks are in use:
// allocation is rows (fs/). Checksums are in the extent rows; whoever reads checks them.
//
// Failure: blocks outside the store are `invalid`, and nothing happens. A failed write leaves each of its
// blocks old, new or torn. After a failed flush what was not flushed may be lost, whatever a later flush
// would say: so every later write and flush fails with `stopped`. Destroying a store with calls under way is
// a bug. Thread: the loop of its Env.
#pragma once

#include <memory>
#include <span>
#include <string>

#include "base/ids.h"
#include "base/page.h"
#include "env/env.h"

namespace perdure::store {

class BlockStore {
 public:
  virtual ~BlockStore() = default;

  // Reads blocks `first`, first+1, ... into new pages, which replace the elements of `pages` when done. After
  // a failure the elements are as they were.
  virtual void read(BlockNo first, std::span<PageRef> pages, env::Done<void> done) = 0;
  // Writes consecutive blocks. Keeps references to the pages until done.
  virtual void write(BlockNo first, std::span<const PageRef> pages, env::Done<void> done) = 0;
  // All writes that completed before the call are on stable storage.
  virtual void flush(env::Done<void> done) = 0;
  virtual void discard(BlockNo first, uint64_t count) = 0;

  // Blocks that exist now: valid numbers are 1 to capacity() - 1 (block 0 is the store's header).
  virtual uint64_t capacity() const = 0;
  // Blocks that could exist: capacity() may grow up to here.
  virtual uint64_t capacity_max() const = 0;
  // Adds a large step of zeroed blocks, or fewer where there is no room for more. no_space if the file system
  // beneath is full or capacity_max() is reached. Calls made during a growth share its outcome.
  virtual void grow(env::Done<void> done) = 0;
};

struct BlockStoreOptions {
  uint64_t bytes_max = 0;  // 0: as far as the file system beneath allows; a device has its own size
  uint64_t step_bytes = 256U << 20U;  // growth by this much at a time
  // Left free on the file system beneath, for the log and the checkpoint store.
  uint64_t keep_free_bytes = 1U << 30U;
};

// One file or device at `path`, created with one step of blocks if it does not exist, locked while open.
void open_block_file(env::Env& env, std::string path, const BlockStoreOptions& options,
                     env::Done<std::unique_ptr<BlockStore>> done);

}  // namespace perdure::store
