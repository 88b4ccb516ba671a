#include "fs/placement.h"

#include <spdlog/spdlog.h>

#include "base/planted_bug.h"
#include "fs/data.h"

namespace perdure::fs {

namespace {

Status status_of(const Error& error) {
  return error.kind == ErrorKind::no_space ? Status::no_space : Status::io_error;
}

}  // namespace

std::vector<BlockRange> blocks_of(const std::vector<PlacedPage>& pages) {
  std::vector<BlockRange> ranges;
  for (const PlacedPage& page : pages) append_range(ranges, page.block, 1);
  return ranges;
}

PlacementId Placements::place(Run& run, std::vector<PlacedPage> pages) {
  CHECK(!pages.empty());
  const std::vector<BlockRange> ranges = allocator_.reserve(run, pages.size());
  if (ranges.empty()) return 0;
  auto next = pages.begin();
  for (const BlockRange& range : ranges)
    for (uint32_t i = 0; i < range.count; ++i, ++next) {
      next->block = BlockNo(range.first.value + i);
      next->crc = next->page.crc();
    }
  auto placement = std::make_unique<Placement>();
  placement->waiter = run.transaction();
  placement->tick = run.tick();
  placement->pledged = pages.front().source != PlacedPage::Source::write;
  placement->pages = std::move(pages);
  if (placement->pledged) {
    const auto count = static_cast<int64_t>(placement->pages.size());
    allocator_.add_placed(count);
    run.on_undo([this, count] { allocator_.add_placed(-count); });
  }
  const PlacementId id = (fs_.epoch().value << 40U) | ++last_id_;
  run.on_commit([this, id] { start(id); });
  run.on_undo([this, id] { placements_.erase(id); });
  placements_.emplace(id, std::move(placement));
  return id;
}

Placement* Placements::find(PlacementId id) {
  auto it = placements_.find(id);
  return it == placements_.end() ? nullptr : it->second.get();
}

// Pages on consecutive blocks are written together.
void Placements::start(PlacementId id) {
  Placement& p = *placements_.at(id);
  p.flush_failures = flush_failures_;
  std::vector<PageRef> part;
  for (size_t i = 0; i < p.pages.size();) {
    const BlockNo first = p.pages[i].block;
    part.clear();
    while (i < p.pages.size() && part.size() < write_blocks_max &&
           p.pages[i].block.value == first.value + part.size())
      part.push_back(p.pages[i++].page);
    ++p.writes_under_way;
    ++figures_.writes;
    figures_.pages_written += part.size();
    blocks_.write(first, part, [this, id, alive = std::weak_ptr(alive_)](Result<void> result) {
      if (!alive.expired()) written(id, result);
    });
  }
}

void Placements::written(PlacementId id, const Result<void>& result) {
  Placement& p = *placements_.at(id);
  if (!result) {
    spdlog::error("file data cannot be written: {}", result.error().message);
    p.failure = status_of(result.error());
  }
  if (--p.writes_under_way != 0) return;
  if (p.failure != Status::ok) return end(id, Placement::State::failed);
  if (planted("an extent names a block before it is flushed")) return end(id, Placement::State::written);
  flush(id);
}

// A flush covers the writes that ended before it began: whoever comes while one is under way waits for the
// next one.
void Placements::flush(PlacementId id) {
  flush_next_.push_back(id);
  if (!flushing_.empty()) return;
  std::swap(flushing_, flush_next_);
  ++figures_.flushes;
  blocks_.flush([this, alive = std::weak_ptr(alive_)](Result<void> result) {
    if (!alive.expired()) flushed(result);
  });
}

void Placements::flushed(const Result<void>& result) {
  if (!result) {
    spdlog::error("file data cannot be flushed: {}", result.error().message);
    ++flush_failures_;
    if (const auto& failed = fs_.data().hooks.failed) failed(result.error());
  }
  for (const PlacementId id : std::exchange(flushing_, {})) {
    Placement& p = *placements_.at(id);
    if (p.flush_failures == flush_failures_) {
      end(id, Placement::State::written);
    } else {
      p.failure = result ? Status::io_error : status_of(result.error());
      end(id, Placement::State::failed);
    }
  }
  if (flush_next_.empty()) return;
  const PlacementId next = flush_next_.back();
  flush_next_.pop_back();
  flush(next);
}

void Placements::end(PlacementId id, Placement::State state) {
  Placement& p = *placements_.at(id);
  p.state = state;
  if (state == Placement::State::failed) ++figures_.failures;
  if (state == Placement::State::written)
    for (const PlacedPage& page : p.pages) cache_.insert(page.block, page.page, p.tick);
  fs_.hooks().resume(p.waiter);
}

void Placements::take(Run& run, PlacementId id, const std::vector<bool>& mapped) {
  const Placement& p = *placements_.at(id);
  CHECK(p.state == Placement::State::written && mapped.size() == p.pages.size());
  std::vector<BlockRange> used, unused;
  for (size_t i = 0; i < mapped.size(); ++i) append_range(mapped[i] ? used : unused, p.pages[i].block, 1);
  allocator_.mark_used(run, used);
  if (p.pledged) {
    const auto count = static_cast<int64_t>(mapped.size());
    allocator_.add_placed(-count);
    run.on_undo([this, count] { allocator_.add_placed(count); });
  }
  run.on_commit([this, id, unused = std::move(unused)] {
    allocator_.release(unused);
    placements_.erase(id);
  });
}

void Placements::abandon(PlacementId id) {
  auto it = placements_.find(id);
  if (it == placements_.end()) return;
  const Placement& p = *it->second;
  CHECK(p.state != Placement::State::writing);
  allocator_.release(blocks_of(p.pages));
  if (p.pledged) allocator_.add_placed(-static_cast<int64_t>(p.pages.size()));
  placements_.erase(it);
}

}  // namespace perdure::fs
