#include "base/page.h"

#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <bit>
#include <deque>

#include "base/crc32c.h"
#include "base/per_thread.h"

namespace perdure {

// Memory comes from the system in arenas, which are cut into slabs; each slab is a huge page, where the
// system has one to give: faults of small pages cost more than what is done with a page. Nothing is given
// back, nor is the pool (per_thread.h). A slab's free pages are taken in the order of their addresses, so
// that pages that are allocated one after another mostly are neighbours: I/O on them needs few descriptors. A
// slab is used until it has none left; then comes the one that has had free pages for the longest time, and
// so has the most.
struct PagePool {
  static constexpr size_t slab_bytes = 2U << 20U;
  static constexpr size_t slab_pages = slab_bytes / block_bytes;
  static constexpr size_t arena_slabs = 32;

  struct Slab {
    std::array<PageRef::Page, slab_pages> pages;
    std::array<uint64_t, slab_pages / 64> free;  // a bit for each page
    size_t free_pages = slab_pages;
    bool queued = true;
  };

  std::deque<Slab> slabs;
  std::deque<Slab*> queue;  // with free pages, but for the one in front perhaps
  size_t in_use = 0;
  PageRef zeros;

  void add_arena() {
    // One slab more than needed: the arena begins on a multiple of the slab's size.
    static constexpr size_t bytes = (arena_slabs + 1) * slab_bytes;
    void* mapped = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(mapped != MAP_FAILED);
    auto* begin = static_cast<std::byte*>(mapped);
    const size_t before = (slab_bytes - reinterpret_cast<uintptr_t>(begin) % slab_bytes) % slab_bytes;
    std::byte* data = begin + before;
    if (before != 0) ::munmap(begin, before);
    ::munmap(data + arena_slabs * slab_bytes, slab_bytes - before);
    (void)::madvise(data, arena_slabs * slab_bytes, MADV_HUGEPAGE);
    for (size_t i = 0; i < arena_slabs; ++i) {
      Slab& slab = slabs.emplace_back();
      slab.free.fill(~uint64_t{0});
      for (PageRef::Page& page : slab.pages) {
        page = {data, &slab, 0, false, 0};
        data += block_bytes;
      }
      queue.push_back(&slab);
    }
  }

  PageRef::Page* get() {
    while (!queue.empty() && queue.front()->free_pages == 0) {
      queue.front()->queued = false;
      queue.pop_front();
    }
    if (queue.empty()) add_arena();
    Slab& slab = *queue.front();
    auto word = std::find_if(slab.free.begin(), slab.free.end(), [](uint64_t bits) { return bits != 0; });
    const auto bit = static_cast<size_t>(std::countr_zero(*word));
    *word &= *word - 1;
    --slab.free_pages;
    ++in_use;
    PageRef::Page* page = &slab.pages[static_cast<size_t>(word - slab.free.begin()) * 64 + bit];
    page->references = 1;
    page->crc_known = false;
    return page;
  }
  void put(PageRef::Page* page) {
    Slab& slab = *static_cast<Slab*>(page->slab);
    const auto i = static_cast<size_t>(page - slab.pages.data());
    slab.free[i / 64] |= uint64_t{1} << (i % 64);
    ++slab.free_pages;
    --in_use;
    if (!std::exchange(slab.queued, true)) queue.push_back(&slab);
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

size_t pages_in_use() {
  return PagePool::local().in_use;
}

}  // namespace perdure
