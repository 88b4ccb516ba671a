#include "fs/write.h"

#include <gtest/gtest.h>

#include "fs/testing/data_fixture.h"

namespace perdure::fs {
namespace {

using testing::DataFixture;
using testing::pattern;

TEST(Write, AllThreeWaysReadBack) {
  DataFixture f;
  for (const Stable stable : {Stable::unstable, Stable::data_sync, Stable::file_sync})
    for (const uint64_t size : {1, 100, 4096, 5000, 65536, 200000, 1 << 20}) {
      const InodeId id = f.new_file();
      const ByteVector bytes = pattern(size, static_cast<uint32_t>(size));
      const auto result = f.write(id, 1000, bytes, stable);
      ASSERT_TRUE(result);
      EXPECT_EQ(result->count, size);
      ByteVector expected(1000);
      expected.insert(expected.end(), bytes.begin(), bytes.end());
      EXPECT_EQ(*f.read(id, 0, 10 << 20), expected);
      ASSERT_TRUE(f.commit(id));
      EXPECT_EQ(*f.read(id, 0, 10 << 20), expected);
      EXPECT_EQ(f.load(id).size, size + 1000);
      f.settle();
      f.verify();
    }
  f.write_back();
  f.verify();
  f.checkpoint();
  f.crash();
  f.verify();
}

}  // namespace
}  // namespace perdure::fs
