// XdrDecoder: reads XDR (RFC 4506) from bytes in memory and gives views into them.
//
// Promises: never reads outside its input. The first failure is sticky: ok() turns false and every further
// get gives zeros and empty views, so that a caller decodes a whole structure and checks once. A length is
// checked against its maximum and against what is left before anything is done with it. The content of
// padding is ignored (RFC 4506 §4.9 says zero, but clients are known to send what lay in their buffers), its
// presence is required.
#pragma once

#include <bit>
#include <string_view>

#include "base/bytes.h"

namespace perdure::wire {

inline uint32_t load_u32(const std::byte* from) {
  uint32_t value;
  std::memcpy(&value, from, sizeof value);
  return std::byteswap(value);
}
inline uint64_t load_u64(const std::byte* from) {
  uint64_t value;
  std::memcpy(&value, from, sizeof value);
  return std::byteswap(value);
}
inline void store_u32(std::byte* to, uint32_t value) {
  value = std::byteswap(value);
  std::memcpy(to, &value, sizeof value);
}
inline void store_u64(std::byte* to, uint64_t value) {
  value = std::byteswap(value);
  std::memcpy(to, &value, sizeof value);
}
// `n` rounded up to XDR's unit of four bytes.
constexpr size_t padded(size_t n) {
  return (n + 3) & ~size_t{3};
}

class XdrDecoder {
 public:
  explicit XdrDecoder(Bytes input) : begin_(input.data()), at_(begin_), end_(begin_ + input.size()) {}

  uint32_t get_u32() {
    const std::byte* from = take(4);
    return from == nullptr ? 0 : load_u32(from);
  }
  uint64_t get_u64() {
    const std::byte* from = take(8);
    return from == nullptr ? 0 : load_u64(from);
  }
  int32_t get_i32() { return static_cast<int32_t>(get_u32()); }
  int64_t get_i64() { return static_cast<int64_t>(get_u64()); }
  bool get_bool() {
    const uint32_t value = get_u32();
    if (value > 1) fail();
    return value == 1;
  }
  // opaque x[n]
  Bytes get_opaque_fixed(size_t n) {
    if (n > remaining()) {
      fail();
      return {};
    }
    const std::byte* from = take(padded(n));
    return from == nullptr ? Bytes{} : Bytes{from, n};
  }
  // opaque x<n_max>
  Bytes get_opaque(size_t n_max) {
    const uint32_t n = get_u32();
    if (n > n_max) {
      fail();
      return {};
    }
    return get_opaque_fixed(n);
  }
  // string x<n_max>. Any bytes: what a name may contain is the file system's business.
  std::string_view get_string(size_t n_max) { return text_of(get_opaque(n_max)); }
  // The count of an array whose elements take `element_bytes_min` or more each. A count that cannot fit in
  // the rest of the input fails, so a caller may reserve memory for it.
  uint32_t get_count(uint32_t count_max, size_t element_bytes_min) {
    const uint32_t count = get_u32();
    if (count > count_max || count * uint64_t{element_bytes_min} > remaining()) {
      fail();
      return 0;
    }
    return count;
  }

  void fail() {
    ok_ = false;
    at_ = end_;
  }
  bool ok() const { return ok_; }
  // All was read, and nothing failed.
  bool finished() const { return ok_ && at_ == end_; }
  // Bytes not read yet; 0 after a failure.
  size_t remaining() const { return static_cast<size_t>(end_ - at_); }
  // What was not read yet, as it is.
  Bytes rest() const { return {at_, remaining()}; }

  // Where the next get reads, in bytes from the start. Without meaning after a failure.
  size_t position() const { return static_cast<size_t>(at_ - begin_); }
  // Goes back (or on) to a position() taken earlier and forgets a failure: a run that is executed again
  // decodes its operations again.
  void seek(size_t position) {
    CHECK(position <= static_cast<size_t>(end_ - begin_));
    at_ = begin_ + position;
    ok_ = true;
  }

 private:
  const std::byte* take(size_t n) {
    if (n > remaining()) [[unlikely]] {
      fail();
      return nullptr;
    }
    const std::byte* from = at_;
    at_ += n;
    return from;
  }

  const std::byte* begin_;
  const std::byte* at_;
  const std::byte* end_;
  bool ok_ = true;
};

}  // namespace perdure::wire
