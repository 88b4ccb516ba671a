#include "fs/create.h"

#include <gtest/gtest.h>

#include "fs/lookup.h"
#include "fs/testing/fs_fixture.h"

namespace perdure::fs {
namespace {

using testing::FsFixture;

TEST(Create, made_file_is_found) {
  FsFixture fx;
  const auto made =
      fx.run_to_end([&](auto& run) { return create(fx.fs(), run, fx.superuser(), fx.root(), "a", {}); });
  ASSERT_TRUE(made);
  const auto found =
      fx.run_to_end([&](auto& run) { return lookup(fx.fs(), run, fx.superuser(), fx.root(), "a"); });
  ASSERT_TRUE(found);
  EXPECT_EQ(found->inode, made->inode);
}

}  // namespace
}  // namespace perdure::fs
