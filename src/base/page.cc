#include "base/page.h"

#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <bit>
#include <deque>
#include <memory>
#include <optional>
#include <vector>

#include "base/crc32c.h"
#include "base/per_thread.h"

namespace perdure {

// Memory comes from the system in arenas, which are cut into slabs; each slab is a huge page, where the
// system has one to give: faults of small pages cost more than what is done with a page. Nothing is given
// back, nor is the pool (per_thread.h). A slab's free pages are taken in the order of their addresses, so
// that pages that are allocated one after another mostly are neighbours: I/O on them needs few descriptors. A
// slab is used until it has none left; then comes the one that has had free pages for the longest time, and
// so has the most.
//
// Runs have arenas of their own, which single pages come to last: what a run leaves free when most of it is
// kept would be taken, and be kept for longer, so that its neighbours never were a run again.
struct PagePool {
  using Page = PageRef::Page;
  static constexpr size_t slab_bytes = 2U << 20U;
  static constexpr size_t arena_slabs = 32;
  static constexpr size_t slab_pages = slab_bytes / block_bytes;
  static constexpr size_t word_bits = 64;
  static constexpr size_t slab_words = slab_pages / word_bits;
  static constexpr size_t arena_words = arena_slabs * slab_words;
  static constexpr size_t arenas_searched = 8;  // for a run, at a time; of those that may have one
  // With more free pages than these, and no run among them, the pool does not grow.
  static constexpr size_t spare_pages = arena_slabs * slab_pages;

  struct Arena {
    std::byte* data;
    bool for_runs;
    size_t free_pages;
    std::array<uint64_t, arena_words> free;  // a bit for each page
    std::array<uint16_t, arena_slabs> slab_free;
    std::array<bool, arena_slabs> queued;
    std::array<Page, arena_slabs * slab_pages> pages;
  };
  struct Slab {
    Arena* arena;
    size_t number;
  };

  std::vector<std::unique_ptr<Arena>> arenas;
  std::deque<Slab> single, runs;  // with free pages; those in front may have lost them
  size_t free_pages = 0, in_use = 0;
  size_t run_arena = 0;  // where the search for the next run begins
  PageRef zeros;

  std::deque<Slab>& queue_of(const Arena& arena) { return arena.for_runs ? runs : single; }

  void add_arena(bool for_runs) {
    // One slab more than needed: the arena begins on a multiple of the slab's size.
    static constexpr size_t bytes = (arena_slabs + 1) * slab_bytes;
    void* mapped = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(mapped != MAP_FAILED);
    auto* begin = static_cast<std::byte*>(mapped);
    const size_t before = (slab_bytes - reinterpret_cast<uintptr_t>(begin) % slab_bytes) % slab_bytes;
    if (before != 0) ::munmap(begin, before);
    begin += before;
    ::munmap(begin + arena_slabs * slab_bytes, slab_bytes - before);
    (void)::madvise(begin, arena_slabs * slab_bytes, MADV_HUGEPAGE);
    Arena& arena = *arenas.emplace_back(std::make_unique_for_overwrite<Arena>());
    arena.data = begin;
    arena.for_runs = for_runs;
    arena.free_pages = arena.pages.size();
    arena.free.fill(~uint64_t{0});
    arena.slab_free.fill(slab_pages);
    arena.queued.fill(true);
    for (size_t i = 0; i < arena.pages.size(); ++i)
      arena.pages[i] = {begin + i * block_bytes, &arena, 0, false, 0};
    for (size_t i = 0; i < arena_slabs; ++i) queue_of(arena).push_back({&arena, i});
    free_pages += arena.pages.size();
  }

  Page* take(Arena& arena, size_t number) {
    arena.free[number / word_bits] &= ~(uint64_t{1} << (number % word_bits));
    --arena.slab_free[number / slab_pages];
    --arena.free_pages;
    --free_pages;
    ++in_use;
    Page* page = &arena.pages[number];
    page->references = 1;
    page->crc_known = false;
    return page;
  }

  static void drop_full(std::deque<Slab>& queue) {
    while (!queue.empty() && queue.front().arena->slab_free[queue.front().number] == 0) {
      queue.front().arena->queued[queue.front().number] = false;
      queue.pop_front();
    }
  }

  Page* get() {
    drop_full(single);
    if (single.empty()) drop_full(runs);
    if (single.empty() && runs.empty()) add_arena(false);
    const auto [arena, slab] = single.empty() ? runs.front() : single.front();
    size_t word = slab * slab_words;
    while (arena->free[word] == 0) ++word;
    return take(*arena, word * word_bits + static_cast<size_t>(std::countr_zero(arena->free[word])));
  }

  void put(Page* page) {
    Arena& arena = *static_cast<Arena*>(page->arena);
    const auto number = static_cast<size_t>(page - arena.pages.data());
    const size_t slab = number / slab_pages;
    arena.free[number / word_bits] |= uint64_t{1} << (number % word_bits);
    ++arena.slab_free[slab];
    ++arena.free_pages;
    ++free_pages;
    --in_use;
    if (!std::exchange(arena.queued[slab], true)) queue_of(arena).push_back({&arena, slab});
  }

  // `count` neighbours, or nullptr. Memory that is free but scattered does not make the pool grow.
  Page* get_run(size_t count) {
    Page* run = search_run(true, count);
    if (run == nullptr && free_pages < spare_pages) {
      add_arena(true);
      run_arena = arenas.size() - 1;
      run = search_run(true, count);
    }
    return run != nullptr ? run : search_run(false, count);
  }
  Page* search_run(bool for_runs, size_t count) {
    size_t searched = 0;
    for (size_t i = 0; i < arenas.size() && searched < arenas_searched; ++i, ++run_arena) {
      if (run_arena >= arenas.size()) run_arena = 0;
      Arena& arena = *arenas[run_arena];
      if (arena.for_runs != for_runs || arena.free_pages < count) continue;
      ++searched;
      if (const std::optional<size_t> first = find_run(arena, count)) {
        for (size_t n = 0; n < count; ++n) take(arena, *first + n);
        return &arena.pages[*first];
      }
    }
    return nullptr;
  }
  static std::optional<size_t> find_run(const Arena& arena, size_t count) {
    size_t length = 0;  // of the free pages that end where the word begins
    for (size_t word = 0; word < arena_words; ++word) {
      const uint64_t bits = arena.free[word];
      const size_t begin = word * word_bits - length;
      if (length + static_cast<size_t>(std::countr_one(bits)) >= count) return begin;
      length = bits == ~uint64_t{0} ? length + word_bits : static_cast<size_t>(std::countl_one(bits));
    }
    return {};
  }

  static PagePool& local() { return per_thread<PagePool>(); }
};

void PageRef::compute_crc(Page* page) {
  page->crc = crc32c({page->data, block_bytes});
  page->crc_known = true;
}

void PageRef::release(Page* page) {
  PagePool::local().put(page);
}

PageRef make_page() {
  return PageRef(PagePool::local().get());
}

const PageRef& zero_page() {
  PageRef& page = PagePool::local().zeros;
  if (!page) {
    page = make_page();
    std::memset(page.mutable_bytes().data(), 0, block_bytes);
  }
  return page;
}

PageRun PageRun::make(size_t count) {
  CHECK(count >= pages_min);
  PageRun run;
  run.first_ = PagePool::local().get_run(count);
  if (run.first_ != nullptr) run.count_ = count;
  return run;
}

void PageRun::release() {
  for (size_t i = 0; i < count_; ++i)
    if (--first_[i].references == 0) PageRef::release(&first_[i]);
  first_ = nullptr;
  count_ = 0;
}

PageRef PageRun::page_at(const std::byte* data) const {
  const auto distance = static_cast<size_t>(data - memory());
  CHECK(distance < count_ * block_bytes && distance % block_bytes == 0);
  PageRef::Page* page = &first_[distance / block_bytes];
  ++page->references;
  return PageRef(page);
}

uint32_t PageRun::crc(Bytes part) const {
  uint32_t crc = 0;
  while (!part.empty()) {
    const size_t in_page = static_cast<size_t>(part.data() - memory()) % block_bytes;
    const size_t n = std::min(part.size(), block_bytes - in_page);
    crc = n == block_bytes ? crc32c_join_block(crc, page_at(part.data()).crc()) : crc32c(part.first(n), crc);
    part = part.subspan(n);
  }
  return crc;
}

size_t pages_in_use() {
  return PagePool::local().in_use;
}

}  // namespace perdure
