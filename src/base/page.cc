#include "base/page.h"

#include <sys/mman.h>

#include <array>
#include <deque>

#include "base/crc32c.h"
#include "base/per_thread.h"

namespace perdure {

// Free pages form a list; slabs are never given back, nor is the pool (per_thread.h). Each slab is a huge
// page, where the system has one to give: faults of small pages cost more than what is done with a page.
struct PagePool {
  static constexpr size_t slab_bytes = 2U << 20U;
  static constexpr size_t slab_pages = slab_bytes / block_bytes;

  PageRef::Page* free = nullptr;
  size_t in_use = 0;
  PageRef zeros;
  std::deque<std::array<PageRef::Page, slab_pages>> headers;

  void add_slab() {
    // Twice as much, of which the part is kept that begins on a multiple of the size.
    void* mapped =
        ::mmap(nullptr, 2 * slab_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(mapped != MAP_FAILED);
    auto* begin = static_cast<std::byte*>(mapped);
    const size_t before = (slab_bytes - reinterpret_cast<uintptr_t>(begin) % slab_bytes) % slab_bytes;
    std::byte* data = begin + before;
    if (before != 0) ::munmap(begin, before);
    ::munmap(data + slab_bytes, slab_bytes - before);
    (void)::madvise(data, slab_bytes, MADV_HUGEPAGE);
    for (PageRef::Page& page : headers.emplace_back()) {
      page = {data, free, 0, false, 0};
      free = &page;
      data += block_bytes;
    }
  }

  PageRef::Page* get() {
    if (free == nullptr) add_slab();
    PageRef::Page* page = free;
    free = page->next_free;
    page->references = 1;
    page->crc_known = false;
    ++in_use;
    return page;
  }
  void put(PageRef::Page* page) {
    page->next_free = free;
    free = page;
    --in_use;
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
