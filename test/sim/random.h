// Random: what the simulated world decides. All of it comes from the seed, by arithmetic that is the same
// everywhere (the standard library's distributions are not).
#pragma once

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <random>

#include "base/check.h"
#include "env/env.h"

namespace perdure::sim {

class Random {
 public:
  explicit Random(uint64_t seed) : engine_(seed) {}

  uint64_t next() { return engine_(); }
  uint64_t below(uint64_t n) {
    CHECK(n > 0);
    return engine_() % n;
  }
  uint64_t between(uint64_t low, uint64_t high) { return low + below(high - low + 1); }
  bool one_in(uint64_t n) { return below(n) == 0; }
  template <class T>
  T pick(std::initializer_list<T> from) {
    return *(from.begin() + below(from.size()));
  }
  env::Duration between(env::Duration low, env::Duration high) {
    return env::Duration(static_cast<int64_t>(
        between(static_cast<uint64_t>(low.count()), static_cast<uint64_t>(high.count()))));
  }
  // With this mean, and at most 20 times that.
  double exponential(double mean) {
    const double u = static_cast<double>((engine_() >> 11U) + 1) * 0x1p-53;
    return std::min(-std::log(u), 20.0) * mean;
  }
  env::Duration exponential(env::Duration mean) {
    return env::Duration(static_cast<int64_t>(exponential(static_cast<double>(mean.count()))));
  }

 private:
  std::mt19937_64 engine_;
};

}  // namespace perdure::sim
