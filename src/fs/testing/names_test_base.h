// What the tests of name operations share: each test runs with everything in memory, with every row coming
// from the store inline, and with every row faulting.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fs/testing/names.h"

namespace perdure::fs::testing {

enum class Memory : uint8_t { warm, store_inline, faulting };

inline FixtureOptions options_of(Memory memory, unsigned name_hash_bits = 55) {
  FixtureOptions options;
  options.cold = memory != Memory::warm;
  options.needs_io_percent = memory == Memory::faulting ? 100 : 0;
  options.check_abandoned = memory == Memory::faulting;
  options.name_hash_bits = name_hash_bits;
  return options;
}

class NamesTest : public ::testing::TestWithParam<Memory> {
 protected:
  void TearDown() override {
    EXPECT_THAT(check_names(fx_), ::testing::IsEmpty());
    EXPECT_THAT(check_all(fx_), ::testing::IsEmpty());
  }

  FsFixture fx_{options_of(GetParam())};
  Names names_{fx_};
  const InodeId root_ = fx_.root();
};

inline std::string name_of(const ::testing::TestParamInfo<Memory>& info) {
  switch (info.param) {
    case Memory::warm:
      return "warm";
    case Memory::store_inline:
      return "store_inline";
    case Memory::faulting:
      return "faulting";
  }
  return "";
}

// INSTANTIATE_TEST_SUITE_P for a class derived from NamesTest.
#define PERDURE_NAMES_TEST(suite)                                                                         \
  INSTANTIATE_TEST_SUITE_P(                                                                               \
      Memory, suite,                                                                                      \
      ::testing::Values(testing::Memory::warm, testing::Memory::store_inline, testing::Memory::faulting), \
      testing::name_of)

}  // namespace perdure::fs::testing
