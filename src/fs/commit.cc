#include "fs/commit.h"

#include <algorithm>

#include "base/mark.h"
#include "fs/access.h"
#include "fs/content.h"
#include "fs/data.h"
#include "fs/mapping.h"

namespace perdure::fs {

namespace {

struct Commit {
  FileSystem& fs;
  Run& run;
  const InodeId id;
  CommitRegisters& registers;
  Data& data = fs.data();

  Outcome<void> start(uint64_t offset, uint64_t count);
  Outcome<void> place();
  Outcome<void> placed();
  Outcome<void> store_pending();
  Outcome<void> give_up(Stop stop);
  std::vector<PlacedPage> dirty(size_t pages_max) const;
};

// Dirty pages from registers.next on.
std::vector<PlacedPage> Commit::dirty(size_t pages_max) const {
  std::vector<PlacedPage> pages;
  if (registers.next >= registers.end) return pages;
  const PageKey last{id, FileBlock(registers.end.value - 1)};
  auto row = fs.dirty_pages.first(run, {id, registers.next}, last);
  for (; row && pages.size() < pages_max; row = fs.dirty_pages.next(run, row, last)) {
    PlacedPage& page = pages.emplace_back();
    page.inode = id;
    page.file_block = row.key.block;
    page.stamp = row.row->stamp;
    page.page = row.row->page;
    page.source = PlacedPage::Source::dirty;
  }
  return pages;
}

Outcome<void> Commit::start(uint64_t offset, uint64_t count) {
  const InodeRow inode = TRY(fs.load(run, id));
  TRY(check_regular(inode));
  // What is appended meanwhile is not this COMMIT's affair: so it comes to an end.
  const uint64_t end =
      count == 0 || count > inode.size - std::min(offset, inode.size) ? inode.size : offset + count;
  registers.next = FileBlock(offset / block_bytes);
  registers.end = FileBlock(blocks_for(end));
  return place();
}

// The next pages, if there are any: into the record, or onto their way to fresh blocks. Few go there too if
// there are too many page rows already.
Outcome<void> Commit::place() {
  const uint32_t record_max = data.options.record_blocks_max;
  std::vector<PlacedPage> pages = dirty(std::max(record_max + 1, data.options.commit_blocks));
  const uint64_t page_row_bytes = data.page_row_bytes() + pages.size() * block_bytes;
  if (page_row_bytes > data.options.page_row_bytes_low && data.hooks.want_write_back)
    data.hooks.want_write_back();
  const bool few =
      pages.size() <= record_max && (pages.empty() || page_row_bytes <= data.options.page_row_bytes_max);
  if (!few && !data.placing.take(run, id)) {
    PERDURE_MARK("COMMIT waits for another that places pages of the file");
    data.placing.wait(run, id);
    registers.step = CommitStep::start;
    return Stop::wait();
  }
  if (!few) {
    const FileBlock next = pages.back().file_block.next();
    const PlacementId placement = data.placements.place(run, pages);
    if (placement != 0) {
      registers = {CommitStep::placed, placement, next, registers.end};
      return Stop::wait();
    }
    PERDURE_MARK("COMMIT finds no blocks, and logs pages");
    pages.resize(std::min<size_t>(pages.size(), record_max));  // no blocks: page rows need none yet
  }
  std::vector<FileBlock> blocks;
  for (const PlacedPage& page : pages) blocks.push_back(page.file_block);
  if (const auto stored = blocks.empty() ? store_pending() : put_in_record(fs, run, id, blocks); !stored)
    return give_up(stored.error());
  data.placing.release(run, id);
  if (few) {
    registers = {};
    return {};
  }
  registers.step = CommitStep::placing;
  registers.next = pages.back().file_block.next();
  fs.hooks().resume(run.transaction());
  return Stop::wait();
}

// Whoever has made the pages stable meanwhile has stored the inode in the same record: this run must have
// seen it, or COMMIT could answer before that record is durable.
Outcome<void> Commit::store_pending() {
  const InodeRow inode = TRY(fs.load(run, id));
  const PendingInodeRow* pending = *fs.pending_inodes.get(run, {id});
  if (pending == nullptr) return {};
  const InodeRow* stable = TRY(fs.inodes.get(run, {id}));
  if (stable->change != pending->change) {
    PERDURE_MARK("COMMIT stores what is pending of an inode");
    fs.store(run, id, inode);
  }
  return {};
}

Outcome<void> Commit::placed() {
  Placement* placement = data.placements.find(registers.placement);
  if (placement != nullptr && placement->state == Placement::State::writing) {
    placement->waiter = run.transaction();
    return Stop::wait();
  }
  if (placement->state == Placement::State::failed) PERDURE_MARK("COMMIT cannot write");
  if (placement->state == Placement::State::failed) return give_up(placement->failure);
  const auto mapped = map_placement(fs, run, registers.placement, IfChanged::put_in_record);
  if (!mapped) return give_up(mapped.error());
  return place();
}

// COMMIT ends here, unless it was a fault: nobody must wait for it any longer.
Outcome<void> Commit::give_up(Stop stop) {
  if (stop.is_fault()) return stop;
  data.placements.abandon(registers.placement);
  data.placing.release_now(run.transaction());
  return stop;
}

}  // namespace

Outcome<void> commit(FileSystem& fs, Run& run, InodeId id, uint64_t offset, uint64_t count,
                     CommitRegisters& registers) {
  Commit commit{fs, run, id, registers};
  if (registers.step == CommitStep::placed && fs.data().placements.find(registers.placement) == nullptr) {
    PERDURE_MARK("a COMMIT was resumed, and begins again");
    registers = {};
  }
  switch (registers.step) {
    case CommitStep::start:
      return commit.start(offset, count);
    case CommitStep::placing:
      return commit.place();
    case CommitStep::placed:
      return commit.placed();
  }
  CHECK(false);
}

}  // namespace perdure::fs
