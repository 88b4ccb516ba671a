#include "fs/truncate.h"

#include <algorithm>

#include "base/planted_bug.h"
#include "fs/access.h"
#include "fs/cut.h"
#include "fs/data.h"

namespace perdure::fs {

namespace {

struct Truncation {
  FileSystem& fs;
  Run& run;
  const InodeId id;
  InodeRow& inode;
  const uint64_t new_size;
  const uint64_t first = blocks_for(new_size);  // the first block that goes

  Outcome<void> shrink();
  void cut_off(const ExtentMap& dirty_extents);
  Outcome<PageRef> tail();
};

Outcome<void> Truncation::shrink() {
  Outcome<PageRef> old_tail = tail();
  Outcome<RowsIn> rows = rows_in(fs, run, id, inode, first, UINT64_MAX, fs.data().options.rows_max);
  if (const auto stop = first_stop(old_tail, rows)) return *stop;
  const bool few = rows->end == UINT64_MAX;
  ExtentMap dirty_extents(fs, id);
  if (!few) {
    if (inode.cut_stamp != 0 && first > inode.cut_from) {
      fs.data().reclaims[id].add(run);
      return Stop::wait();
    }
    std::vector<FileBlock> dirty;
    const PageKey last{id, FileBlock(UINT64_MAX)};
    for (auto page = fs.dirty_pages.first(run, {id, FileBlock(first)}, last); page;
         page = fs.dirty_pages.next(run, page, last))
      dirty.push_back(page.key.block);
    TRY(dirty_extents.look_up(run, inode, dirty));
  }
  Survey tail_rows;
  if (*old_tail) tail_rows = TRY(survey(fs, run, id, inode, first - 1, 1));

  inode.size = new_size;
  if (*old_tail)
    zero_part(fs, run, id, inode, FileBlock(first - 1), *old_tail, tail_rows[0], new_size % block_bytes,
              block_bytes);
  if (few)
    TRY(erase_content(fs, run, id, inode, *rows));
  else
    cut_off(dirty_extents);
  fs.data().pages_gone(run);
  return {};
}

// The content of the block in which the new end lies. What lies behind the end in it must become zeros, and
// stable ones: the file may grow again. So even a dirty page goes into the record.
Outcome<PageRef> Truncation::tail() {
  if (new_size % block_bytes == 0 || planted("a truncated block keeps its end")) return PageRef();
  return content_of(fs, run, id, inode, FileBlock(first - 1));
}

void Truncation::cut_off(const ExtentMap& dirty_extents) {
  uint64_t only_dirty = 0;
  erase_dirty(fs, run, id, first, UINT64_MAX, [&](FileBlock block) {
    const bool stable = dirty_extents.has(block) || fs.pages.peek({id, block}) != nullptr;
    only_dirty += stable ? 0 : 1;
  });
  BlockCount blocks(fs, run, id);
  blocks.gone(inode, 0, only_dirty);
  blocks.put(id, inode);
  start_reclaim(fs, run, id, inode.cut_stamp != 0);
  inode.cut_from = first;
  inode.cut_stamp = fs.new_change();
}

}  // namespace

Outcome<void> truncate(FileSystem& fs, Run& run, InodeId id, InodeRow& inode, uint64_t new_size) {
  TRY(check_regular(inode));
  if (new_size > file_bytes_max) return Status::too_big;
  if (new_size >= inode.size) {
    inode.size = new_size;
    return {};
  }
  TRY(fs.data().admit_change(run, id));
  return Truncation{fs, run, id, inode, new_size}.shrink();
}

}  // namespace perdure::fs
