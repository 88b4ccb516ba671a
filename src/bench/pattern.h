// What the load generator writes, so that each byte read can be judged: data that depends on a key (the file
// and how often it was written) and on the position in the file. Data of another file, of another place or of
// an older version does not match.
#pragma once

#include "base/bytes.h"

namespace perdure::bench {

// SplitMix64: scatters a number over 64 bits.
constexpr uint64_t mix(uint64_t x) {
  x += 0x9e3779b97f4a7c15;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

// The key of a file's n-th version.
constexpr uint64_t pattern_key(uint64_t file, uint64_t version) {
  return mix(mix(file) + version);
}

// `offset` and the length are multiples of 8.
void fill_pattern(MutableBytes data, uint64_t key, uint64_t offset);
bool matches_pattern(Bytes data, uint64_t key, uint64_t offset);

// A small fast random generator (SplitMix64): the load should cost nothing to draw.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t next() { return mix(state_ += 0x9e3779b97f4a7c15); }
  // From 0 to n - 1.
  uint64_t below(uint64_t n) {
    return static_cast<uint64_t>((static_cast<unsigned __int128>(next()) * n) >> 64);
  }
  bool chance(unsigned percent) { return below(100) < percent; }

 private:
  uint64_t state_;
};

}  // namespace perdure::bench
