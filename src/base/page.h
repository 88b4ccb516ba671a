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
  friend class PageRun;
  struct Page {
    std::byte* data;
    void* arena;
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

// Pages whose memory is contiguous, to receive into: what lies on the bounds of pages need not be copied
// then. The run holds a reference to each of them; while it does, its owner may write what no other reference
// covers yet.
class PageRun {
 public:
  static constexpr size_t pages_min = 64;

  PageRun() = default;
  // `count` pages, at least pages_min. Empty if free memory is too scattered.
  static PageRun make(size_t count);
  PageRun(PageRun&& other) noexcept
      : first_(std::exchange(other.first_, nullptr)), count_(std::exchange(other.count_, 0)) {}
  PageRun& operator=(PageRun other) noexcept {
    std::swap(first_, other.first_);
    std::swap(count_, other.count_);
    return *this;
  }
  ~PageRun() { release(); }

  explicit operator bool() const { return count_ != 0; }
  std::byte* memory() const { return first_->data; }
  size_t bytes() const { return count_ * block_bytes; }
  // The page that begins at `data`, which lies in this run.
  PageRef page_at(const std::byte* data) const;
  // The CRC-32C of `part`, which lies in this run; computes and keeps those of the pages in it.
  uint32_t crc(Bytes part) const;

 private:
  void release();

  PageRef::Page* first_ = nullptr;
  size_t count_ = 0;
};

// A page of its own whose content is undefined.
PageRef make_page();
// The page of zeros that everybody shares (one per thread).
const PageRef& zero_page();
// Pages in use on this thread.
size_t pages_in_use();

}  // namespace perdure
