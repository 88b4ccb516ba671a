#include "fs/write.h"

#include <algorithm>

#include "fs/access.h"
#include "fs/content.h"
#include "fs/data.h"

namespace perdure::fs {

void WriteData::copy(uint64_t offset, MutableBytes to) const {
  CHECK(offset + to.size() <= size_);
  for (const Bytes piece : pieces_.empty() ? std::span(&one_, 1) : pieces_) {
    if (to.empty()) return;
    if (offset >= piece.size()) {
      offset -= piece.size();
      continue;
    }
    const Bytes part = piece.subspan(offset).first(std::min(to.size(), piece.size() - offset));
    std::memcpy(to.data(), part.data(), part.size());
    to = to.subspan(part.size());
    offset = 0;
  }
}

PageRef WriteData::page(uint64_t offset) const {
  CHECK(offset + block_bytes <= size_);
  if (pages_ == nullptr) return {};
  const std::byte* data = one_.data() + offset;
  return reinterpret_cast<uintptr_t>(data) % block_bytes == 0 ? pages_->page_at(data) : PageRef();
}

namespace {

// One WRITE: its arguments and what follows from them.
struct Write {
  FileSystem& fs;
  Run& run;
  const Principal& who;
  const InodeId id;
  const uint64_t offset, end;  // bytes; not empty
  const WriteData& data;
  const Stable stable;
  WriteRegisters& registers;

  // File blocks: all that are touched, and those that are written as a whole.
  const uint64_t first = offset / block_bytes;
  const uint64_t count = blocks_for(end) - first;
  const uint64_t whole_first = blocks_for(offset);
  const uint64_t whole_end = std::max(end / block_bytes, whole_first);

  InodeRow inode{};

  Outcome<WriteResult> start();
  Outcome<WriteResult> unstable();
  Outcome<WriteResult> in_record();
  Outcome<WriteResult> place();
  Outcome<WriteResult> placed();

  Outcome<void> load();
  PageRef page_of(uint64_t block, const PageRef& old) const;
  struct Edges {
    PageRef head, tail;  // old content of the first and the last block; null: zeros
  };
  Outcome<Edges> edges();
  bool is_whole(uint64_t block) const { return block >= whole_first && block < whole_end; }
  const PageRef& old_of(const Edges& edges, uint64_t block) const {
    return block == first ? edges.head : edges.tail;
  }
  bool touch();
  WriteResult done() {
    registers = {};
    return {static_cast<uint32_t>(end - offset), stable == Stable::unstable ? stable : Stable::file_sync};
  }
};

Outcome<void> Write::load() {
  inode = TRY(fs.load(run, id));
  return check_regular(inode);
}

Outcome<WriteResult> Write::start() {
  TRY(load());
  TRY(fs.data().admit_change(run, id));
  if (stable == Stable::unstable) return unstable();
  if (end - offset <= fs.data().options.record_bytes_max || whole_first == whole_end) return in_record();
  return place();
}

// The block's new content, over the old one.
PageRef Write::page_of(uint64_t block, const PageRef& old) const {
  const uint64_t begins = block * block_bytes;
  if (is_whole(block))
    if (PageRef received = data.page(begins - offset)) return received;
  PageRef page = make_page();
  const MutableBytes bytes = page.mutable_bytes();
  const uint64_t from = std::max(offset, begins) - begins;
  const uint64_t to = std::min(end, begins + block_bytes) - begins;
  if (from != 0 || to != block_bytes) {
    const Bytes base = old ? old.bytes() : zero_page().bytes();
    std::copy(base.begin(), base.begin() + static_cast<ptrdiff_t>(from), bytes.begin());
    std::copy(base.begin() + static_cast<ptrdiff_t>(to), base.end(),
              bytes.begin() + static_cast<ptrdiff_t>(to));
  }
  data.copy(begins + from - offset, bytes.subspan(from, to - from));
  (void)page.crc();  // now, while the content is in the processor's cache
  return page;
}

// Only bytes before the end of the file are worth reading. Both blocks are looked for before a fault is
// returned, so that they are fetched together.
auto Write::edges() -> Outcome<Edges> {
  const uint64_t last = first + count - 1;
  const bool head = offset % block_bytes != 0 && first * block_bytes < inode.size;
  const bool tail = end % block_bytes != 0 && end < inode.size;
  Outcome<PageRef> head_page = PageRef(), tail_page = PageRef();
  if (head || (tail && last == first)) head_page = content_of(fs, run, id, inode, FileBlock(first));
  if (tail && last != first) tail_page = content_of(fs, run, id, inode, FileBlock(last));
  if (const auto stop = first_stop(head_page, tail_page)) return *stop;
  return Edges{*std::move(head_page), *std::move(tail_page)};
}

// Size, times and set-id bits after this write. True: bits were cleared, which must not be lost.
bool Write::touch() {
  inode.size = std::max(inode.size, end);
  fs.touch_content(run, inode);
  const uint32_t mode = inode.mode;
  clear_set_id(inode, who);
  return inode.mode != mode;
}

Outcome<WriteResult> Write::unstable() {
  const Survey before = TRY(survey(fs, run, id, inode, first, count));
  const Edges old = TRY(edges());
  const auto fresh = std::count_if(before.begin(), before.end(), [](BlockRows rows) { return !rows.dirty; });
  TRY(fs.data().admit_blocks(run, fresh, registers.write_backs));
  TRY(fs.data().admit_dirty(run, static_cast<uint64_t>(fresh)));

  BlockCount blocks(fs, run, id);
  const uint64_t stamp = fs.new_change();
  DirtyPages::Edit edit(fs.dirty_pages, run);
  for (uint64_t i = 0; i < count; ++i) {
    edit.put({id, FileBlock(first + i)}, {stamp, page_of(first + i, old_of(old, first + i))});
    blocks.now_dirty(inode, before[i]);
  }
  edit.finish();
  if (touch())
    blocks.store(id, inode);
  else
    blocks.store_pending(id, inode);
  return done();
}

Outcome<WriteResult> Write::in_record() {
  const Survey before = TRY(survey(fs, run, id, inode, first, count));
  const Edges old = TRY(edges());
  int64_t more_blocks = 0;
  uint64_t more_rows = 0;
  for (const BlockRows rows : before) {
    more_blocks += 1 - (rows.dirty ? 1 : 0) - (rows.page ? 1 : 0);
    more_rows += rows.page ? 0 : 1;
  }
  TRY(fs.data().admit_blocks(run, more_blocks, registers.write_backs));
  TRY(fs.data().admit_page_rows(run, more_rows));

  BlockCount blocks(fs, run, id);
  const uint64_t stamp = fs.new_change();
  for (uint64_t i = 0; i < count; ++i) {
    put_page_row(fs, run, id, FileBlock(first + i), stamp, page_of(first + i, old_of(old, first + i)),
                 before[i]);
    blocks.now_stable(inode, before[i]);
  }
  touch();
  blocks.store(id, inode);
  fs.data().pages_gone(run);
  return done();
}

// The whole blocks are written beside the file. What the file is then, placed() will see.
Outcome<WriteResult> Write::place() {
  const uint64_t edge_blocks = count - (whole_end - whole_first);
  TRY(fs.data().admit_blocks(run, static_cast<int64_t>(whole_end - whole_first + edge_blocks),
                             registers.write_backs));
  std::vector<PlacedPage> pages;
  pages.reserve(whole_end - whole_first);
  for (uint64_t block = whole_first; block < whole_end; ++block) {
    PlacedPage& page = pages.emplace_back();
    page.inode = id;
    page.file_block = FileBlock(block);
    page.page = page_of(block, {});
    page.source = PlacedPage::Source::write;
  }
  const PlacementId placement = fs.data().placements.place(run, std::move(pages));
  if (placement == 0) return Status::no_space;
  registers.step = WriteStep::placed;
  registers.placement = placement;
  return Stop::wait();
}

Outcome<WriteResult> Write::placed() {
  Data& d = fs.data();
  Placement* placement = d.placements.find(registers.placement);
  if (placement == nullptr) {
    registers = {};
    return start();
  }
  if (placement->state == Placement::State::writing) {
    placement->waiter = run.transaction();
    return Stop::wait();
  }
  const auto give_up = [&](Stop stop) -> Stop {
    if (!stop.is_fault()) d.placements.abandon(registers.placement);
    return stop;
  };
  if (placement->state == Placement::State::failed) return give_up(placement->failure);
  TRY(d.admit_change(run, id));
  if (auto loaded = load(); !loaded) return give_up(loaded.error());

  ExtentMap extents(fs, id);
  std::vector<FileBlock> whole;
  for (const PlacedPage& page : placement->pages) whole.push_back(page.file_block);
  auto looked_up = extents.look_up(run, inode, whole);
  auto before = survey(fs, run, id, inode, first, count);
  auto old = edges();
  if (const auto stop = first_stop(looked_up, before, old)) return give_up(*stop);

  BlockCount blocks(fs, run, id);
  FreedBlocks freed;
  std::vector<MappedBlock> mapped;
  for (const PlacedPage& page : placement->pages) mapped.push_back({page.file_block, page.block, page.crc});
  extents.map(run, inode, mapped, freed);
  if (const auto freed_them = freed.put(fs, run); !freed_them) return freed_them.error();
  const uint64_t stamp = fs.new_change();
  for (uint64_t i = 0; i < count; ++i) {
    const FileBlock block(first + i);
    const BlockRows rows = (*before)[i];
    if (!is_whole(block.value)) {
      put_page_row(fs, run, id, block, stamp, page_of(block.value, old_of(*old, block.value)), rows);
    } else {
      if (rows.dirty) fs.dirty_pages.erase(run, {id, block});
      if (rows.page) fs.pages.erase(run, {id, block});
    }
    blocks.now_stable(inode, rows);
  }
  touch();
  blocks.store(id, inode);
  d.placements.take(run, registers.placement, std::vector<bool>(mapped.size(), true));
  d.pages_gone(run);
  return done();
}

}  // namespace

Outcome<WriteResult> write(FileSystem& fs, Run& run, const Principal& who, InodeId id, uint64_t offset,
                           const WriteData& data, Stable stable, WriteRegisters& registers) {
  if (data.size() == 0) {
    const InodeRow inode = TRY(fs.load(run, id));
    TRY(check_regular(inode));
    return WriteResult{0, Stable::file_sync};
  }
  if (offset > file_bytes_max || data.size() > file_bytes_max - offset) return Status::too_big;
  Write write{fs, run, who, id, offset, offset + data.size(), data, stable, registers};
  switch (registers.step) {
    case WriteStep::start:
      return write.start();
    case WriteStep::placed:
      return write.placed();
  }
  CHECK(false);
}

}  // namespace perdure::fs
