#include "fs/seek.h"

#include <algorithm>

#include "base/mark.h"
#include "fs/access.h"
#include "fs/content.h"
#include "fs/data.h"

namespace perdure::fs {

namespace {

struct Seek {
  FileSystem& fs;
  Run& run;
  const InodeId id;
  const InodeRow& inode;
  SeekRegisters& registers;
  const uint64_t end = blocks_for(inode.size);
  uint64_t looks_left = uint64_t{16} * fs.data().options.rows_max;

  Outcome<uint64_t> data_from(uint64_t block);
  Outcome<uint64_t> hole_from(uint64_t block);
  uint64_t page_from(uint64_t block);
  Stop go_on(uint64_t block);
};

Outcome<uint64_t> Seek::data_from(uint64_t block) {
  const uint64_t page = page_from(block);
  const bool found_page = looks_left != 0;
  const auto dirty = fs.dirty_pages.first(run, {id, FileBlock(block)}, {id, FileBlock(end - 1)});
  const uint64_t found = dirty ? std::min(page, dirty.key.block.value) : page;
  ExtentCursor extents(fs, run, id, inode, block, found);
  for (ExtentPart part; TRY(extents.next(part));) {
    if (!part.cut_off) return part.first.value;
    if (looks_left == 0) return go_on(part.end());
    --looks_left;
  }
  if (!found_page && found == page) return go_on(page);
  return found;
}

// The next page row that is not cut off; or, if no looks are left, the first one that was not looked at.
uint64_t Seek::page_from(uint64_t block) {
  const PageKey last{id, FileBlock(end - 1)};
  auto page = *fs.pages.first(run, {id, FileBlock(block)}, last);  // resident: never faults
  for (; page; page = *fs.pages.next(run, page.key, last)) {
    if (looks_left == 0 || !inode.cut_off(page.key.block, page.row->stamp)) return page.key.block.value;
    --looks_left;
  }
  looks_left = std::max<uint64_t>(looks_left, 1);
  return end;
}

Outcome<uint64_t> Seek::hole_from(uint64_t block) {
  ExtentCursor extents(fs, run, id, inode, block, end);
  ExtentPart part;
  bool more = TRY(extents.next(part));
  while (block < end) {
    if (looks_left == 0) return go_on(block);
    --looks_left;
    while (more && (part.cut_off || part.end() <= block)) more = TRY(extents.next(part));
    if (more && part.first.value <= block) {
      block = part.end();
      continue;
    }
    const PageKey key{id, FileBlock(block)};
    const PageRow* page = *fs.pages.get(run, key);
    const bool is_data = fs.dirty_pages.get(run, key) != nullptr ||
                         (page != nullptr && !inode.cut_off(key.block, page->stamp));
    if (!is_data) return block;
    ++block;
  }
  return end;
}

Stop Seek::go_on(uint64_t block) {
  PERDURE_MARK("SEEK goes on in another run");
  registers.next = block;
  fs.hooks().resume(run.transaction());
  return Stop::wait();
}

}  // namespace

Outcome<SeekResult> seek(FileSystem& fs, Run& run, InodeId id, const InodeRow& inode, uint64_t offset,
                         SeekWhat what, SeekRegisters& registers) {
  TRY(check_regular(inode));
  if (offset >= inode.size) return Status::no_such_range;
  Seek seek{fs, run, id, inode, registers};
  const uint64_t block = std::max(offset / block_bytes, registers.next);
  uint64_t found = seek.end;  // the file may have become shorter since the last run
  if (block < seek.end) found = TRY(what == SeekWhat::data ? seek.data_from(block) : seek.hole_from(block));
  registers = {};
  if (found >= seek.end) return SeekResult{true, inode.size};
  return SeekResult{false, std::max(offset, found * block_bytes)};
}

}  // namespace perdure::fs
