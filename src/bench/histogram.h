// Latencies in nanoseconds, counted in buckets whose width is at most 1/64 of their value, from 1 ns to
// hours. percentile() is at most 1.6 % too high and never too low; max() is exact.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace perdure::bench {

class Histogram {
 public:
  void add(uint64_t nanoseconds) {
    ++counts_[bucket(nanoseconds)];
    ++count_;
    if (nanoseconds > max_) max_ = nanoseconds;
  }
  void merge(const Histogram& other);
  uint64_t count() const { return count_; }
  uint64_t max() const { return max_; }
  // A value that `fraction` (0 to 1) of all values do not exceed; 0 if there are none.
  uint64_t percentile(double fraction) const;

 private:
  static constexpr unsigned sub_bits = 6;
  static constexpr size_t sub_buckets = size_t{1} << sub_bits;
  static constexpr size_t buckets = (64 - sub_bits + 1) * sub_buckets;

  static size_t bucket(uint64_t value);
  static uint64_t highest_in(size_t bucket);

  std::array<uint64_t, buckets> counts_{};
  uint64_t count_ = 0;
  uint64_t max_ = 0;
};

}  // namespace perdure::bench
