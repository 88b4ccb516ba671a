// What a fuzz target is made of: fuzz(), called with one input after another, by libFuzzer (./x fuzz) or by
// replay.cc (ctest). Whatever the input is, fuzz() returns; what must not be ends the process.
#pragma once

#include <cstdint>

#include "base/bytes.h"

namespace perdure::fuzz {

void fuzz(Bytes input);

// Reads an input from its beginning. Behind its end there are zeros.
class Input {
 public:
  explicit Input(Bytes bytes) : rest_(bytes) {}

  template <class T>
  T get() {
    T value{};
    const Bytes b = take(sizeof(T));
    if (!b.empty()) std::memcpy(&value, b.data(), b.size());
    return value;
  }
  uint8_t u8() { return get<uint8_t>(); }
  uint16_t u16() { return get<uint16_t>(); }
  uint32_t u32() { return get<uint32_t>(); }
  uint64_t u64() { return get<uint64_t>(); }
  // Less than `end`.
  uint64_t below(uint64_t end) { return end <= 256 ? u8() % end : u32() % end; }
  // At most so many.
  Bytes take(size_t n) {
    const Bytes b = rest_.first(std::min(n, rest_.size()));
    rest_ = rest_.subspan(b.size());
    return b;
  }
  Bytes rest() { return take(rest_.size()); }
  bool empty() const { return rest_.empty(); }

 private:
  Bytes rest_;
};

}  // namespace perdure::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);
