#include "base/page.h"

#include <sys/mman.h>

#include <array>
#include <deque>
#include <vector>

namespace perdure {

// Free pages form a list; slabs of 1 MiB are never given back.
struct PagePool {
  static constexpr size_t slab_pages = 256;

  PageRef::Page* free = nullptr;
  size_t in_use = 0;
  std::deque<std::array<PageRef::Page, slab_pages>> headers;
  std::vector<void*> slabs;

  PagePool() = default;
  PagePool(const PagePool&) = delete;
  PagePool& operator=(const PagePool&) = delete;
  ~PagePool() {
    for (void* slab : slabs) ::munmap(slab, slab_pages * block_bytes);
  }

  void add_slab() {
    void* memory =
        ::mmap(nullptr, slab_pages * block_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(memory != MAP_FAILED);
    slabs.push_back(memory);
    auto* data = static_cast<std::byte*>(memory);
    for (PageRef::Page& page : headers.emplace_back()) {
      page = {data, free, 0};
      free = &page;
      data += block_bytes;
    }
  }

  PageRef::Page* get() {
    if (free == nullptr) add_slab();
    PageRef::Page* page = free;
    free = page->next_free;
    page->references = 1;
    ++in_use;
    return page;
  }
  void put(PageRef::Page* page) {
    page->next_free = free;
    free = page;
    --in_use;
  }

  // Leaked on purpose: pages may outlive other thread-local objects.
  static PagePool& local() {
    thread_local auto* pool = new PagePool;
    return *pool;
  }
};

void PageRef::release(Page* page) {
  PagePool::local().put(page);
}

PageRef make_page() {
  return PageRef(PagePool::local().get());
}

const PageRef& zero_page() {
  thread_local const auto* page = [] {
    auto* zero = new PageRef(make_page());
    std::memset(zero->mutable_bytes().data(), 0, block_bytes);
    return zero;
  }();
  return *page;
}

size_t pages_in_use() {
  return PagePool::local().in_use;
}

}  // namespace perdure
