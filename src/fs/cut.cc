#include "fs/cut.h"

#include <algorithm>

#include "fs/data.h"

namespace perdure::fs {

Outcome<RowsIn> rows_in(FileSystem& fs, Run& run, InodeId id, const InodeRow& inode, uint64_t first,
                        uint64_t end_wanted, uint32_t rows_max) {
  RowsIn rows{.first = first, .end = end_wanted};
  if (first >= end_wanted) return rows;
  const PageKey last_page{id, FileBlock(end_wanted - 1)};
  for (auto page = TRY(fs.pages.first(run, {id, FileBlock(first)}, last_page)); page;
       page = TRY(fs.pages.next(run, page.key, last_page))) {
    if (rows.pages.size() == rows_max) {
      rows.end = page.key.block.value;
      break;
    }
    rows.pages.push_back(page);
  }
  const uint64_t extents_end = std::min(inode.extent_end, rows.end > UINT64_MAX - ExtentRow::blocks_max
                                                              ? UINT64_MAX
                                                              : rows.end + ExtentRow::blocks_max - 1);
  if (first >= extents_end) return rows;
  const ExtentRow::Key last{id, FileBlock(extents_end - 1)};
  for (auto extent = TRY(fs.extents.first(run, {id, FileBlock(first)}, last));
       extent && extent.row->first_block.value < rows.end;
       extent = TRY(fs.extents.next(run, extent.key, last))) {
    if (rows.extents.size() == rows_max) {
      rows.end = extent.row->first_block.value;
      while (!rows.pages.empty() && rows.pages.back().key.block.value >= rows.end) rows.pages.pop_back();
      break;
    }
    rows.extents.push_back(extent);
  }
  return rows;
}

Outcome<void> erase_content(FileSystem& fs, Run& run, InodeId id, InodeRow& inode, const RowsIn& rows) {
  if (rows.first >= rows.end) return {};
  const auto in_extent = [&rows](FileBlock block) {
    auto it = std::lower_bound(rows.extents.begin(), rows.extents.end(), block,
                               [](const auto& extent, FileBlock b) { return extent.key.last_block < b; });
    return it != rows.extents.end() && it->row->first_block <= block;
  };
  const auto is_page = [&rows](FileBlock block) {
    auto it = std::lower_bound(rows.pages.begin(), rows.pages.end(), block,
                               [](const auto& page, FileBlock b) { return page.key.block < b; });
    return it != rows.pages.end() && it->key.block == block;
  };
  uint64_t stable = 0, only_dirty = 0;
  for (const auto& extent : rows.extents)
    stable += std::min(rows.end, extent.key.last_block.value + 1) -
              std::max(rows.first, extent.row->first_block.value);
  for (const auto& page : rows.pages) stable += in_extent(page.key.block) ? 0 : 1;
  erase_dirty(fs, run, id, rows.first, rows.end,
              [&](FileBlock block) { only_dirty += in_extent(block) || is_page(block) ? 0 : 1; });
  FreedBlocks freed;
  for (const auto& extent : rows.extents) cut_extent(fs, run, inode, extent, rows.first, rows.end, freed);
  for (const auto& page : rows.pages) fs.pages.erase(run, page.key);
  TRY(freed.put(fs, run));
  if (rows.end >= inode.extent_end) inode.extent_end = std::min(inode.extent_end, rows.first);
  BlockCount blocks(fs, run, id);
  blocks.gone(inode, stable, only_dirty);
  blocks.put(id, inode);
  return {};
}

void zero_part(FileSystem& fs, Run& run, InodeId id, InodeRow& inode, FileBlock block, const PageRef& old,
               BlockRows rows, uint64_t from, uint64_t to) {
  PageRef page = make_page();
  const MutableBytes bytes = page.mutable_bytes();
  std::copy(old.bytes().begin(), old.bytes().end(), bytes.begin());
  std::fill(bytes.begin() + static_cast<ptrdiff_t>(from), bytes.begin() + static_cast<ptrdiff_t>(to),
            std::byte{0});
  BlockCount blocks(fs, run, id);
  blocks.now_stable(inode, rows);
  blocks.put(id, inode);
  put_page_row(fs, run, id, block, fs.new_change(), std::move(page), rows);
}

void cut_extent(FileSystem& fs, Run& run, const InodeRow& inode, const state::Table<ExtentRow>::Found& extent,
                uint64_t first, uint64_t end, FreedBlocks& freed) {
  const ExtentRow& row = *extent.row;
  const uint64_t begins = row.first_block.value, ends = extent.key.last_block.value + 1;
  first = std::max(first, begins);
  end = std::min(end, ends);
  CHECK(first < end);
  freed.add(BlockNo(row.block.value + (first - begins)), end - first, inode.may_share_blocks());
  ExtentRow head = row, tail = row;
  if (end == ends) {
    fs.extents.erase(run, extent.key);
  } else {
    tail.first_block = FileBlock(end);
    tail.block = BlockNo(row.block.value + (end - begins));
    tail.crcs.erase(tail.crcs.begin(), tail.crcs.begin() + static_cast<ptrdiff_t>(end - begins));
    fs.extents.put(run, extent.key, std::move(tail));
  }
  if (first == begins) return;
  head.crcs.resize(first - begins);
  fs.extents.put(run, {extent.key.inode, FileBlock(first - 1)}, std::move(head));
}

void start_reclaim(FileSystem& fs, Run& run, InodeId id, bool runs_already) {
  if (runs_already) return;
  run.on_commit([&fs, id] { fs.data().reclaims.try_emplace(id); });
  fs.hooks().start_reclaim(run, id);
}

}  // namespace perdure::fs
