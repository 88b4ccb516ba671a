// Byte strings, and the little-endian encoding that the log and the rows use. (The wire's XDR is in
// wire/xdr.h.)
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/check.h"

namespace perdure {

static_assert(std::endian::native == std::endian::little,
              "the formats are little-endian and are copied as they are");

using Bytes = std::span<const std::byte>;
using MutableBytes = std::span<std::byte>;
using ByteVector = std::vector<std::byte>;

inline Bytes bytes_of(std::string_view s) {
  return std::as_bytes(std::span(s.data(), s.size()));
}
inline std::string_view text_of(Bytes b) {
  return {reinterpret_cast<const char*>(b.data()), b.size()};
}

// A growing byte buffer. Never shrinks its memory: made to be cleared and used again.
class Encoder {
 public:
  Encoder() = default;
  Encoder(Encoder&& other) noexcept
      : data_(std::move(other.data_)),
        size_(std::exchange(other.size_, 0)),
        capacity_(std::exchange(other.capacity_, 0)) {}
  Encoder& operator=(Encoder&&) = delete;

  // Appends an integer or enum, little-endian.
  template <class T>
    requires std::is_integral_v<T> || std::is_enum_v<T>
  void put(T value) {
    std::memcpy(extend(sizeof value), &value, sizeof value);
  }
  // Appends bytes as they are, without a length.
  void put_bytes(Bytes b) {
    if (!b.empty()) std::memcpy(extend(b.size()), b.data(), b.size());
  }
  // Appends a 32-bit length and the bytes.
  void put_string(Bytes b) {
    put(static_cast<uint32_t>(b.size()));
    put_bytes(b);
  }
  // Overwrites an integer at a place that was written before.
  template <class T>
  void patch(size_t at, T value) {
    CHECK(at + sizeof value <= size_);
    std::memcpy(data_.get() + at, &value, sizeof value);
  }
  // Appends `n` bytes for the caller to fill in; the pointer is valid until the next append.
  std::byte* extend(size_t n) {
    if (size_ + n > capacity_) [[unlikely]]
      grow(size_ + n);
    std::byte* p = data_.get() + size_;
    size_ += n;
    return p;
  }
  void truncate(size_t size) {
    CHECK(size <= size_);
    size_ = size;
  }
  void clear() { size_ = 0; }
  size_t size() const { return size_; }
  Bytes bytes() const { return {data_.get(), size_}; }
  ByteVector copy() const { return ByteVector(data_.get(), data_.get() + size_); }

 private:
  void grow(size_t needed) {
    const size_t capacity = std::max<size_t>({needed, 2 * capacity_, 256});
    auto bigger = std::make_unique_for_overwrite<std::byte[]>(capacity);
    if (size_ != 0) std::memcpy(bigger.get(), data_.get(), size_);
    data_ = std::move(bigger);
    capacity_ = capacity;
  }

  std::unique_ptr<std::byte[]> data_;
  size_t size_ = 0;
  size_t capacity_ = 0;
};

// Reads what an Encoder wrote. Never reads past the end: after the first failure ok() is false, and every
// further get gives zeros, so that a caller checks once at the end.
class Decoder {
 public:
  explicit Decoder(Bytes input) : rest_(input) {}

  template <class T>
    requires std::is_integral_v<T> || std::is_enum_v<T>
  T get() {
    T value{};
    Bytes b = get_bytes(sizeof value);
    if (!b.empty()) std::memcpy(&value, b.data(), sizeof value);
    return value;
  }
  Bytes get_bytes(size_t n) {
    if (n > rest_.size()) {
      fail();
      return {};
    }
    Bytes b = rest_.first(n);
    rest_ = rest_.subspan(n);
    return b;
  }
  Bytes get_string() { return get_bytes(get<uint32_t>()); }

  void fail() {
    ok_ = false;
    rest_ = {};
  }
  bool ok() const { return ok_; }
  // All was read, and nothing failed.
  bool finished() const { return ok_ && rest_.empty(); }
  size_t remaining() const { return rest_.size(); }

 private:
  Bytes rest_;
  bool ok_ = true;
};

}  // namespace perdure
