#include "fs/write_back.h"

#include <algorithm>
#include <optional>

#include "base/mark.h"
#include "fs/data.h"
#include "fs/mapping.h"

namespace perdure::fs {

namespace {

constexpr uint64_t rows_looked_at_max = 16384;  // by one run
constexpr PageKey last_key{InodeId(UINT64_MAX), FileBlock(UINT64_MAX)};

// `pages` in the order of their keys.
bool has_dirty_page(const std::vector<PlacedPage>& pages, InodeId id) {
  auto it = std::lower_bound(pages.begin(), pages.end(), id,
                             [](const PlacedPage& page, InodeId i) { return page.inode < i; });
  while (it != pages.end() && it->inode == id && it->source != PlacedPage::Source::dirty) ++it;
  return it != pages.end() && it->inode == id;
}

struct WriteBack {
  FileSystem& fs;
  Run& run;
  WriteBackRegisters& registers;
  Data& data = fs.data();
  std::vector<PlacedPage> pages{};  // that are placed next
  std::vector<InodeId> files{};     // whose dirty pages have just been mapped
  bool looked_at_all = false, mapped_some = false;
  std::optional<InodeId> left_alone{};  // a file with dirty pages that a COMMIT is placing

  bool of_everything() const { return registers.dirty_before == registers.rows_before; }
  Outcome<bool> place();
  Outcome<bool> placed();
  void choose(uint64_t pages_max);
  bool choose_dirty(const DirtyPages::Found& dirty);
  void choose_row(const state::Table<PageRow>::Found& row);
  void release_files();
  Outcome<bool> fail(Status status);
};

// Chooses pages from registers.position on, in the order of their keys, and moves the position behind them.
void WriteBack::choose(uint64_t pages_max) {
  auto dirty = fs.dirty_pages.first(run, registers.position, last_key);
  auto row = *fs.pages.first(run, registers.position, last_key);
  for (uint64_t looked_at = 0; dirty || row; ++looked_at) {
    const bool use_dirty = dirty && (!row || dirty.key <= row.key);
    const bool use_row = row && (!dirty || row.key <= dirty.key);
    const PageKey key = use_dirty ? dirty.key : row.key;
    if (pages.size() >= pages_max || looked_at >= rows_looked_at_max) {
      registers.position = key;
      return;
    }
    bool chosen = false;
    const bool old_row = use_row && row.row->stamp < registers.rows_before;
    if (use_dirty && (old_row || dirty.row->stamp < registers.dirty_before)) chosen = choose_dirty(dirty);
    if (old_row && !chosen) choose_row(row);
    if (use_dirty) dirty = fs.dirty_pages.next(run, dirty, last_key);
    if (use_row) row = *fs.pages.next(run, key, last_key);
  }
  registers.position = last_key;
  looked_at_all = true;
}

bool WriteBack::choose_dirty(const DirtyPages::Found& dirty) {
  if (!data.placing.take(run, dirty.key.inode)) {
    PERDURE_MARK("write-back leaves a file alone that is being committed");
    left_alone = dirty.key.inode;
    return false;
  }
  PlacedPage& page = pages.emplace_back();
  page.inode = dirty.key.inode;
  page.file_block = dirty.key.block;
  page.stamp = dirty.row->stamp;
  page.page = dirty.row->page;
  page.source = PlacedPage::Source::dirty;
  return true;
}

void WriteBack::choose_row(const state::Table<PageRow>::Found& row) {
  const InodeRow* inode = fs.inodes.peek({row.key.inode});
  if (inode != nullptr && inode->cut_off(row.key.block, row.row->stamp)) return;  // will be reclaimed
  PlacedPage& page = pages.emplace_back();
  page.inode = row.key.inode;
  page.file_block = row.key.block;
  page.stamp = row.row->stamp;
  page.page = row.row->page;
  page.source = PlacedPage::Source::page_row;
}

// Chooses what is written next, as long as there may be more on the way, and goes on or waits.
Outcome<bool> WriteBack::place() {
  const bool from_the_start = registers.position == PageKey{};
  uint64_t room = 0;
  while (registers.placements.back() == 0 && !looked_at_all) {
    room = std::min<uint64_t>(data.options.write_back_blocks, data.allocator.free_blocks());
    choose(room);
    if (pages.empty()) break;
    const PlacementId placement = data.placements.place(run, std::exchange(pages, {}));
    CHECK(placement != 0);
    *std::ranges::find(registers.placements, PlacementId{0}) = placement;
  }
  release_files();
  if (registers.placements.front() != 0) {
    registers.step = WriteBackStep::placed;
    // It may have ended while the one before was being mapped: nobody will say so again.
    const bool writing =
        data.placements.find(registers.placements.front())->state == Placement::State::writing;
    if (!writing) {
      PERDURE_MARK("a chunk of write-back has ended before the one before was mapped");
      return false;
    }
    return Stop::wait();
  }
  registers.step = WriteBackStep::placing;
  // What this run has mapped is kept, even if there is no room for more.
  if (!looked_at_all && (room != 0 || mapped_some)) return false;
  if (!looked_at_all) {
    PERDURE_MARK("write-back finds no room");
    return fail(Status::no_space);
  }
  // Whoever waits for fewer dirty pages would ask for the next pass at once, which could not do more.
  if (left_alone && from_the_start && of_everything()) {
    PERDURE_MARK("write-back waits for a COMMIT");
    registers.position = {};
    data.placing.wait(run, *left_alone);
    return Stop::wait();
  }
  run.on_commit([&d = data, all = of_everything()] { d.write_back_ended(Status::ok, all); });
  return true;
}

Outcome<bool> WriteBack::placed() {
  Placement* placement = data.placements.find(registers.placements.front());
  if (placement == nullptr) {
    registers.placements = {};
    return place();
  }
  if (placement->state == Placement::State::writing) return Stop::wait();  // its end resumes this transaction
  if (placement->state == Placement::State::failed) return fail(placement->failure);
  if (const auto mapped = map_placement(fs, run, registers.placements.front(), IfChanged::leave); !mapped) {
    if (mapped.error().is_fault()) return Stop::fault();
    return fail(mapped.error().status());
  }
  mapped_some = true;
  for (const PlacedPage& page : placement->pages)
    if (page.source == PlacedPage::Source::dirty && (files.empty() || files.back() != page.inode))
      files.push_back(page.inode);
  std::shift_left(registers.placements.begin(), registers.placements.end(), 1);
  registers.placements.back() = 0;
  return place();
}

// The pass ends early, as soon as nothing is being written. At once, not when the run commits: its changes
// are about to be taken back.
Outcome<bool> WriteBack::fail(Status status) {
  for (const PlacementId id : registers.placements)
    if (const Placement* placement = data.placements.find(id))
      if (placement->state == Placement::State::writing) return Stop::wait();
  for (const PlacementId id : registers.placements) data.placements.abandon(id);
  data.placing.release_now(run.transaction());
  data.write_back_ended(status, of_everything());
  return status;
}

// But for those that have dirty pages on their way.
void WriteBack::release_files() {
  const auto on_its_way = [this](InodeId id) {
    return std::any_of(registers.placements.begin(), registers.placements.end(), [&](PlacementId placement) {
      const Placement* p = data.placements.find(placement);
      return p != nullptr && has_dirty_page(p->pages, id);
    });
  };
  for (const InodeId id : files)
    if (!on_its_way(id)) data.placing.release(run, id);
}

}  // namespace

WriteBackRegisters begin_write_back(FileSystem& fs, WriteBackScope scope, env::Duration age) {
  WriteBackRegisters registers;
  switch (scope) {
    case WriteBackScope::aged:
      registers.dirty_before = fs.data().stamp_before(age);
      break;
    case WriteBackScope::checkpoint:
      registers.dirty_before = fs.data().stamp_before(age);
      registers.rows_before = fs.new_change();
      break;
    case WriteBackScope::everything:
      registers.dirty_before = registers.rows_before = fs.new_change();
      break;
  }
  return registers;
}

Outcome<bool> write_back(FileSystem& fs, Run& run, WriteBackRegisters& registers) {
  WriteBack work{fs, run, registers};
  switch (registers.step) {
    case WriteBackStep::placing:
      return work.place();
    case WriteBackStep::placed:
      return work.placed();
  }
  CHECK(false);
}

}  // namespace perdure::fs
