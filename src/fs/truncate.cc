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
  void erase(const RowsBehind& rows);
  void cut_off(const ExtentMap& dirty_extents);
  Outcome<PageRef> tail();
};

Outcome<void> Truncation::shrink() {
  Outcome<PageRef> old_tail = tail();
  Outcome<RowsBehind> rows = rows_behind(fs, run, id, inode, first, fs.data().options.rows_max);
  if (const auto stop = first_stop(old_tail, rows)) return *stop;
  ExtentMap dirty_extents(fs, id);
  if (!rows->complete) {
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
  if (*old_tail) {
    PageRef page = make_page();
    const auto kept = static_cast<ptrdiff_t>(new_size % block_bytes);
    const Bytes old = old_tail->bytes();
    const auto end = std::copy(old.begin(), old.begin() + kept, page.mutable_bytes().begin());
    std::fill(end, page.mutable_bytes().end(), std::byte{0});
    BlockCount blocks(fs, run, id);
    blocks.now_stable(inode, tail_rows[0]);
    blocks.put(id, inode);
    put_page_row(fs, run, id, FileBlock(first - 1), fs.new_change(), std::move(page), tail_rows[0]);
  }
  if (rows->complete)
    erase(*rows);
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

void Truncation::erase(const RowsBehind& rows) {
  const auto in_extent = [&rows](FileBlock block) {
    auto it = std::lower_bound(rows.extents.begin(), rows.extents.end(), block,
                               [](const auto& extent, FileBlock b) { return extent.key.last_block < b; });
    return it != rows.extents.end() && it->row->first_block <= block;
  };
  const auto is_page = [&rows](FileBlock block) {
    return std::binary_search(rows.pages.begin(), rows.pages.end(), block, [](const auto& a, const auto& b) {
      constexpr auto key = [](const auto& x) {
        if constexpr (std::is_same_v<std::decay_t<decltype(x)>, FileBlock>)
          return x;
        else
          return x.key.block;
      };
      return key(a) < key(b);
    });
  };
  uint64_t stable = 0, only_dirty = 0;
  for (const auto& extent : rows.extents)
    stable += extent.key.last_block.value + 1 - std::max(first, extent.row->first_block.value);
  for (const auto& page : rows.pages) stable += in_extent(page.key.block) ? 0 : 1;
  erase_dirty_behind(fs, run, id, first,
                     [&](FileBlock block) { only_dirty += in_extent(block) || is_page(block) ? 0 : 1; });
  FreedBlocks freed;
  for (const auto& extent : rows.extents) cut_extent(fs, run, extent, first, freed);
  for (const auto& page : rows.pages) fs.pages.erase(run, page.key);
  freed.put(fs, run);
  inode.extent_end = std::min(inode.extent_end, first);
  BlockCount blocks(fs, run, id);
  blocks.gone(inode, stable, only_dirty);
  blocks.put(id, inode);
}

void Truncation::cut_off(const ExtentMap& dirty_extents) {
  uint64_t only_dirty = 0;
  erase_dirty_behind(fs, run, id, first, [&](FileBlock block) {
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
  return Truncation{fs, run, id, inode, new_size}.shrink();
}

}  // namespace perdure::fs
