// Receive memory. A chunk is what recv() fills and requests point into; it lives as long as anybody holds a
// reference, so a request that waits for a disk just keeps its own. Pooled per thread by size; counts are not
// atomic: chunks stay on their loop's thread.
//
// A chunk's memory may be pages (base/page.h): then whole pages of what was received can be kept without
// copying them, and outlive the chunk.
//
// A ReceiveMeter says what one connection costs: the memory of its chunks, wherever the references are, and
// its requests in flight. Chunks and tickets share it and may outlive the connection.
#pragma once

#include <utility>

#include "base/bytes.h"
#include "base/page.h"

namespace perdure::wire {

class ChunkRef;

// Reference-counted by hand, because each request takes two references to it.
class ReceiveMeter {
 public:
  // `released(owner)` is called whenever a chunk or a ticket was given back, until disown().
  using Released = void (*)(void* owner);

  static ReceiveMeter* make(void* owner, Released released) { return new ReceiveMeter(owner, released); }
  void disown() { released_ = nullptr; }

  size_t chunk_bytes() const { return chunk_bytes_; }
  size_t requests() const { return requests_; }

  void ref() { ++references_; }
  void unref() {
    if (--references_ == 0) destroy();
  }

 private:
  friend class ChunkRef;
  friend class Ticket;
  friend ChunkRef make_chunk(size_t capacity, ReceiveMeter* meter);
  friend ChunkRef make_paged_chunk(size_t capacity, ReceiveMeter* meter);
  ReceiveMeter(void* owner, Released released) : owner_(owner), released_(released) {}
  ~ReceiveMeter() = default;
  void destroy();
  void changed() {
    if (released_ != nullptr) released_(owner_);
  }

  void* owner_;
  Released released_;
  size_t references_ = 1;
  size_t chunk_bytes_ = 0;
  size_t requests_ = 0;
};

class ChunkRef {
 public:
  ChunkRef() = default;
  ChunkRef(const ChunkRef& other) : chunk_(other.chunk_) {
    if (chunk_ != nullptr) ++chunk_->references;
  }
  ChunkRef(ChunkRef&& other) noexcept : chunk_(std::exchange(other.chunk_, nullptr)) {}
  ChunkRef& operator=(ChunkRef other) noexcept {
    std::swap(chunk_, other.chunk_);
    return *this;
  }
  ~ChunkRef() {
    if (chunk_ != nullptr && --chunk_->references == 0) release(chunk_);
  }

  explicit operator bool() const { return chunk_ != nullptr; }
  std::byte* data() const { return chunk_->data; }
  size_t capacity() const { return chunk_->capacity; }
  bool unique() const { return chunk_->references == 1; }
  // What the memory is made of; null if it is not pages.
  const PageRun* pages() const { return chunk_ != nullptr && chunk_->pages ? &chunk_->pages : nullptr; }

 private:
  friend ChunkRef make_chunk(size_t capacity, ReceiveMeter* meter);
  friend ChunkRef make_paged_chunk(size_t capacity, ReceiveMeter* meter);
  friend class ChunkPool;
  struct Chunk {
    std::byte* data;
    size_t capacity;
    size_t references;
    ReceiveMeter* meter;
    Chunk* next_free;
    PageRun pages;
  };
  explicit ChunkRef(Chunk* chunk) : chunk_(chunk) {}
  static void release(Chunk* chunk);
  void charge(ReceiveMeter* meter);

  Chunk* chunk_ = nullptr;
};

// A chunk of at least `capacity` bytes (rounded up to whole pages) with undefined content, charged to `meter`
// unless that is null.
ChunkRef make_chunk(size_t capacity, ReceiveMeter* meter);
// The same with memory of pages. Null if there is none, if too much
// is in use already, or if `capacity` is less than PageRun::pages_min pages.
ChunkRef make_paged_chunk(size_t capacity, ReceiveMeter* meter);
// Bytes of all chunks that are referred to on this thread.
size_t chunk_bytes_in_use();

// One request in flight, from its receipt until its holder lets go (its reply was sent, or will never be).
class Ticket {
 public:
  Ticket() = default;
  explicit Ticket(ReceiveMeter& meter) : meter_(&meter) {
    meter.ref();
    ++meter.requests_;
  }
  Ticket(Ticket&& other) noexcept : meter_(std::exchange(other.meter_, nullptr)) {}
  Ticket& operator=(Ticket&& other) noexcept {
    std::swap(meter_, other.meter_);
    return *this;
  }
  ~Ticket() {
    if (meter_ == nullptr) return;
    --meter_->requests_;
    meter_->changed();
    meter_->unref();
  }

 private:
  ReceiveMeter* meter_ = nullptr;
};

}  // namespace perdure::wire
