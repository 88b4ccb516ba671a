// Data: the volatile side of file content: which blocks are free, which pages are in memory, what is on its
// way to the disk, and who waits for it. All of it is made anew from the rows by restored().
//
// Content goes this way (content.h says what a reader sees meanwhile):
//
//   unstable write      -> dirty page                          (write.h)
//   stable small write  -> page row, in the record             (write.h)
//   stable big write    -> fresh blocks -> extent              (write.h)
//   COMMIT              -> few: page rows; many: fresh blocks -> extents                 (commit.h)
//   write-back          -> dirty pages and page rows -> fresh blocks -> extents          (write_back.h)
//   truncation, removal -> freed row, a big one by way of a reclaim transaction          (truncate.h,
//   reclaim.h) freed row, once a checkpoint covers it -> free blocks                                (freed.h)
//
// The server's part: call trim_memory() once in a while, run write_back() when asked to and before each
// checkpoint, free_pending() after each checkpoint, and reclaim_step() for each start_reclaim hook.
// Thread: the loop. Must not be destroyed while block I/O is under way, unless that never ends.
#pragma once

#include <absl/container/btree_map.h>
#include <absl/container/btree_set.h>

#include <deque>
#include <functional>

#include "fs/block_allocator.h"
#include "fs/block_reader.h"
#include "fs/file_system.h"
#include "fs/freed.h"
#include "fs/page_cache.h"
#include "fs/placement.h"
#include "fs/read_ahead.h"
#include "fs/waiters.h"

namespace perdure::fs {

// Files that belong to one transaction for a while: others wait for it or leave the file alone.
class HeldFiles {
 public:
  explicit HeldFiles(FileSystem& fs) : fs_(fs) {}
  // Not another transaction's.
  bool is_free(const Run& run, InodeId id) const;
  // True: the file is `run`'s transaction's (perhaps it was already). Taken back if the run is undone.
  bool take(Run& run, InodeId id);
  // The caller returns Stop::wait() and looks again.
  void wait(const Run& run, InodeId id) { files_.at(id).waiters.add(run); }
  // When the run commits, the file is free if it was its transaction's, and those who wait are resumed.
  void release(Run& run, InodeId id);
  // All files of the transaction, whatever becomes of its run.
  void release_now(TransactionId holder);

 private:
  struct File {
    TransactionId holder;
    Waiters waiters;
  };
  FileSystem& fs_;
  absl::btree_map<InodeId, File> files_;
};

class Data {
 public:
  Data(FileSystem& fs, store::BlockStore& blocks, const DataOptions& options);
  ~Data();
  Data(const Data&) = delete;
  Data& operator=(const Data&) = delete;

  // After restoration.
  void restored();

  // What the data side asks of the server; each may be asked often, and may be left out.
  struct Hooks {
    std::function<void()> want_checkpoint;  // and free_pending() after it
    std::function<void()> want_freeing;     // free_pending(), again
    std::function<void()> want_write_back;  // of all dirty pages and page rows
    // A flush of the block store has failed: nothing will be written to it any more.
    std::function<void(const Error&)> failed;
  };
  Hooks hooks;

  // Admission (DESIGN.md §10 rule 5), before a run has changed anything. A write that will need `blocks` more
  // blocks: ok, no_space, or a wait until there may be room. `write_backs` is a register of the writer.
  Outcome<void> admit_blocks(Run& run, int64_t blocks, uint8_t& write_backs);
  // `pages` more dirty pages, or page rows; waits for write-back above the limits, or fails as it has failed
  // a moment ago.
  Outcome<void> admit_dirty(Run& run, uint64_t pages);
  Outcome<void> admit_page_rows(Run& run, uint64_t pages);
  // A change of the file's content waits while a CLONE is at work on it.
  Outcome<void> admit_change(const Run& run, InodeId id);

  uint64_t dirty_bytes() const;
  uint64_t page_row_bytes() const;
  // Something would be lost by stopping now: for a clean stop, write_back() until this is false.
  bool anything_dirty() const;

  // Evicts clean pages that nobody needs. `oldest_fault` as for Database::trim_memory.
  void trim_memory(uint32_t oldest_fault);

  // For the operations on content.
  void pages_gone(Run& run);  // dirty pages or page rows are fewer, once the run is committed
  void space_freed();         // look again, whoever waits for space
  // A pass of write_back() has ended. Who waits for room waits for one of everything.
  void write_back_ended(Status status, bool of_everything);
  void forget_block_content(const BlockRange& range) { reader.forget(range); }

  const DataOptions options;
  BlockAllocator allocator;
  PageCache cache;
  BlockReader reader;
  ReadAhead read_ahead;
  Placements placements;
  HeldFiles placing;  // a COMMIT or write-back is placing its dirty pages
  HeldFiles cloning;  // a CLONE reads or fills it: what it holds must not be changed
  FreedRows freed_rows;
  // Reclaims under way that have been started or continued by this process, and who waits for their end.
  absl::btree_map<InodeId, Waiters> reclaims;

  // A change number that is older than what was written in the last `age`; 0 if that is not known.
  uint64_t stamp_before(env::Duration age);

 private:
  Outcome<void> wait_for_write_back(Run& run, Waiters& waiters);
  bool write_back_failed_lately() const;

  FileSystem& fs_;
  Waiters space_waiters_, dirty_waiters_, page_row_waiters_, write_back_waiters_;
  struct Stamp {
    env::Instant time;
    uint64_t stamp;
  };
  std::deque<Stamp> stamps_;
  Status write_back_failure_ = Status::ok;  // of the last pass
  env::Instant write_back_failed_at_;
};

}  // namespace perdure::fs
