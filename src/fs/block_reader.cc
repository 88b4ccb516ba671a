#include "fs/block_reader.h"
#include "base/mark.h"
#include "base/planted_bug.h"

#include <spdlog/spdlog.h>

#include <algorithm>

namespace perdure::fs {

Outcome<PageRef> BlockReader::find(Run& run, BlockNo block) {
  if (const PageRef* page = cache_.find(block, run.tick())) return *page;
  if (auto it = bad_.find(block); it != bad_.end()) {
    if (!it->second.told || env_.now() - it->second.since < retry_) {
      it->second.told = true;
      return Status::io_error;
    }
    bad_.erase(it);
  }
  return PageRef();
}

Outcome<PageRef> BlockReader::get(Run& run, BlockNo block, uint32_t crc) {
  PageRef page = TRY(find(run, block));
  if (page) return page;
  miss(run, {{block, crc}});
  return Stop::fault();
}

void BlockReader::miss(Run& run, std::vector<WantedBlock> wanted) {
  run.miss([this, wanted = std::move(wanted), tick = run.tick()](env::Done<void> done) {
    struct Join {
      env::Done<void> done;
      size_t missing = 0;
    };
    auto all = std::make_shared<Join>();
    all->done = std::move(done);
    const auto wait_for = [&all](Fetch& fetch) {
      ++all->missing;
      fetch.waiters.emplace_back([all] {
        if (--all->missing == 0) all->done({});
      });
    };
    sort_out(
        wanted, [&](std::span<const WantedBlock> part) { wait_for(*start(part, tick)); },
        [&](Fetch& fetch) {
          ++figures_.joined;
          wait_for(fetch);
        });
    if (all->missing == 0) env_.post([all] { all->done({}); });
  });
}

void BlockReader::read_ahead(std::span<const WantedBlock> wanted, uint32_t tick) {
  sort_out(
      wanted,
      [&](std::span<const WantedBlock> part) {
        const bool bad = std::any_of(part.begin(), part.end(),
                                     [this](const WantedBlock& w) { return bad_.contains(w.block); });
        if (!bad) start(part, tick);
      },
      [](Fetch&) {});
}

template <class Begin, class Join>
void BlockReader::sort_out(std::span<const WantedBlock> wanted, Begin&& begin, Join&& join) {
  Fetch* joined = nullptr;
  for (size_t i = 0; i < wanted.size();) {
    // What is under way at block i, and where the next fetch under way begins.
    auto next = fetches_.upper_bound(wanted[i].block);
    if (next != fetches_.begin()) {
      Fetch& before = *std::prev(next)->second;
      if (wanted[i].block.value < before.first.value + before.crcs.size()) {
        if (joined != &before) join(before);
        joined = &before;
        ++i;
        continue;
      }
    }
    if (cache_.contains(wanted[i].block)) {
      ++i;
      continue;
    }
    size_t end = i + 1;
    while (end < wanted.size() && end - i < request_blocks_max &&
           wanted[end].block == wanted[end - 1].block.next() && !cache_.contains(wanted[end].block) &&
           (next == fetches_.end() || wanted[end].block < next->first))
      ++end;
    begin(wanted.subspan(i, end - i));
    i = end;
  }
}

auto BlockReader::start(std::span<const WantedBlock> wanted, uint32_t tick) -> std::shared_ptr<Fetch> {
  auto fetch = std::make_shared<Fetch>();
  fetch->first = wanted.front().block;
  for (const WantedBlock& w : wanted) fetch->crcs.push_back(w.crc);
  fetch->pages.resize(wanted.size());
  fetch->tick = tick;
  CHECK(fetches_.try_emplace(fetch->first, fetch).second);
  blocks_under_way_ += wanted.size();
  figures_.blocks_read += wanted.size();
  ++figures_.requests;
  blocks_.read(fetch->first, fetch->pages, [this, fetch, alive = std::weak_ptr(alive_)](Result<void> result) {
    if (alive.expired()) return;
    if (result) return mend(fetch, 0);
    if (fetch->pages.size() > 1) return read_singly(fetch, 0);
    fetch->problem = result.error().message;
    fetch->pages[0] = {};
    mend(fetch, 0);
  });
  return fetch;
}

// A request for many blocks has failed: which of them are bad?
void BlockReader::read_singly(const std::shared_ptr<Fetch>& fetch, size_t index) {
  if (index == fetch->pages.size()) return mend(fetch, 0);
  const BlockNo block(fetch->first.value + index);
  blocks_.read(block, std::span(fetch->pages).subspan(index, 1),
               [this, fetch, index, alive = std::weak_ptr(alive_)](Result<void> result) {
                 if (alive.expired()) return;
                 if (!result) {
                   fetch->problem = result.error().message;
                   fetch->pages[index] = {};
                 }
                 read_singly(fetch, index + 1);
               });
}

bool BlockReader::Fetch::right(size_t i) const {
  return pages[i] && (pages[i].crc() == crcs[i] || planted("a block's checksum is not checked"));
}

// From `index` on. Meanwhile nobody can take the blocks for something else: they are under way.
void BlockReader::mend(const std::shared_ptr<Fetch>& fetch, size_t index) {
  while (index < fetch->pages.size() && fetch->right(index)) ++index;
  if (index == fetch->pages.size() || !elsewhere_) return finish(fetch);
  const BlockNo block(fetch->first.value + index);
  elsewhere_(block, [this, fetch, index, block, alive = std::weak_ptr(alive_)](Result<PageRef> page) {
    if (alive.expired()) return;
    if (!page || page->crc() != fetch->crcs[index]) return mend(fetch, index + 1);
    PERDURE_MARK("a damaged block is mended from elsewhere");
    spdlog::warn("block {} cannot be read, or is damaged, and is written again as the peer has it", block);
    ++figures_.mended;
    fetch->pages[index] = *page;
    blocks_.write(block, {&fetch->pages[index], 1},
                  [this, fetch, index, block, held = alive](Result<void> written) {
                    if (held.expired()) return;
                    if (!written)
                      spdlog::error("block {} cannot be written: {}", block, written.error().message);
                    mend(fetch, index + 1);
                  });
  });
}

void BlockReader::finish(const std::shared_ptr<Fetch>& fetch) {
  CHECK(fetches_.erase(fetch->first) == 1);
  blocks_under_way_ -= fetch->pages.size();
  for (size_t i = 0; i < fetch->pages.size(); ++i) {
    const BlockNo block(fetch->first.value + i);
    if (fetch->right(i))
      cache_.insert(block, std::move(fetch->pages[i]), fetch->tick);
    else if (fetch->pages[i])
      mark_bad(block, fmt::format("CRC-32C is {:08x}, not {:08x}", fetch->pages[i].crc(), fetch->crcs[i]));
    else
      mark_bad(block, fetch->problem);
  }
  for (env::Task& waiter : fetch->waiters) waiter();
}

void BlockReader::mark_bad(BlockNo block, const std::string& why) {
  spdlog::error("block {} cannot be read: {}", block, why);
  ++figures_.bad;
  if (bad_.size() >= bad_max) bad_.erase(bad_.begin());
  bad_[block] = {env_.now(), false};
}

auto BlockReader::last_of(const BlockRange& range) const -> Fetch* {
  auto it = fetches_.lower_bound(BlockNo(range.first.value + range.count));
  if (it == fetches_.begin()) return nullptr;
  Fetch& last = *std::prev(it)->second;
  return last.first.value + last.crcs.size() > range.first.value ? &last : nullptr;
}

bool BlockReader::under_way(const BlockRange& range) const {
  return last_of(range) != nullptr;
}

void BlockReader::when_read(const BlockRange& range, env::Task task) {
  last_of(range)->waiters.push_back(std::move(task));
}

void BlockReader::forget(const BlockRange& range) {
  CHECK(!under_way(range));
  cache_.drop(range.first, range.count);
  bad_.erase(bad_.lower_bound(range.first), bad_.lower_bound(BlockNo(range.first.value + range.count)));
}

}  // namespace perdure::fs
