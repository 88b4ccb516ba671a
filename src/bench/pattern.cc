#include "bench/pattern.h"

namespace perdure::bench {
namespace {

// Odd, so the words of 2^64 positions all differ; one addition a word, so a megabyte takes some tens of
// microseconds.
constexpr uint64_t step = 0x9fb21c651e98df25;

uint64_t first_word(uint64_t key, uint64_t offset) {
  return key + offset / 8 * step;
}

}  // namespace

void fill_pattern(MutableBytes data, uint64_t key, uint64_t offset) {
  CHECK(data.size() % 8 == 0 && offset % 8 == 0);
  uint64_t word = first_word(key, offset);
  for (std::byte *at = data.data(), *end = at + data.size(); at != end; at += 8, word += step)
    std::memcpy(at, &word, 8);
}

bool matches_pattern(Bytes data, uint64_t key, uint64_t offset) {
  CHECK(data.size() % 8 == 0 && offset % 8 == 0);
  uint64_t expected = first_word(key, offset);
  uint64_t difference = 0;
  for (const std::byte *at = data.data(), *end = at + data.size(); at != end; at += 8, expected += step) {
    uint64_t word;
    std::memcpy(&word, at, 8);
    difference |= word ^ expected;
  }
  return difference == 0;
}

}  // namespace perdure::bench
