#include "fs/extents.h"

#include <algorithm>

namespace perdure::fs {

namespace {

// An extent that holds file block b ends at most here.
constexpr uint64_t reach = ExtentRow::blocks_max - 1;

}  // namespace

ExtentCursor::ExtentCursor(FileSystem& fs, Run& run, InodeId id, const InodeRow& inode, uint64_t first,
                           uint64_t end)
    : fs_(fs), run_(run), id_(id), inode_(inode), next_(first), end_(std::min(end, inode.extent_end)) {}

Outcome<bool> ExtentCursor::next(ExtentPart& part) {
  if (next_ >= end_) return false;
  if (!extent_ || extent_.key.last_block.value < next_) {
    const uint64_t last = std::min(end_ + reach, inode_.extent_end) - 1;
    extent_ = TRY(fs_.extents.first(run_, {id_, FileBlock(next_)}, {id_, FileBlock(last)}));
  }
  if (!extent_ || extent_.row->first_block.value >= end_) {
    next_ = end_;
    return false;
  }
  const ExtentRow& row = *extent_.row;
  const uint64_t first = std::max(next_, row.first_block.value);
  uint64_t end = std::min(end_, extent_.key.last_block.value + 1);
  part.cut_off = inode_.cut_off(FileBlock(first), row.stamp);
  if (!part.cut_off && inode_.cut_off(FileBlock(end - 1), row.stamp)) end = inode_.cut_from;
  const uint64_t skip = first - row.first_block.value;
  part.first = FileBlock(first);
  part.block = BlockNo(row.block.value + skip);
  part.crcs = std::span(row.crcs).subspan(skip, end - first);
  next_ = end;
  return true;
}

Outcome<void> ExtentMap::look_up(Run& run, const InodeRow& inode, std::span<const FileBlock> blocks) {
  old_.clear();
  bool fault = false;
  while (!blocks.empty() && blocks.back().value >= inode.extent_end) blocks = blocks.first(blocks.size() - 1);
  for (size_t i = 0; i < blocks.size();) {
    // Blocks that one extent could hold are looked for, and if need be fetched, together.
    size_t end = i + 1;
    while (end < blocks.size() && blocks[end].value - blocks[end - 1].value <= reach) ++end;
    const uint64_t last = std::min(blocks[end - 1].value + reach + 1, inode.extent_end) - 1;
    while (i < end) {
      auto found = fs_.extents.first(run, {id_, blocks[i]}, {id_, FileBlock(last)});
      if (!found) {
        if (!found.error().is_fault()) return std::unexpected(found.error());
        fault = true;
      }
      if (!found || !*found) {
        i = end;
        break;
      }
      uint64_t next = found->row->first_block.value;
      if (next <= blocks[i].value) {
        old_.push_back(*found);
        next = found->key.last_block.value + 1;
      }
      while (i < end && blocks[i].value < next) ++i;
    }
  }
  if (fault) return Stop::fault();
  return {};
}

bool ExtentMap::has(FileBlock block) const {
  auto it = std::lower_bound(old_.begin(), old_.end(), block,
                             [](const auto& extent, FileBlock b) { return extent.key.last_block < b; });
  return it != old_.end() && it->row->first_block <= block;
}

// Collects pieces in the order of their file blocks and makes as few extents of them as possible.
class ExtentMap::Builder {
 public:
  Builder(FileSystem& fs, InodeId id, const InodeRow& inode) : fs_(fs), id_(id), inode_(inode) {}

  void append(FileBlock file_block, BlockNo block, uint32_t crc, uint64_t stamp) {
    if (!row_.crcs.empty() && !continues(file_block, block, stamp)) finish_row();
    if (row_.crcs.empty()) {
      row_.first_block = file_block;
      row_.block = block;
      row_.stamp = stamp;
      take_left_neighbour();
    }
    row_.crcs.push_back(crc);
  }
  // This extent is replaced by what is appended.
  void replace(FileBlock last_block) { erased_.push_back(last_block); }

  // File block behind the last extent.
  uint64_t finish() {
    if (!row_.crcs.empty()) finish_row();
    return rows_.empty() ? 0 : rows_.back().first.value + 1;
  }
  void put(Run& run) {
    auto row = rows_.begin();
    for (const FileBlock last : erased_) {
      while (row != rows_.end() && row->first < last) ++row;
      if (row == rows_.end() || row->first != last) fs_.extents.erase(run, {id_, last});
    }
    for (auto& [last, extent] : rows_) fs_.extents.put(run, {id_, last}, std::move(extent));
  }

 private:
  bool continues(FileBlock file_block, BlockNo block, uint64_t stamp) const {
    const uint64_t count = row_.crcs.size();
    return count < ExtentRow::blocks_max && row_.stamp == stamp &&
           row_.first_block.value + count == file_block.value && row_.block.value + count == block.value;
  }

  // An extent that ends where the new one begins, in the file and in the store, becomes part of it: so a file
  // that is written in small pieces gets large extents. Only if it is in memory anyway. What is cut off and
  // what is not never share a row: it has one stamp.
  void take_left_neighbour() {
    if (row_.first_block.value == 0 || inode_.cut_off(row_.first_block, row_.stamp)) return;
    const FileBlock last(row_.first_block.value - 1);
    if (!erased_.empty() && erased_.back() >= last) return;
    const ExtentRow* left = fs_.extents.peek({id_, last});
    if (left == nullptr || left->crcs.size() >= ExtentRow::blocks_max ||
        left->block.value + left->crcs.size() != row_.block.value || inode_.cut_off(last, left->stamp))
      return;
    row_.first_block = left->first_block;
    row_.block = left->block;
    row_.crcs = left->crcs;
    replace(last);
  }

  void finish_row() {
    const FileBlock last(row_.first_block.value + row_.crcs.size() - 1);
    rows_.emplace_back(last, std::exchange(row_, {}));
  }

  FileSystem& fs_;
  const InodeId id_;
  const InodeRow& inode_;
  ExtentRow row_;
  std::vector<std::pair<FileBlock, ExtentRow>> rows_;
  std::vector<FileBlock> erased_;
};

void ExtentMap::map(Run& run, InodeRow& inode, std::span<MappedBlock> mapped, FreedBlocks& freed) {
  if (mapped.empty()) return;
  const uint64_t stamp = fs_.new_change();
  Builder builder(fs_, id_, inode);
  auto next = mapped.begin();
  const auto append_new = [&] {
    builder.append(next->file_block, next->block, next->crc, stamp);
    ++next;
  };
  for (const auto& old : old_) {
    const ExtentRow& row = *old.row;
    while (next != mapped.end() && next->file_block < row.first_block) append_new();
    if (next == mapped.end() || next->file_block > old.key.last_block) continue;
    for (size_t i = 0; i < row.crcs.size(); ++i) {
      const FileBlock file_block(row.first_block.value + i);
      const BlockNo block(row.block.value + i);
      if (next != mapped.end() && next->file_block == file_block) {
        freed.add(block, 1, inode.may_share_blocks());
        next->had_extent = true;
        append_new();
      } else {
        // What is cut off stays so, until its reclaim comes to it.
        builder.append(file_block, block, row.crcs[i],
                       inode.cut_off(file_block, row.stamp) ? row.stamp : stamp);
      }
    }
    builder.replace(old.key.last_block);
  }
  while (next != mapped.end()) append_new();

  const uint64_t end = builder.finish();
  if (end > inode.extent_end) {
    fs_.extents.known_empty({id_, FileBlock(inode.extent_end)}, {id_, FileBlock(end - 1)});
    inode.extent_end = end;
  }
  builder.put(run);
}

}  // namespace perdure::fs
