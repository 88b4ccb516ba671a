#include "fs/clone.h"

#include <algorithm>

#include "base/mark.h"
#include "fs/access.h"
#include "fs/cut.h"
#include "fs/data.h"
#include "fs/read.h"
#include "fs/sharing.h"
#include "fs/write.h"

namespace perdure::fs {

namespace {

// One run's part: source blocks first .. end - 1 become target blocks to_first ... Of the last one only what
// lies before end_offset, where the source ends, or has ended: a file that is cloned into itself grows.
struct CloneChunk {
  FileSystem& fs;
  Run& run;
  const Principal& who;
  const InodeId from, to;
  const uint64_t first, end_offset;
  const uint64_t to_first;
  CloneRegisters& registers;

  struct Overlay {  // newer than the extents
    uint64_t block = 0;
    PageRef page;
  };
  InodeRow source{}, target{};
  uint64_t end = blocks_for(end_offset);
  std::vector<Overlay> pages{};
  std::vector<MappedBlock> mapped{};
  std::vector<BlockRange> shared{};

  // How many bytes: whole blocks, but for the last one of the source.
  Outcome<uint64_t> clone();
  void find_pages();
  Outcome<void> find_extents();
  void map(const RowsIn& replaced);
  FileBlock to_block(uint64_t block) const { return FileBlock(block - first + to_first); }
};

Outcome<uint64_t> CloneChunk::clone() {
  source = TRY(fs.load(run, from));
  target = TRY(fs.load(run, to));
  end = std::min(end, std::max(first, blocks_for(source.size)));
  if (first == end) return 0;
  find_pages();
  TRY(find_extents());
  const RowsIn replaced =
      TRY(rows_in(fs, run, to, target, to_first, to_first + (end - first), fs.data().options.rows_max));
  end = first + (replaced.end - to_first);
  std::erase_if(pages, [this](const Overlay& page) { return page.block >= end; });
  std::erase_if(mapped, [this](const MappedBlock& block) { return block.file_block >= to_block(end); });
  TRY(fs.data().admit_blocks(run, static_cast<int64_t>(pages.size()), registers.write_backs));
  TRY(fs.data().admit_page_rows(run, pages.size()));

  const uint64_t bytes = std::min({end * block_bytes, source.size, end_offset}) - first * block_bytes;
  TRY(erase_content(fs, run, to, target, replaced));
  for (const MappedBlock& block : mapped) append_range(shared, block.block, 1);
  TRY(share_blocks(fs, run, shared));
  if (!shared.empty()) {
    // Not through store(), which would make stable what is pending of the source.
    InodeRow row = *TRY(fs.inodes.get(run, {from}));
    if (!row.may_share_blocks()) {
      row.flags |= InodeRow::shares_blocks;
      fs.inodes.put(run, {from}, row);
      if (from == to) target.flags = row.flags;
    }
    target.flags |= InodeRow::shares_blocks;
  }
  ExtentMap extents(fs, to);
  FreedBlocks freed;  // remains empty: what was there is erased
  extents.map(run, target, mapped, freed);
  BlockCount blocks(fs, run, to);
  const uint64_t stamp = fs.new_change();
  for (const Overlay& p : pages) {
    put_page_row(fs, run, to, to_block(p.block), stamp, p.page, {});
    blocks.now_stable(target, {});
  }
  for (size_t i = 0; i < mapped.size(); ++i) blocks.now_stable(target, {});
  target.size = std::max(target.size, to_first * block_bytes + bytes);
  fs.touch_content(run, target);
  clear_set_id(target, who);
  blocks.store(to, target);
  fs.data().pages_gone(run);
  return bytes;
}

// Page rows and dirty pages, no more than a record may hold.
void CloneChunk::find_pages() {
  const size_t pages_max = fs.data().options.record_blocks_max;
  const PageKey begin{from, FileBlock(first)}, last{from, FileBlock(end - 1)};
  auto dirty = fs.dirty_pages.first(run, begin, last);
  auto row = *fs.pages.first(run, begin, last);  // resident: never faults
  while (dirty || row) {
    const bool use_dirty = dirty && (!row || dirty.key <= row.key);
    const uint64_t block = (use_dirty ? dirty.key : row.key).block.value;
    if (pages.size() == pages_max) {
      end = block;
      return;
    }
    if (use_dirty)
      pages.push_back({block, dirty.row->page});
    else if (!source.cut_off(row.key.block, row.row->stamp))
      pages.push_back({block, row.row->page});
    if (row && row.key.block.value == block) row = *fs.pages.next(run, row.key, last);
    if (use_dirty) dirty = fs.dirty_pages.next(run, dirty, last);
  }
}

Outcome<void> CloneChunk::find_extents() {
  uint32_t extents_left = fs.data().options.rows_max;
  ExtentCursor extents(fs, run, from, source, first, end);
  auto page = pages.begin();
  for (ExtentPart part; TRY(extents.next(part));) {
    if (extents_left-- == 0) {
      end = part.first.value;
      break;
    }
    if (part.cut_off) continue;
    for (uint64_t i = 0; i < part.count(); ++i) {
      const uint64_t block = part.first.value + i;
      while (page != pages.end() && page->block < block) ++page;
      if (page != pages.end() && page->block == block) continue;
      mapped.push_back({to_block(block), BlockNo(part.block.value + i), part.crcs[i]});
    }
  }
  std::erase_if(pages, [this](const Overlay& p) { return p.block >= end; });
  return {};
}

Outcome<void> hold(FileSystem& fs, Run& run, const CloneRange& range) {
  HeldFiles& cloning = fs.data().cloning;
  for (const InodeId id : {range.from, range.to})
    if (!cloning.is_free(run, id)) {
      cloning.wait(run, id);
      return Stop::wait();
    }
  for (const InodeId id : {range.from, range.to}) cloning.take(run, id);
  return {};
}

Stop go_on(FileSystem& fs, Run& run) {
  fs.hooks().resume(run.transaction());
  return Stop::wait();
}

Outcome<void> clone_chunks(FileSystem& fs, Run& run, const Principal& who, const CloneRange& range,
                           CloneRegisters& registers) {
  if (!registers.started) {
    const uint64_t count = TRY(clone_count(fs, run, range));
    const InodeRow source = TRY(fs.load(run, range.from));
    const InodeRow target = TRY(fs.load(run, range.to));
    if (range.from_offset % block_bytes != 0 || range.to_offset % block_bytes != 0)
      return Status::invalid_argument;
    const bool to_the_end =
        range.from_offset + count == source.size && range.to_offset + count >= target.size;
    if (count % block_bytes != 0 && !to_the_end) return Status::invalid_argument;
    TRY(hold(fs, run, range));
    registers = {.started = true, .count = count};
  } else {
    TRY(hold(fs, run, range));
  }
  if (registers.done < registers.count) {
    CloneChunk chunk{fs,
                     run,
                     who,
                     range.from,
                     range.to,
                     (range.from_offset + registers.done) / block_bytes,
                     range.from_offset + registers.count,
                     (range.to_offset + registers.done) / block_bytes,
                     registers};
    const uint64_t done = TRY(chunk.clone());
    registers.done = done == 0 ? registers.count : registers.done + done;
  }
  if (registers.done < registers.count) {
    PERDURE_MARK("CLONE goes on in another run");
    return go_on(fs, run);
  }
  return {};
}

// Bytes that cannot be shared: read, and written as a small stable WRITE. Returns how many.
Outcome<uint64_t> copy_bytes(FileSystem& fs, Run& run, const Principal& who, const CloneRange& range,
                             uint64_t count_max, CloneRegisters& registers) {
  const InodeRow source = TRY(fs.load(run, range.from));
  const uint64_t from = range.from_offset + registers.done;
  if (from >= source.size) return 0;
  const uint64_t count = std::min<uint64_t>(count_max, fs.data().options.record_bytes_max);
  const ReadResult read = TRY(fs::read(fs, run, range.from, source, from, count));
  std::vector<Bytes> pieces;
  uint64_t skip = read.first_offset, left = read.length;
  for (const PageRef& page : read.pages) {
    const Bytes piece = page.bytes().subspan(skip).first(std::min(left, block_bytes - skip));
    pieces.push_back(piece);
    left -= piece.size();
    skip = 0;
  }
  WriteRegisters write_registers{.write_backs = registers.write_backs};
  const auto written = write(fs, run, who, range.to, range.to_offset + registers.done, WriteData(pieces),
                             Stable::file_sync, write_registers);
  registers.write_backs = write_registers.write_backs;
  return TRY(written).count;
}

// The next part: whole blocks, if there are any, else bytes up to where there are. 0: there is no more.
Outcome<uint64_t> copy_some(FileSystem& fs, Run& run, const Principal& who, const CloneRange& range,
                            CloneRegisters& registers) {
  for (const InodeId id : {range.from, range.to}) TRY(fs.data().admit_change(run, id));
  const InodeRow source = TRY(fs.load(run, range.from));
  const InodeRow target = TRY(fs.load(run, range.to));
  const uint64_t from = range.from_offset + registers.done, to = range.to_offset + registers.done;
  const bool alike = from % block_bytes == to % block_bytes;
  const uint64_t count = std::min(registers.count, alike ? copy_bytes_max : copy_moved_bytes_max);
  const uint64_t end = std::min(range.from_offset + count, source.size);
  if (from >= end) return 0;
  if (!alike) return copy_bytes(fs, run, who, range, end - from, registers);
  if (from % block_bytes != 0)
    return copy_bytes(fs, run, who, range, std::min(end - from, block_bytes - from % block_bytes), registers);
  // The source's last block, too, if nothing is behind it in the target's.
  const bool whole = end == source.size && to + (end - from) >= target.size;
  const uint64_t shared_end = whole ? end : end / block_bytes * block_bytes;
  if (from == shared_end) return copy_bytes(fs, run, who, range, end - from, registers);
  return CloneChunk{
      fs, run, who, range.from, range.to, from / block_bytes, shared_end, to / block_bytes, registers}
      .clone();
}

}  // namespace

Outcome<uint64_t> clone_count(FileSystem& fs, Run& run, const CloneRange& range) {
  const InodeRow source = TRY(fs.load(run, range.from));
  TRY(check_regular(source));
  TRY(check_regular(TRY(fs.load(run, range.to))));
  if (range.from_offset > source.size) return Status::invalid_argument;
  const uint64_t count = range.count == 0 ? source.size - range.from_offset : range.count;
  if (count > source.size - range.from_offset) return Status::invalid_argument;
  if (count > file_bytes_max - std::min(range.to_offset, file_bytes_max)) return Status::too_big;
  const uint64_t apart =
      std::max(range.from_offset, range.to_offset) - std::min(range.from_offset, range.to_offset);
  if (range.from == range.to && apart < count) return Status::invalid_argument;
  return count;
}

Outcome<void> clone(FileSystem& fs, Run& run, const Principal& who, const CloneRange& range,
                    CloneRegisters& registers) {
  const Outcome<void> cloned = clone_chunks(fs, run, who, range, registers);
  if (cloned || cloned.error().is_status()) {
    if (cloned)
      for (const InodeId id : {range.from, range.to}) fs.data().cloning.release(run, id);
    else
      fs.data().cloning.release_now(run.transaction());
    registers = {};
  }
  return cloned;
}

Outcome<uint64_t> copy(FileSystem& fs, Run& run, const Principal& who, const CloneRange& range,
                       CloneRegisters& registers) {
  if (!registers.started) {
    const uint64_t count = TRY(clone_count(fs, run, range));
    registers = {.started = true, .count = count};
  }
  const Outcome<uint64_t> done = copy_some(fs, run, who, range, registers);
  // What has been copied is told, whatever came afterwards.
  if (!done && !(done.error().is_status() && registers.done != 0)) return done.error();
  registers.done += done.value_or(0);
  if (done.value_or(0) == 0 || registers.done == registers.count) return std::exchange(registers, {}).done;
  PERDURE_MARK("COPY goes on in another run");
  return go_on(fs, run);
}

}  // namespace perdure::fs
