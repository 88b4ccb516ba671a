// SipHash-2-4 (Aumasson and Bernstein, 2012): a keyed hash, so that nobody outside can choose names that
// collide.
#pragma once

#include "base/bytes.h"

namespace perdure {

// A secret: rows may hold it, no words for people may show it (state/codec.h).
struct SipKey {
  uint64_t k0 = 0, k1 = 0;
  bool operator==(const SipKey&) const = default;
  template <class Self, class V>
  static void fields(Self& key, V&& v) {
    v("k0", key.k0), v("k1", key.k1);
  }
};

uint64_t siphash(SipKey key, Bytes data);

}  // namespace perdure
