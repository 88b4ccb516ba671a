#include "fs/mapping.h"

#include "base/planted_bug.h"
#include "fs/content.h"
#include "fs/data.h"

namespace perdure::fs {

namespace {

constexpr size_t files_missing_max = 64;

// What happens to a page of the placement.
enum class Fate : uint8_t { unused, mapped, in_record };

// The pages of one file.
struct FilePart {
  InodeId id;
  size_t begin = 0, end = 0;  // in Placement::pages
  InodeRow inode;
  ExtentMap extents;
  bool used = false;
};

struct Mapping {
  FileSystem& fs;
  Run& run;
  const PlacementId placement_id;
  const Placement& placement;
  const IfChanged if_changed;
  std::vector<Fate> fates = std::vector<Fate>(placement.pages.size());
  std::vector<FilePart> parts{};

  Outcome<void> run_it();
  Fate fate_of(const PlacedPage& page) const;
  Outcome<void> prepare(FilePart& part);
  void apply(FilePart& part, FreedBlocks& freed);
};

Fate Mapping::fate_of(const PlacedPage& page) const {
  const PageKey key{page.inode, page.file_block};
  if (page.source == PlacedPage::Source::page_row) {
    const PageRow* row = *fs.pages.get(run, key);  // resident: never faults
    const bool same =
        row != nullptr && (row->stamp == page.stamp || planted("write-back maps a page that has changed"));
    return same ? Fate::mapped : Fate::unused;
  }
  const DirtyPage* row = fs.dirty_pages.get(run, key);
  if (row == nullptr) return Fate::unused;
  if (row->stamp == page.stamp || planted("write-back maps a page that has changed")) return Fate::mapped;
  return if_changed == IfChanged::put_in_record ? Fate::in_record : Fate::unused;
}

// Looks up all that apply() will need.
Outcome<void> Mapping::prepare(FilePart& part) {
  std::vector<FileBlock> blocks;
  for (size_t i = part.begin; i < part.end; ++i) {
    fates[i] = fate_of(placement.pages[i]);
    if (fates[i] != Fate::unused) blocks.push_back(placement.pages[i].file_block);
  }
  part.used = !blocks.empty();
  if (!part.used) return {};
  auto inode = fs.load(run, part.id);
  if (!inode && inode.error().is_status()) {  // dropped: its reclaim frees the page rows
    for (size_t i = part.begin; i < part.end; ++i) fates[i] = Fate::unused;
    part.used = false;
    return {};
  }
  part.inode = TRY(std::move(inode));
  for (size_t i = part.begin; i < part.end; ++i) {
    const PlacedPage& page = placement.pages[i];
    if (page.source == PlacedPage::Source::page_row && part.inode.cut_off(page.file_block, page.stamp))
      fates[i] = Fate::unused;
  }
  return part.extents.look_up(run, part.inode, blocks);
}

void Mapping::apply(FilePart& part, FreedBlocks& freed) {
  std::vector<MappedBlock> mapped;
  for (size_t i = part.begin; i < part.end; ++i) {
    const PlacedPage& page = placement.pages[i];
    if (fates[i] == Fate::mapped) mapped.push_back({page.file_block, page.block, page.crc});
  }
  part.extents.map(run, part.inode, mapped, freed);
  BlockCount blocks(fs, run, part.id);
  const uint64_t stamp = fs.new_change();
  auto next = mapped.begin();
  DirtyPages::Edit edit(fs.dirty_pages, run);
  for (size_t i = part.begin; i < part.end; ++i) {
    if (fates[i] == Fate::unused) continue;
    const PlacedPage& page = placement.pages[i];
    const PageKey key{page.inode, page.file_block};
    const DirtyPage* dirty = fs.dirty_pages.get(run, key);
    BlockRows before{dirty != nullptr, *fs.pages.get(run, key) != nullptr, false};
    if (fates[i] == Fate::in_record) {
      before.extent = part.extents.has(page.file_block);
      edit.finish();
      put_page_row(fs, run, part.id, page.file_block, stamp, dirty->page, before);
      blocks.now_stable(part.inode, before);
      continue;
    }
    before.extent = (next++)->had_extent;
    if (page.source == PlacedPage::Source::dirty) edit.erase(key);
    if (before.page) fs.pages.erase(run, key);
    blocks.now_stable(part.inode, before);
  }
  blocks.store(part.id, part.inode);
}

Outcome<void> Mapping::run_it() {
  size_t missing = 0;
  for (size_t begin = 0; begin < placement.pages.size() && missing < files_missing_max;) {
    const InodeId id = placement.pages[begin].inode;
    size_t end = begin;
    while (end < placement.pages.size() && placement.pages[end].inode == id) ++end;
    FilePart& part = parts.emplace_back(FilePart{id, begin, end, {}, ExtentMap(fs, id)});
    if (const auto prepared = prepare(part); !prepared) {
      if (!prepared.error().is_fault()) return prepared;
      ++missing;
    }
    begin = end;
  }
  if (missing != 0) return Stop::fault();

  FreedBlocks freed;
  for (FilePart& part : parts)
    if (part.used) apply(part, freed);
  TRY(freed.put(fs, run));
  std::vector<bool> used;
  for (const Fate fate : fates) used.push_back(fate == Fate::mapped);
  fs.data().placements.take(run, placement_id, used);
  fs.data().pages_gone(run);
  return {};
}

}  // namespace

Outcome<void> map_placement(FileSystem& fs, Run& run, PlacementId id, IfChanged if_changed) {
  const Placement* placement = fs.data().placements.find(id);
  CHECK(placement != nullptr && placement->state == Placement::State::written);
  return Mapping{fs, run, id, *placement, if_changed}.run_it();
}

Outcome<void> put_in_record(FileSystem& fs, Run& run, InodeId id, const std::vector<FileBlock>& blocks) {
  InodeRow inode = TRY(fs.load(run, id));
  ExtentMap extents(fs, id);
  TRY(extents.look_up(run, inode, blocks));
  BlockCount count(fs, run, id);
  const uint64_t stamp = fs.new_change();
  for (const FileBlock block : blocks) {
    const PageRef page = fs.dirty_pages.get(run, {id, block})->page;
    const BlockRows before{true, *fs.pages.get(run, {id, block}) != nullptr, extents.has(block)};
    put_page_row(fs, run, id, block, stamp, page, before);
    count.now_stable(inode, before);
  }
  count.store(id, inode);
  fs.data().pages_gone(run);
  return {};
}

}  // namespace perdure::fs
