#include "fs/reclaim.h"

#include <algorithm>

#include "base/mark.h"
#include "base/planted_bug.h"
#include "fs/cut.h"
#include "fs/data.h"
#include "fs/xattr.h"

namespace perdure::fs {

namespace {

void erase_inode(FileSystem& fs, Run& run, InodeId id, const InodeRow& inode) {
  if (inode.type == FileType::symlink) fs.symlinks.erase(run, {id});
  if ((inode.flags & InodeRow::has_acl) != 0) fs.acls.erase(run, {id});
  fs.pending_inodes.erase(run, {id});
  fs.inodes.erase(run, {id});
}

}  // namespace

Outcome<void> drop(FileSystem& fs, Run& run, InodeId id, const InodeRow& inode) {
  std::vector<XattrRow::Key> xattrs = TRY(xattr_keys(fs, run, id, inode));
  if (planted("a removed file leaves its extended attributes behind")) xattrs.clear();
  if (inode.type != FileType::regular) {
    for (const XattrRow::Key& key : xattrs) fs.xattrs.erase(run, key);
    erase_inode(fs, run, id, inode);
    return {};
  }
  const RowsIn rows = TRY(rows_in(fs, run, id, inode, 0, UINT64_MAX, fs.data().options.rows_max));
  for (const XattrRow::Key& key : xattrs) fs.xattrs.erase(run, key);
  erase_dirty(fs, run, id, 0, UINT64_MAX, [](FileBlock) {});
  if (rows.end == UINT64_MAX) {
    FreedBlocks freed;
    for (const auto& extent : rows.extents) cut_extent(fs, run, inode, extent, 0, UINT64_MAX, freed);
    for (const auto& page : rows.pages) fs.pages.erase(run, page.key);
    TRY(freed.put(fs, run));
    erase_inode(fs, run, id, inode);
  } else {
    PERDURE_MARK("a large file is dropped by a reclaim");
    start_reclaim(fs, run, id, inode.cut_stamp != 0);
    InodeRow dropped = inode;
    dropped.links = 0;
    dropped.size = dropped.blocks = dropped.cut_from = 0;
    dropped.cut_stamp = InodeRow::dropped_stamp;
    dropped.flags &= ~InodeRow::has_xattrs;
    fs.pending_inodes.erase(run, {id});
    fs.inodes.put(run, {id}, dropped);
  }
  fs.data().pages_gone(run);
  return {};
}

namespace {

// One step of a reclaim: finds some rows that are cut off, then erases them.
struct Reclaim {
  FileSystem& fs;
  Run& run;
  ReclaimRegisters& registers;

  const InodeId id = registers.inode;
  InodeRow inode{};
  uint64_t page_position = registers.page, extent_position = registers.extent;  // looked at from here on
  std::vector<state::Table<PageRow>::Found> pages{};
  std::vector<state::Table<ExtentRow>::Found> extents{};
  bool more = false;  // rows behind the positions

  Outcome<bool> step();
  void find_pages();
  Outcome<void> find_extents();
  void count_pages(BlockCount& blocks, const ExtentMap& page_extents);
  void count_extents(BlockCount& blocks);
  Outcome<void> finish_cut();
  void ended();
};

Outcome<bool> Reclaim::step() {
  const InodeRow* row = TRY(fs.inodes.get(run, {id}));
  if (row == nullptr || row->cut_stamp == 0) {
    ended();
    return true;
  }
  inode = row->dropped() ? *row : TRY(fs.load(run, id));
  if (registers.stamp != 0 && registers.stamp != inode.cut_stamp)
    PERDURE_MARK("a file is truncated again while it is being reclaimed");
  if (registers.stamp != inode.cut_stamp) page_position = extent_position = inode.cut_from;
  find_pages();
  TRY(find_extents());
  ExtentMap page_extents(fs, id);
  std::vector<FileBlock> page_blocks;
  for (const auto& page : pages) page_blocks.push_back(page.key.block);
  TRY(page_extents.look_up(run, inode, page_blocks));
  registers = {id, inode.cut_stamp, page_position, extent_position};

  FreedBlocks freed;
  for (const auto& page : pages) fs.pages.erase(run, page.key);
  for (const auto& extent : extents) cut_extent(fs, run, inode, extent, inode.cut_from, UINT64_MAX, freed);
  TRY(freed.put(fs, run));
  fs.data().pages_gone(run);
  if (inode.dropped()) {
    if (!more) erase_inode(fs, run, id, inode);
  } else {
    BlockCount blocks(fs, run, id);
    count_pages(blocks, page_extents);
    count_extents(blocks);
    if (!more) TRY(finish_cut());
    blocks.store(id, inode);
  }
  if (more)
    run.on_commit([&f = fs, i = id] { f.data().reclaims.try_emplace(i); });
  else
    ended();
  return !more;
}

void Reclaim::find_pages() {
  const uint32_t rows_max = fs.data().options.rows_max;
  uint32_t looked_at = 0;
  const PageKey last{id, FileBlock(UINT64_MAX)};
  auto page = *fs.pages.first(run, {id, FileBlock(page_position)}, last);
  for (; page; page = *fs.pages.next(run, page.key, last)) {
    page_position = page.key.block.value;
    if (pages.size() == rows_max || ++looked_at > 4 * rows_max) {
      more = true;
      return;
    }
    if (inode.cut_off(page.key.block, page.row->stamp)) pages.push_back(page);
  }
  page_position = UINT64_MAX;
}

Outcome<void> Reclaim::find_extents() {
  const uint32_t rows_max = fs.data().options.rows_max;
  if (extent_position >= inode.extent_end) return {};
  uint32_t looked_at = 0;
  const ExtentRow::Key last{id, FileBlock(inode.extent_end - 1)};
  auto extent = TRY(fs.extents.first(run, {id, FileBlock(extent_position)}, last));
  for (; extent; extent = TRY(fs.extents.next(run, extent.key, last))) {
    // Its beginning, not its key: before the next step a write may split it.
    extent_position = std::max(extent_position, extent.row->first_block.value);
    if (pages.size() + extents.size() >= rows_max || ++looked_at > 4 * rows_max) {
      more = true;
      return {};
    }
    if (inode.cut_off(extent.key.last_block, extent.row->stamp)) extents.push_back(extent);
  }
  extent_position = inode.extent_end;
  return {};
}

void Reclaim::count_pages(BlockCount& blocks, const ExtentMap& page_extents) {
  for (const auto& page : pages) {
    const bool dirty = fs.dirty_pages.get(run, {id, page.key.block}) != nullptr;
    blocks.only_dirty(inode, {dirty, false, page_extents.has(page.key.block)});
  }
}

// The page rows that are left hold content.
void Reclaim::count_extents(BlockCount& blocks) {
  for (const auto& extent : extents) {
    const uint64_t first = std::max(inode.cut_from, extent.row->first_block.value);
    uint64_t gone = extent.key.last_block.value + 1 - first;
    const PageKey from{id, FileBlock(first)}, last{id, extent.key.last_block};
    for (auto page = *fs.pages.first(run, from, last); page; page = *fs.pages.next(run, page.key, last))
      --gone;
    for (auto dirty = fs.dirty_pages.first(run, from, last); dirty;
         dirty = fs.dirty_pages.next(run, dirty, last)) {
      if (*fs.pages.get(run, dirty.key) != nullptr) continue;
      blocks.only_dirty(inode, {.dirty = true});
      --gone;
    }
    blocks.gone(inode, gone, 0);
  }
}

Outcome<void> Reclaim::finish_cut() {
  if (inode.cut_from < inode.extent_end) {
    const ExtentRow::Key from{id, FileBlock(inode.cut_from)}, last{id, FileBlock(inode.extent_end - 1)};
    if (!TRY(fs.extents.first(run, from, last))) inode.extent_end = inode.cut_from;
  }
  inode.cut_from = inode.cut_stamp = 0;
  return {};
}

void Reclaim::ended() {
  run.on_commit([&f = fs, i = id] {
    auto it = f.data().reclaims.find(i);
    if (it != f.data().reclaims.end()) {
      Waiters waiters = std::move(it->second);
      f.data().reclaims.erase(it);
      waiters.resume_all(f);
    }
    f.data().space_freed();
  });
}

}  // namespace

Outcome<bool> reclaim_step(FileSystem& fs, Run& run, ReclaimRegisters& registers) {
  return Reclaim{fs, run, registers}.step();
}

}  // namespace perdure::fs
