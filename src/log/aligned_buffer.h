// Memory for O_DIRECT: its address and size are multiples of 4 KiB. Grows, never shrinks; made to be used
// again.
#pragma once

#include <memory>
#include <new>

#include "base/bytes.h"

namespace perdure::log {

class AlignedBuffer {
 public:
  static constexpr size_t alignment = 4096;

  AlignedBuffer() = default;
  explicit AlignedBuffer(size_t bytes) { reserve(bytes, 0); }

  // At least `bytes` long afterwards; the first `keep` bytes stay as they are (if there were as many), the
  // rest is undefined.
  void reserve(size_t bytes, size_t keep) {
    if (bytes <= size_) return;
    const size_t size = (std::max(bytes, 2 * size_) + alignment - 1) / alignment * alignment;
    Memory memory(static_cast<std::byte*>(::operator new(size, std::align_val_t{alignment})));
    if (memory_) std::memcpy(memory.get(), memory_.get(), std::min(keep, size_));
    memory_ = std::move(memory);
    size_ = size;
  }

  std::byte* data() { return memory_.get(); }
  size_t size() const { return size_; }
  MutableBytes first(size_t n) {
    CHECK(n <= size_);
    return {memory_.get(), n};
  }

 private:
  struct Free {
    void operator()(std::byte* p) const { ::operator delete(p, std::align_val_t{alignment}); }
  };
  using Memory = std::unique_ptr<std::byte, Free>;
  Memory memory_;
  size_t size_ = 0;
};

}  // namespace perdure::log
