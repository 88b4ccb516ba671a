// SipHash-2-4 (Aumasson and Bernstein, 2012): a keyed hash, so that nobody outside can choose names that
// collide.
#pragma once

#include "base/bytes.h"

namespace perdure {

struct SipKey {
  uint64_t k0 = 0, k1 = 0;
};

uint64_t siphash(SipKey key, Bytes data);

}  // namespace perdure
