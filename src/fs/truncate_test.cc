#include "fs/truncate.h"

#include <gtest/gtest.h>

#include "fs/content.h"
#include "fs/testing/data_fixture.h"

namespace perdure::fs {
namespace {

using testing::DataFixture;
using testing::DataFixtureOptions;
using testing::page;

// A file whose every second block is an extent of its own, made from rows: its content is never looked at.
InodeId make_fragmented(DataFixture& f, uint64_t extents) {
  const InodeId id = f.new_file();
  for (uint64_t done = 0; done < extents;) {
    const uint64_t n = std::min<uint64_t>(extents - done, 500);
    CHECK(f.run([&](state::Run& run) -> Outcome<int> {
      InodeRow inode = TRY(f.fs().load(run, id));
      const std::vector<BlockRange> ranges = f.data().allocator.reserve(run, n);
      f.data().allocator.mark_used(run, ranges);
      uint64_t i = 0;
      for (const BlockRange& range : ranges)
        for (uint32_t k = 0; k < range.count; ++k, ++i) {
          ExtentRow row;
          row.first_block = FileBlock(2 * (done + i));
          row.block = BlockNo(range.first.value + k);
          row.stamp = f.fs().new_change();
          row.crcs = {0};
          f.fs().extents.put(run, {id, row.first_block}, row);
        }
      inode.extent_end = 2 * (done + n) - 1;
      inode.size = inode.extent_end * page;
      inode.blocks += n;
      f.fs().store(run, id, inode);
      return 0;
    }));
    done += n;
  }
  f.settle();
  return id;
}

class BigFile : public ::testing::TestWithParam<unsigned> {
 protected:
  static DataFixtureOptions options() {
    DataFixtureOptions o;
    o.blocks = o.blocks_max = 30000;
    o.needs_io_percent = GetParam();
    return o;
  }
  DataFixture f{options()};
  static constexpr uint64_t extents = 20000;
  const InodeId id = make_fragmented(f, extents);

  // Puts everything into the checkpoint store, so that with needs_io_percent it must be fetched from there.
  void forget() {
    f.checkpoint();
    f.evict();
    f.record_bytes_max = 0;
  }
};

TEST_P(BigFile, IsTruncatedInOneStepAndFreedInSmallOnes) {
  forget();
  const uint64_t size = (extents + 1) * page + 1000;  // in the middle, in a hole
  ASSERT_TRUE(f.truncate(id, size));
  EXPECT_EQ(f.load(id).size, size);
  EXPECT_EQ(f.data().reclaims.size(), 1U);
  const uint64_t runs = f.runs;
  f.settle();
  EXPECT_EQ(f.data().reclaims.size(), 0U);
  EXPECT_GT(f.runs - runs, 30U);
  EXPECT_LE(f.record_bytes_max, 32U << 10U);
  EXPECT_EQ(f.load(id).blocks, extents / 2 + 1);
  f.checkpoint();
  f.verify();
  EXPECT_EQ(f.data().allocator.free_blocks(), 30000U - 1 - extents / 2 - 1);
}

TEST_P(BigFile, IsRemovedInOneStepAndFreedInSmallOnes) {
  forget();
  ASSERT_TRUE(f.drop(id));
  EXPECT_EQ(f.run([&](state::Run& run) { return f.fs().load(run, id); }).error().status(), Status::stale);
  for (int i = 0; i < 40; ++i) f.step();
  f.crash();  // the reclaim goes on from where it was
  EXPECT_EQ(f.run([&](state::Run& run) { return f.fs().load(run, id); }).error().status(), Status::stale);
  f.settle();
  EXPECT_LE(f.record_bytes_max, 32U << 10U);
  f.checkpoint();
  f.verify();
  EXPECT_EQ(f.data().allocator.free_blocks(), 30000U - 1);
}

TEST_P(BigFile, MayBeWrittenToAndTruncatedAgainWhileItIsBeingFreed) {
  forget();
  ASSERT_TRUE(f.truncate(id, 5000 * page));
  const ByteVector bytes(30 * page, std::byte{7});
  ASSERT_TRUE(f.write(id, 9000 * page, bytes, Stable::file_sync));
  ASSERT_TRUE(f.write(id, 9100 * page, bytes, Stable::unstable));
  EXPECT_EQ(*f.read(id, 9000 * page - 10, 10), ByteVector(10));
  EXPECT_EQ(*f.read(id, 9000 * page, 30 * page), bytes);
  EXPECT_EQ(f.data().reclaims.size(), 1U);
  // Further down: at once. Further up, with too much behind it: when the first has ended.
  ASSERT_TRUE(f.truncate(id, 4000 * page));
  EXPECT_EQ(f.data().reclaims.size(), 1U);
  ASSERT_TRUE(f.truncate(id, 12000 * page));
  ASSERT_TRUE(f.write(id, 9000 * page, bytes, Stable::file_sync));
  ASSERT_TRUE(f.truncate(id, 6000 * page));
  EXPECT_EQ(*f.read(id, 4000 * page, 2000), ByteVector(2000));
  f.settle();
  f.verify();
  EXPECT_EQ(f.load(id).size, 6000 * page);
  EXPECT_EQ(f.load(id).blocks, 2000U);
}

INSTANTIATE_TEST_SUITE_P(InMemoryAndNot, BigFile, ::testing::Values(0U, 100U));

TEST(Truncate, WaitsForAnEarlierCutThatItsOwnWouldUndo) {
  DataFixtureOptions options;
  options.data.rows_max = 8;
  DataFixture f(options);
  const InodeId id = make_fragmented(f, 100);
  f.hold_reclaims = true;
  ASSERT_TRUE(f.truncate(id, 50 * page));
  ASSERT_TRUE(f.truncate(id, 400 * page));
  for (uint64_t i = 0; i < 20; ++i)
    ASSERT_TRUE(f.write(id, (200 + 3 * i) * page, ByteVector(page, std::byte{1}), Stable::file_sync));
  bool truncated = false;
  f.spawn(
      0,
      [&](state::Run& run, int&) -> Outcome<int> {
        InodeRow inode = TRY(f.fs().load(run, id));
        TRY(truncate(f.fs(), run, id, inode, 201 * page));
        f.fs().store(run, id, inode);
        return 0;
      },
      [&](const Outcome<int>& outcome, Lsn) { truncated = outcome.has_value(); });
  f.settle();
  EXPECT_FALSE(truncated);
  EXPECT_EQ(f.load(id).size, 400 * page);
  f.let_reclaims_go();
  f.settle();
  EXPECT_TRUE(truncated);
  f.verify();
  EXPECT_EQ(f.load(id).blocks, 26U);
  EXPECT_EQ(*f.read(id, 200 * page, page), ByteVector(page, std::byte{1}));
}

TEST(Truncate, LeavesZerosBehindTheEndEvenAfterACrash) {
  for (const Stable stable : {Stable::unstable, Stable::file_sync})
    for (const uint64_t size : {10, 4096, 5000, 100 * 4096 + 1}) {
      DataFixture f;
      const InodeId id = f.new_file();
      ASSERT_TRUE(f.write(id, 0, ByteVector(200 * page, std::byte{9}), Stable::file_sync));
      ASSERT_TRUE(f.write(id, 0, ByteVector(200 * page, std::byte{7}), stable));
      ASSERT_TRUE(f.truncate(id, size));
      f.settle();
      f.crash();
      ASSERT_TRUE(f.truncate(id, 300 * page));
      EXPECT_EQ(*f.read(id, size, 300 * page), ByteVector(300 * page - size));
      EXPECT_EQ((*f.read(id, size - 1, 1))[0],
                (size % page != 0 || stable == Stable::file_sync) ? std::byte{7} : std::byte{9});
      f.verify();
    }
}

TEST(Truncate, GrowingIsCheapAndReadsAsZeros) {
  DataFixture f;
  const InodeId id = f.new_file();
  ASSERT_TRUE(f.write(id, 0, ByteVector(10, std::byte{1}), Stable::file_sync));
  ASSERT_TRUE(f.truncate(id, file_bytes_max));
  EXPECT_EQ(f.load(id).blocks, 1U);
  EXPECT_EQ(*f.read(id, file_bytes_max - 20, 100), ByteVector(20));
  EXPECT_EQ(*f.read(id, 10, 100), ByteVector(100));
}

TEST(Truncate, OnlyARegularFileHasContent) {
  DataFixture f;
  InodeRow row;
  for (const auto& [type, status] :
       {std::pair(FileType::directory, Status::is_directory),
        std::pair(FileType::symlink, Status::is_symlink), std::pair(FileType::fifo, Status::wrong_type)}) {
    row.type = type;
    EXPECT_EQ(
        f.run([&](state::Run& run) { return truncate(f.fs(), run, InodeId(9), row, 0); }).error().status(),
        status);
  }
}

}  // namespace
}  // namespace perdure::fs
