#include "fs/content.h"

#include "fs/data.h"

namespace perdure::fs {

Outcome<PageRef> content_of(FileSystem& fs, Run& run, InodeId id, const InodeRow& inode, FileBlock block) {
  if (const DirtyPage* dirty = fs.dirty_pages.get(run, {id, block})) return dirty->page;
  if (const PageRow* page = TRY(fs.pages.get(run, {id, block})))
    if (!inode.cut_off(block, page->stamp)) return page->page;
  ExtentCursor extents(fs, run, id, inode, block.value, block.value + 1);
  ExtentPart part;
  if (!TRY(extents.next(part)) || part.cut_off) return PageRef();
  return fs.data().reader.get(run, part.block, part.crcs[0]);
}

Outcome<Survey> survey(FileSystem& fs, Run& run, InodeId id, const InodeRow& inode, uint64_t first,
                       uint64_t count) {
  Survey rows(count);
  const PageKey from{id, FileBlock(first)}, last{id, FileBlock(first + count - 1)};
  for (auto dirty = fs.dirty_pages.first(run, from, last); dirty;
       dirty = fs.dirty_pages.next(run, dirty, last))
    rows[dirty.key.block.value - first].dirty = true;
  for (auto page = TRY(fs.pages.first(run, from, last)); page; page = TRY(fs.pages.next(run, page.key, last)))
    rows[page.key.block.value - first].page = true;
  ExtentCursor extents(fs, run, id, inode, first, first + count);
  ExtentPart part;
  while (TRY(extents.next(part)))
    for (uint64_t block = part.first.value; block < part.end(); ++block) rows[block - first].extent = true;
  return rows;
}

BlockCount::BlockCount(FileSystem& fs, Run& run, InodeId id) : fs_(fs), run_(run) {
  const PendingInodeRow* pending = *fs.pending_inodes.get(run, {id});  // unlogged: never faults
  pending_ = pending != nullptr;
  if (pending_) new_blocks_ = pending->new_blocks;
}

void BlockCount::now_dirty(InodeRow& inode, BlockRows before) {
  if (before.any()) return;
  ++inode.blocks;
  ++new_blocks_;
}

void BlockCount::now_stable(InodeRow& inode, BlockRows before) {
  if (before.stable()) return;
  if (before.dirty)
    --new_blocks_;
  else
    ++inode.blocks;
}

void BlockCount::gone(InodeRow& inode, uint64_t stable, uint64_t only_dirty) {
  CHECK(stable + only_dirty <= inode.blocks && only_dirty <= new_blocks_);
  inode.blocks -= stable + only_dirty;
  new_blocks_ -= only_dirty;
}

void BlockCount::only_dirty(InodeRow& inode, BlockRows now) {
  if (now.stable()) return;
  if (now.dirty)
    ++new_blocks_;
  else
    --inode.blocks;
}

void BlockCount::store(InodeId id, const InodeRow& inode) {
  put(id, inode);
  fs_.store(run_, id, inode);
}

void BlockCount::store_pending(InodeId id, const InodeRow& inode) {
  CHECK(new_blocks_ <= inode.blocks);
  fs_.pending_inodes.put(run_, {id}, {inode.size, new_blocks_, inode.change, inode.mtime_ns, inode.ctime_ns});
}

void BlockCount::put(InodeId id, const InodeRow& inode) {
  if (pending_ || new_blocks_ != 0) store_pending(id, inode);
}

void put_page_row(FileSystem& fs, Run& run, InodeId id, FileBlock block, uint64_t stamp, PageRef page,
                  BlockRows before) {
  if (before.dirty) fs.dirty_pages.erase(run, {id, block});
  fs.pages.put(run, {id, block}, {stamp, std::move(page)});
}

}  // namespace perdure::fs
