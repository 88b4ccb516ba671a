// Pages: 4 KiB of file data, aligned for O_DIRECT, reference-counted, pooled.
//
// A page is written by whoever got it from make_page() and by nobody else; once a second reference exists, or
// it has been handed to a table, a cache or an I/O, it is immutable: a change makes a new page. So READ
// replies and log records can point at pages without copying.
//
// Counts are not atomic: a page belongs to one vserver's loop thread. Memory comes in slabs from a pool per
// thread.
#pragma once

#include <cstddef>
#include <utility>

#include "base/bytes.h"
#include "base/ids.h"

namespace perdure {

class PageRef {
 public:
  PageRef() = default;
  PageRef(const PageRef& other) : page_(other.page_) {
    if (page_ != nullptr) ++page_->references;
  }
  PageRef(PageRef&& other) noexcept : page_(std::exchange(other.page_, nullptr)) {}
  PageRef& operator=(PageRef other) noexcept {
    std::swap(page_, other.page_);
    return *this;
  }
  ~PageRef() {
    if (page_ != nullptr && --page_->references == 0) release(page_);
  }

  explicit operator bool() const { return page_ != nullptr; }
  Bytes bytes() const { return {page_->data, block_bytes}; }
  // Only while this is the one reference.
  MutableBytes mutable_bytes() {
    CHECK(page_->references == 1);
    page_->crc_known = false;
    return {page_->data, block_bytes};
  }
  // CRC-32C of the content; computed once, so the first call comes when nobody changes the page any more.
  uint32_t crc() const {
    if (!page_->crc_known) compute_crc(page_);
    return page_->crc;
  }
  bool unique() const { return page_->references == 1; }
  friend bool operator==(const PageRef& a, const PageRef& b) { return a.page_ == b.page_; }

 private:
  friend PageRef make_page();
  struct Page {
    std::byte* data;
    void* slab;
    uint32_t references;
    bool crc_known;
    uint32_t crc;
  };
  friend struct PagePool;
  explicit PageRef(Page* page) : page_(page) {}
  static void release(Page* page);
  static void compute_crc(Page* page);

  Page* page_ = nullptr;
};

// A page of its own whose content is undefined.
PageRef make_page();
// The page of zeros that everybody shares (one per thread).
const PageRef& zero_page();
// Pages in use on this thread.
size_t pages_in_use();

}  // namespace perdure
