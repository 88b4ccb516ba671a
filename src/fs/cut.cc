#include "fs/cut.h"

#include "fs/data.h"

namespace perdure::fs {

Outcome<RowsBehind> rows_behind(FileSystem& fs, Run& run, InodeId id, const InodeRow& inode, uint64_t first,
                                uint32_t rows_max) {
  RowsBehind rows;
  const PageKey last_page{id, FileBlock(UINT64_MAX)};
  for (auto page = TRY(fs.pages.first(run, {id, FileBlock(first)}, last_page)); page;
       page = TRY(fs.pages.next(run, page.key, last_page))) {
    if (rows.pages.size() == rows_max) return rows;
    rows.pages.push_back(page);
  }
  if (first < inode.extent_end) {
    const ExtentRow::Key last{id, FileBlock(inode.extent_end - 1)};
    for (auto extent = TRY(fs.extents.first(run, {id, FileBlock(first)}, last)); extent;
         extent = TRY(fs.extents.next(run, extent.key, last))) {
      if (rows.pages.size() + rows.extents.size() == rows_max) return rows;
      rows.extents.push_back(extent);
    }
  }
  rows.complete = true;
  return rows;
}

void cut_extent(FileSystem& fs, Run& run, const state::Table<ExtentRow>::Found& extent, uint64_t first,
                FreedBlocks& freed) {
  const ExtentRow& row = *extent.row;
  fs.extents.erase(run, extent.key);
  if (row.first_block.value >= first) return freed.add(row.block, row.crcs.size());
  const uint64_t kept = first - row.first_block.value;
  freed.add(BlockNo(row.block.value + kept), row.crcs.size() - kept);
  ExtentRow head = row;
  head.crcs.resize(kept);
  fs.extents.put(run, {extent.key.inode, FileBlock(first - 1)}, std::move(head));
}

void start_reclaim(FileSystem& fs, Run& run, InodeId id, bool runs_already) {
  if (runs_already) return;
  run.on_commit([&fs, id] { fs.data().reclaims.try_emplace(id); });
  fs.hooks().start_reclaim(run, id);
}

}  // namespace perdure::fs
