#include "fs/sharing.h"

#include "base/planted_bug.h"

namespace perdure::fs {

namespace {

constexpr uint64_t group_blocks = BlockReferenceRow::group_blocks;

// The rows of these blocks, as they are to be.
using References = absl::btree_map<uint64_t, BlockReferenceRow>;

// A fault is returned after all have been looked for, so that everything missing is fetched at once.
Outcome<References> look_up(FileSystem& fs, Run& run, std::span<const BlockRange> ranges) {
  References references;
  bool fault = false;
  for (const BlockRange& range : ranges) {
    const uint64_t last = (range.first.value + range.count - 1) / group_blocks;
    for (uint64_t group = range.first.value / group_blocks; group <= last; ++group) {
      const auto row = fs.block_references.get(run, {group});
      if (!row && !row.error().is_fault()) return row.error();
      fault = fault || !row;
      if (row) references.try_emplace(group, *row != nullptr ? **row : BlockReferenceRow{});
    }
  }
  if (fault) return Stop::fault();
  return references;
}

void store(FileSystem& fs, Run& run, const References& references) {
  for (const auto& [group, row] : references) {
    if (row.more == BlockReferenceRow{}.more)
      fs.block_references.erase(run, {group});
    else
      fs.block_references.put(run, {group}, row);
  }
}

}  // namespace

Outcome<void> share_blocks(FileSystem& fs, Run& run, std::span<const BlockRange> ranges) {
  References references = TRY(look_up(fs, run, ranges));
  for (const BlockRange& range : ranges)
    for (uint64_t block = range.first.value; block < range.first.value + range.count; ++block) {
      uint32_t& more = references.at(block / group_blocks).more[block % group_blocks];
      if (more == UINT32_MAX) return Status::resource;
      ++more;
    }
  if (!planted("a shared block is not counted")) store(fs, run, references);
  return {};
}

Outcome<void> unshare_blocks(FileSystem& fs, Run& run, std::span<const BlockRange> ranges,
                             std::vector<BlockRange>& unreferenced) {
  References references = TRY(look_up(fs, run, ranges));
  bool changed = false;
  for (const BlockRange& range : ranges)
    for (uint64_t block = range.first.value; block < range.first.value + range.count; ++block) {
      uint32_t& more = references.at(block / group_blocks).more[block % group_blocks];
      if (more == 0) {
        append_range(unreferenced, BlockNo(block), 1);
      } else {
        --more;
        changed = true;
      }
    }
  if (changed) store(fs, run, references);
  return {};
}

}  // namespace perdure::fs
