#include "fs/read.h"

#include <algorithm>

#include "fs/access.h"
#include "fs/content.h"
#include "fs/data.h"

namespace perdure::fs {

namespace {

using Pages = absl::InlinedVector<PageRef, 8>;

// Fills in what dirty pages and page rows say of the blocks first, first+1, ...
void add_rows(FileSystem& fs, Run& run, InodeId id, const InodeRow& inode, uint64_t first, Pages& pages) {
  const PageKey from{id, FileBlock(first)}, last{id, FileBlock(first + pages.size() - 1)};
  for (auto dirty = fs.dirty_pages.first(run, from, last); dirty;
       dirty = fs.dirty_pages.next(run, dirty, last))
    pages[dirty.key.block.value - first] = dirty.row->page;
  // Page rows are resident: that never faults.
  for (auto row = *fs.pages.first(run, from, last); row; row = *fs.pages.next(run, row.key, last)) {
    PageRef& page = pages[row.key.block.value - first];
    if (!page && !inode.cut_off(row.key.block, row.row->stamp)) page = row.row->page;
  }
}

Outcome<void> add_extents(FileSystem& fs, Run& run, InodeId id, const InodeRow& inode, uint64_t first,
                          Pages& pages) {
  if (first >= inode.extent_end) return {};
  BlockReader& reader = fs.data().reader;
  std::vector<WantedBlock> missing;
  ExtentCursor extents(fs, run, id, inode, first, first + pages.size());
  ExtentPart part;
  while (TRY(extents.next(part))) {
    if (part.cut_off) continue;
    for (uint64_t i = 0; i < part.count(); ++i) {
      PageRef& page = pages[part.first.value + i - first];
      if (page) continue;
      const BlockNo block(part.block.value + i);
      page = TRY(reader.find(run, block));
      if (!page) missing.push_back({block, part.crcs[i]});
    }
  }
  if (missing.empty()) return {};
  reader.miss(run, std::move(missing));
  return Stop::fault();
}

}  // namespace

Outcome<ReadResult> read(FileSystem& fs, Run& run, InodeId id, const InodeRow& inode, uint64_t offset,
                         uint64_t count) {
  TRY(check_regular(inode));
  ReadResult result;
  if (offset >= inode.size) {
    result.eof = true;
    return result;
  }
  count = std::min({count, inode.size - offset, uint64_t{read_bytes_max}});
  result.eof = offset + count == inode.size;
  if (count == 0) return result;
  result.length = static_cast<uint32_t>(count);
  result.first_offset = static_cast<uint32_t>(offset % block_bytes);
  const uint64_t first = offset / block_bytes;
  result.pages.resize(blocks_for(offset + count) - first);
  add_rows(fs, run, id, inode, first, result.pages);
  if (std::any_of(result.pages.begin(), result.pages.end(), [](const PageRef& page) { return !page; })) {
    TRY(add_extents(fs, run, id, inode, first, result.pages));
    for (PageRef& page : result.pages)
      if (!page) page = zero_page();
  }
  fs.data().read_ahead.after_read(fs, run, id, inode, offset, offset + count);
  return result;
}

}  // namespace perdure::fs
