#include "bench/histogram.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace perdure::bench {

// Values below 2^sub_bits have a bucket each; every power of two above has sub_buckets of equal width.
size_t Histogram::bucket(uint64_t value) {
  if (value < sub_buckets) return value;
  const auto shift = static_cast<unsigned>(std::bit_width(value)) - 1 - sub_bits;
  return (shift + 1) * sub_buckets + (value >> shift) - sub_buckets;
}

uint64_t Histogram::highest_in(size_t bucket) {
  if (bucket < sub_buckets) return bucket;
  const size_t shift = bucket / sub_buckets - 1;
  const uint64_t first = (bucket % sub_buckets + sub_buckets) << shift;
  return first + ((uint64_t{1} << shift) - 1);
}

void Histogram::merge(const Histogram& other) {
  for (size_t i = 0; i < buckets; ++i) counts_[i] += other.counts_[i];
  count_ += other.count_;
  max_ = std::max(max_, other.max_);
}

uint64_t Histogram::percentile(double fraction) const {
  const auto wanted = static_cast<uint64_t>(std::ceil(fraction * static_cast<double>(count_)));
  uint64_t seen = 0;
  for (size_t i = 0; i < buckets && count_ != 0; ++i) {
    seen += counts_[i];
    if (seen >= std::max<uint64_t>(wanted, 1)) return std::min(highest_in(i), max_);
  }
  return max_;
}

}  // namespace perdure::bench
