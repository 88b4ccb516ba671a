#include "wire/chunk.h"

#include <sys/mman.h>

#include <vector>

#include "base/ids.h"
#include "base/per_thread.h"

namespace perdure::wire {

// Few sizes are in use at a time (RecordReader takes two), so each has its list of free chunks. What is free
// beyond free_bytes_max goes back to the system.
class ChunkPool {
 public:
  using Chunk = ChunkRef::Chunk;

  Chunk* get(size_t capacity) {
    in_use_ += capacity;
    List& list = list_of(capacity);
    if (list.first != nullptr) {
      Chunk* chunk = list.first;
      list.first = chunk->next_free;
      list.free_bytes -= capacity;
      return chunk;
    }
    void* memory = ::mmap(nullptr, capacity, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(memory != MAP_FAILED);
    return new Chunk{static_cast<std::byte*>(memory), capacity, 0, nullptr, nullptr, {}};
  }

  Chunk* get_paged(size_t capacity) {
    if (capacity < PageRun::pages_min * block_bytes || paged_ + capacity > paged_bytes_max) return nullptr;
    PageRun pages = PageRun::make(capacity / block_bytes);
    if (!pages) return nullptr;
    in_use_ += capacity;
    paged_ += capacity;
    return new Chunk{pages.memory(), capacity, 0, nullptr, nullptr, std::move(pages)};
  }

  void put(Chunk* chunk) {
    in_use_ -= chunk->capacity;
    if (chunk->pages) {
      paged_ -= chunk->capacity;
      delete chunk;
      return;
    }
    List& list = list_of(chunk->capacity);
    if (list.free_bytes + chunk->capacity > free_bytes_max) {
      ::munmap(chunk->data, chunk->capacity);
      delete chunk;
      return;
    }
    list.free_bytes += chunk->capacity;
    chunk->next_free = list.first;
    list.first = chunk;
  }

  size_t in_use() const { return in_use_; }

  static ChunkPool& local() { return per_thread<ChunkPool>(); }

 private:
  static constexpr size_t free_bytes_max = 32 << 20;
  // Pages are never given back to the system, so that many clients must not be able to make their number
  // grow.
  static constexpr size_t paged_bytes_max = 96 << 20;
  struct List {
    size_t capacity;
    size_t free_bytes;
    Chunk* first;
  };

  List& list_of(size_t capacity) {
    for (List& list : lists_) {
      if (list.capacity == capacity) return list;
    }
    return lists_.emplace_back(capacity, 0, nullptr);
  }

  std::vector<List> lists_;
  size_t in_use_ = 0;
  size_t paged_ = 0;  // of it in pages
};

void ReceiveMeter::destroy() {
  delete this;
}

void ChunkRef::release(Chunk* chunk) {
  ReceiveMeter* meter = std::exchange(chunk->meter, nullptr);
  const size_t capacity = chunk->capacity;
  ChunkPool::local().put(chunk);
  if (meter == nullptr) return;
  meter->chunk_bytes_ -= capacity;
  meter->changed();
  meter->unref();
}

namespace {

constexpr size_t whole_pages(size_t bytes) {
  return (bytes + block_bytes - 1) / block_bytes * block_bytes;
}

}  // namespace

ChunkRef make_chunk(size_t capacity, ReceiveMeter* meter) {
  ChunkRef::Chunk* chunk = ChunkPool::local().get(whole_pages(capacity));
  ChunkRef ref(chunk);
  ref.charge(meter);
  return ref;
}

ChunkRef make_paged_chunk(size_t capacity, ReceiveMeter* meter) {
  ChunkRef::Chunk* chunk = ChunkPool::local().get_paged(whole_pages(capacity));
  if (chunk == nullptr) return {};
  ChunkRef ref(chunk);
  ref.charge(meter);
  return ref;
}

void ChunkRef::charge(ReceiveMeter* meter) {
  chunk_->references = 1;
  chunk_->meter = meter;
  if (meter == nullptr) return;
  meter->ref();
  meter->chunk_bytes_ += chunk_->capacity;
}

size_t chunk_bytes_in_use() {
  return ChunkPool::local().in_use();
}

}  // namespace perdure::wire
