// What the model test cannot reach: limits, failures, and particular interleavings.
#include "fs/data.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fs/extents.h"
#include "fs/read.h"
#include "fs/testing/data_fixture.h"
#include "fs/truncate.h"

namespace perdure::fs {
namespace {

using testing::DataFixture;
using testing::DataFixtureOptions;
using testing::page;
using testing::pattern;
using testing::until;

// A write under way, until somebody asks.
struct Writing {
  std::shared_ptr<std::optional<Outcome<WriteResult>>> result =
      std::make_shared<std::optional<Outcome<WriteResult>>>();
  bool ended() const { return result->has_value(); }
  const Outcome<WriteResult>& outcome() const { return **result; }
};

Writing start_write(DataFixture& f, InodeId id, uint64_t offset, ByteVector bytes, Stable stable) {
  Writing writing;
  auto kept = std::make_shared<ByteVector>(std::move(bytes));
  f.spawn(
      WriteRegisters{},
      [&f, id, offset, kept, stable](state::Run& run, WriteRegisters& registers) {
        return fs::write(f.fs(), run, Principal{.uid = 0, .gid = 0, .groups = {}}, id, offset, Bytes(*kept),
                         stable, registers);
      },
      [result = writing.result](Outcome<WriteResult> outcome, Lsn) { *result = std::move(outcome); });
  return writing;
}

// ---------------------------------------------------------------------------------------------------------
// limits

TEST(FileSize, HasALimit) {
  DataFixture f;
  const InodeId id = f.new_file();
  const ByteVector ten = pattern(10, 1);
  for (const Stable stable : {Stable::unstable, Stable::file_sync}) {
    EXPECT_TRUE(f.write(id, file_bytes_max - 10, ten, stable));
    EXPECT_EQ(f.write(id, file_bytes_max - 9, ten, stable).error().status(), Status::too_big);
    EXPECT_EQ(f.write(id, file_bytes_max + 1, ten, stable).error().status(), Status::too_big);
    EXPECT_EQ(f.write(id, UINT64_MAX, ten, stable).error().status(), Status::too_big);
  }
  EXPECT_EQ(f.truncate(id, file_bytes_max + 1).error().status(), Status::too_big);
  EXPECT_EQ(f.load(id).size, file_bytes_max);
  EXPECT_EQ(f.load(id).blocks, 1U);
  EXPECT_EQ(*f.read(id, file_bytes_max - 10, 100), ten);
  EXPECT_EQ(*f.read(id, uint64_t{1} << 40U, 5), ByteVector(5));
  f.write_back();
  EXPECT_TRUE(f.truncate(id, 1));
  EXPECT_EQ(f.load(id).blocks, 0U);
  f.settle();
  f.verify();
}

TEST(Write, OfNothingChangesNothing) {
  DataFixture f;
  const InodeId id = f.new_file();
  const uint64_t change = f.load(id).change;
  EXPECT_EQ(f.write(id, 100, {}, Stable::unstable)->count, 0U);
  EXPECT_EQ(f.load(id).change, change);
  EXPECT_EQ(f.load(id).size, 0U);
}

TEST(Write, ByOthersThanRootClearsTheSetIdBitsForGood) {
  DataFixture f;
  for (const Stable stable : {Stable::unstable, Stable::file_sync}) {
    const InodeId id = f.new_file(06755);
    ASSERT_TRUE(f.write(id, 0, pattern(10, 1), stable, 0));
    EXPECT_EQ(f.load(id).mode, 06755U);
    ASSERT_TRUE(f.write(id, 0, pattern(10, 1), stable, 1000));
    EXPECT_EQ(f.load(id).mode, 0755U);
    f.settle();
    f.crash();
    EXPECT_EQ(f.load(id).mode, 0755U);
  }
}

TEST(Space, IsRefusedOnlyWhenThereIsNone) {
  DataFixtureOptions options;
  options.blocks = options.blocks_max = 128;
  options.data.margin_blocks = 8;
  DataFixture f(options);
  const InodeId a = f.new_file(), b = f.new_file();
  ASSERT_TRUE(f.write(a, 0, pattern(60 * page, 1), Stable::unstable));
  ASSERT_TRUE(f.write(b, 0, pattern(50 * page, 2), Stable::file_sync));
  for (const Stable stable : {Stable::unstable, Stable::file_sync})
    EXPECT_EQ(f.write(b, 50 * page, pattern(40 * page, 3), stable).error().status(), Status::no_space);
  // A full store still gives space back, and what waits for a checkpoint is not refused.
  ASSERT_TRUE(f.drop(a));
  f.files.erase(a);
  EXPECT_TRUE(f.write(b, 50 * page, pattern(40 * page, 3), Stable::file_sync));
  // Overwriting needs fresh blocks again and again.
  for (unsigned i = 0; i < 30; ++i)
    for (const Stable stable : {Stable::unstable, Stable::file_sync})
      ASSERT_TRUE(f.write(b, 20 * page, pattern(25 * page, i), stable)) << i;
  EXPECT_EQ(f.write(b, 90 * page, pattern(40 * page, 3), Stable::unstable).error().status(),
            Status::no_space);
  ASSERT_TRUE(f.truncate(b, 100));
  ASSERT_TRUE(f.commit(b));
  f.checkpoint();
  f.verify();
  EXPECT_GT(f.data().allocator.free_blocks(), 120U);
}

TEST(Space, GrowsAheadOfNeed) {
  DataFixtureOptions options;
  options.blocks = options.blocks_step = 64;
  options.blocks_max = 512;
  options.data.margin_blocks = 8;
  options.data.grow_below = 32;
  DataFixture f(options);
  const InodeId id = f.new_file();
  for (uint64_t i = 0; i < 14; ++i)
    ASSERT_TRUE(f.write(id, i * 32 * page, pattern(32 * page, static_cast<unsigned>(i)),
                        i % 2 == 0 ? Stable::unstable : Stable::file_sync));
  EXPECT_EQ(f.write(id, 14 * 32 * page, pattern(64 * page, 3), Stable::file_sync).error().status(),
            Status::no_space);
  f.settle();
  f.verify();
  f.crash();
  f.verify();
}

TEST(Space, AFailedGrowthIsNoSpaceAndIsTriedAgain) {
  DataFixtureOptions options;
  options.blocks = options.blocks_step = 64;
  options.blocks_max = 512;
  options.data.margin_blocks = 8;
  DataFixture f(options);
  f.env().inject({.path = "blocks", .kind = env::IoKind::grow, .error = ErrorKind::no_space});
  const InodeId id = f.new_file();
  EXPECT_EQ(f.write(id, 0, pattern(100 * page, 1), Stable::file_sync).error().status(), Status::no_space);
  f.env().advance(std::chrono::seconds(20));
  EXPECT_TRUE(f.write(id, 0, pattern(100 * page, 1), Stable::file_sync));
}

TEST(Dirty, WritersWaitAboveTheLimit) {
  DataFixtureOptions options;
  options.data.dirty_bytes_low = 8 * page;
  options.data.dirty_bytes_max = 16 * page;
  options.data.page_row_bytes_low = 8 * page;
  options.data.page_row_bytes_max = 16 * page;
  DataFixture f(options);
  const InodeId id = f.new_file();
  for (uint64_t i = 0; i < 50; ++i) {
    ASSERT_TRUE(f.write(id, i * 3 * page, pattern(3 * page, static_cast<unsigned>(i)),
                        i % 2 == 0 ? Stable::unstable : Stable::file_sync));
    EXPECT_LE(f.data().dirty_bytes(), 16 * page);
    EXPECT_LE(f.data().page_row_bytes(), 16 * page);
  }
  EXPECT_GT(f.waits, 5U);
  EXPECT_TRUE(f.commit(id));
  EXPECT_FALSE(f.data().anything_dirty());
}

// ---------------------------------------------------------------------------------------------------------
// interleavings

TEST(StableBigWrite, TakesEffectAsAWholeInItsSecondRun) {
  DataFixture f;
  const InodeId id = f.new_file();
  ASSERT_TRUE(f.write(id, 0, pattern(300 * page, 9), Stable::file_sync));
  f.settle();
  f.env().hold_io(true);
  const Writing big = start_write(f, id, 100, pattern(100 * page, 1), Stable::file_sync);
  until(f, [&] { return f.data().placements.under_way() == 1; });
  // Meanwhile others write below it, and are hidden by it; the partial blocks at its ends merge with them.
  ASSERT_TRUE(f.write(id, 0, pattern(50, 2), Stable::unstable));
  ASSERT_TRUE(f.write(id, 10 * page + 7, pattern(page, 3), Stable::unstable));
  ASSERT_TRUE(f.write(id, 20 * page + 7, pattern(page, 4), Stable::file_sync));
  EXPECT_EQ(*f.read(id, 10 * page + 7, page), pattern(page, 3));
  ASSERT_TRUE(f.write(id, 100 * page + 200, pattern(60, 5), Stable::file_sync));
  EXPECT_FALSE(big.ended());
  f.env().hold_io(false);
  until(f, [&] { return big.ended(); });
  ASSERT_TRUE(big.outcome());
  EXPECT_EQ(*f.read(id, 0, 50), pattern(50, 2));
  EXPECT_EQ(*f.read(id, 100, 100 * page), pattern(100 * page, 1));
  EXPECT_EQ(*f.read(id, 100 * page + 200, 60), pattern(60, 5));
  f.settle();
  f.verify();
  EXPECT_EQ(f.load(id).blocks, 300U);
}

TEST(StableBigWrite, MeetsATruncation) {
  DataFixture f;
  const InodeId id = f.new_file();
  ASSERT_TRUE(f.write(id, 0, pattern(300 * page, 9), Stable::file_sync));
  f.settle();
  f.env().hold_io(true);
  const Writing big = start_write(f, id, 150 * page + 100, pattern(50 * page, 1), Stable::file_sync);
  until(f, [&] { return f.data().placements.under_way() == 1; });
  ASSERT_TRUE(f.truncate(id, 100 * page));
  f.env().hold_io(false);
  until(f, [&] { return big.ended(); });
  EXPECT_EQ(*f.read(id, 100 * page, 50 * page + 100), ByteVector(50 * page + 100));
  EXPECT_EQ(*f.read(id, 150 * page + 100, 100 * page), pattern(50 * page, 1));
  f.settle();
  f.verify();
}

TEST(StableBigWrite, ToAFileThatIsRemovedMeanwhileGivesItsBlocksBack) {
  DataFixture f;
  const InodeId id = f.new_file();
  const uint64_t free = f.data().allocator.free_blocks();
  f.env().hold_io(true);
  const Writing big = start_write(f, id, 0, pattern(100 * page, 1), Stable::file_sync);
  until(f, [&] { return f.data().placements.under_way() == 1; });
  ASSERT_TRUE(f.drop(id));
  f.files.erase(id);
  f.env().hold_io(false);
  until(f, [&] { return big.ended(); });
  EXPECT_EQ(big.outcome().error().status(), Status::stale);
  f.settle();
  f.verify();
  EXPECT_EQ(f.data().allocator.free_blocks(), free);
}

TEST(StableBigWrite, FailsWithTheDiskAndChangesNothing) {
  DataFixture f;
  const InodeId id = f.new_file();
  ASSERT_TRUE(f.write(id, 0, pattern(100 * page, 1), Stable::file_sync));
  f.settle();
  for (const env::IoKind kind : {env::IoKind::write, env::IoKind::flush}) {
    f.env().inject({.path = "blocks", .kind = kind});
    EXPECT_EQ(f.write(id, 0, pattern(100 * page, 2), Stable::file_sync).error().status(), Status::io_error);
    f.env().clear_faults();
    EXPECT_EQ(*f.read(id, 0, 100 * page), pattern(100 * page, 1));
    f.settle();
    f.verify();
  }
  EXPECT_TRUE(f.write(id, 0, pattern(100 * page, 2), Stable::file_sync));
}

TEST(Commit, FailsWithTheDiskAndLosesNothing) {
  DataFixture f;
  const InodeId id = f.new_file();
  ASSERT_TRUE(f.write(id, 0, pattern(100 * page, 1), Stable::unstable));
  for (const env::IoKind kind : {env::IoKind::write, env::IoKind::flush}) {
    f.env().inject({.path = "blocks", .kind = kind});
    EXPECT_EQ(f.commit(id).error().status(), Status::io_error);
    f.env().clear_faults();
    EXPECT_EQ(f.data().dirty_bytes(), 100 * page);
    f.settle();
    f.verify();
  }
  EXPECT_TRUE(f.commit(id));
  f.settle();
  f.crash();
  EXPECT_EQ(*f.read(id, 0, 100 * page), pattern(100 * page, 1));
}

TEST(Commit, IncludesWhatAPageHeldThoughItIsWrittenToMeanwhile) {
  DataFixture f;
  const InodeId id = f.new_file();
  ASSERT_TRUE(f.write(id, 0, pattern(100 * page, 1), Stable::unstable));
  f.env().hold_io(true);
  bool committed = false;
  f.spawn(
      CommitRegisters{},
      [&](state::Run& run, CommitRegisters& registers) {
        return fs::commit(f.fs(), run, id, 0, 0, registers);
      },
      [&](const Outcome<void>& outcome, Lsn) { committed = outcome.has_value(); });
  until(f, [&] { return f.data().placements.under_way() == 1; });
  ASSERT_TRUE(f.write(id, 7 * page + 10, pattern(20, 2), Stable::unstable));
  f.env().hold_io(false);
  until(f, [&] { return committed; });
  f.settle();
  f.crash();
  ByteVector expected = pattern(100 * page, 1);
  const ByteVector later = pattern(20, 2);
  const ByteVector found = *f.read(id, 0, 100 * page);
  if (found != expected) {
    std::copy(later.begin(), later.end(), expected.begin() + 7 * page + 10);
    EXPECT_TRUE(found == expected);
  }
  f.verify();
}

TEST(Commit, WaitsForTheOneThatIsPlacingTheSamePages) {
  DataFixture f;
  const InodeId id = f.new_file();
  ASSERT_TRUE(f.write(id, 0, pattern(400 * page, 1), Stable::unstable));
  int committed = 0;
  for (int i = 0; i < 3; ++i)
    f.spawn(
        CommitRegisters{},
        [&](state::Run& run, CommitRegisters& registers) {
          return fs::commit(f.fs(), run, id, 0, 0, registers);
        },
        [&](const Outcome<void>& outcome, Lsn) { committed += outcome.has_value() ? 1 : 0; });
  f.start_write_back(WriteBackScope::everything);
  f.settle();
  EXPECT_EQ(committed, 3);
  EXPECT_EQ(f.data().placements.figures().pages_written, 400U);
  f.verify();
}

// Else whoever waits for fewer dirty pages would ask for one pass after the other.
TEST(WriteBack, OfNothingButWhatACommitPlacesEndsAfterIt) {
  DataFixture f;
  const InodeId id = f.new_file();
  ASSERT_TRUE(f.write(id, 0, pattern(100 * page, 1), Stable::unstable));
  f.env().hold_io(true);
  bool committed = false, ended = false;
  f.spawn(
      CommitRegisters{},
      [&](state::Run& run, CommitRegisters& registers) {
        return fs::commit(f.fs(), run, id, 0, 0, registers);
      },
      [&](const Outcome<void>& outcome, Lsn) { committed = outcome.has_value(); });
  until(f, [&] { return f.data().placements.under_way() == 1; });
  f.spawn(
      begin_write_back(f.fs(), WriteBackScope::everything),
      [&](state::Run& run, WriteBackRegisters& registers) { return write_back(f.fs(), run, registers); },
      [&](const Outcome<bool>& outcome, Lsn) { ended = outcome.has_value(); });
  while (f.step()) {
  }
  EXPECT_FALSE(ended);
  f.env().hold_io(false);
  f.settle();
  EXPECT_TRUE(committed && ended);
  EXPECT_EQ(f.data().placements.figures().pages_written, 100U);
  f.verify();
}

TEST(WriteBack, LeavesAPageDirtyThatHasChanged) {
  DataFixture f;
  const InodeId id = f.new_file();
  ASSERT_TRUE(f.write(id, 0, pattern(10 * page, 1), Stable::unstable));
  f.env().hold_io(true);
  f.start_write_back(WriteBackScope::everything);
  until(f, [&] { return f.data().placements.under_way() == 1; });
  ASSERT_TRUE(f.write(id, 3 * page + 1, pattern(5, 2), Stable::unstable));
  f.env().hold_io(false);
  f.settle();
  EXPECT_EQ(f.data().dirty_bytes(), page);
  EXPECT_EQ(*f.read(id, 3 * page + 1, 5), pattern(5, 2));
  f.verify();
}

TEST(WriteBack, MovesOnlyWhatIsOldEnough) {
  DataFixture f;
  const InodeId old_file = f.new_file(), new_file = f.new_file();
  const auto age = std::chrono::seconds(5);
  ASSERT_TRUE(f.write(old_file, 0, pattern(page, 1), Stable::unstable));
  begin_write_back(f.fs(), WriteBackScope::aged, age);
  f.env().advance(std::chrono::seconds(6));
  ASSERT_TRUE(f.write(new_file, 0, pattern(page, 2), Stable::unstable));
  ASSERT_TRUE(f.write(new_file, page, pattern(page, 2), Stable::file_sync));
  const auto pass = [&](WriteBackScope scope) {
    ASSERT_TRUE(f.complete(begin_write_back(f.fs(), scope, age), [&](state::Run& run, WriteBackRegisters& r) {
      return write_back(f.fs(), run, r);
    }));
  };
  pass(WriteBackScope::aged);
  EXPECT_EQ(f.data().dirty_bytes(), page);
  EXPECT_EQ(f.data().page_row_bytes(), page);
  pass(WriteBackScope::checkpoint);
  EXPECT_EQ(f.data().dirty_bytes(), page);
  EXPECT_EQ(f.data().page_row_bytes(), 0U);
  pass(WriteBackScope::everything);
  EXPECT_FALSE(f.data().anything_dirty());
}

// ---------------------------------------------------------------------------------------------------------
// reading

struct DamagedData : ::testing::Test {
  DataFixture f;
  const InodeId id = f.new_file();
  const ByteVector bytes = pattern(64 * page, 1);

  // Where the block store has file block `n`.
  BlockNo place_of(uint64_t n) {
    return *f.run([&](state::Run& run) -> Outcome<BlockNo> {
      const InodeRow inode = TRY(f.fs().load(run, id));
      ExtentCursor extents(f.fs(), run, id, inode, n, n + 1);
      ExtentPart part;
      CHECK(TRY(extents.next(part)));
      return part.block;
    });
  }
  void expect_only_block_17_is_bad() {
    f.evict();
    const uint64_t runs = f.runs;
    EXPECT_EQ(f.read(id, 0, 64 * page).error().status(), Status::io_error);
    EXPECT_LE(f.runs - runs, 4U);
    EXPECT_EQ(*f.read(id, 0, 17 * page), pattern(17 * page, 1));
    EXPECT_EQ(*f.read(id, 18 * page, 100 * page), ByteVector(bytes.begin() + 18 * page, bytes.end()));
    // A write that would have to merge with it fails; one that replaces it does not care.
    EXPECT_EQ(f.write(id, 17 * page + 5, pattern(10, 2), Stable::unstable).error().status(),
              Status::io_error);
    EXPECT_EQ(f.truncate(id, 17 * page + 5).error().status(), Status::io_error);
    f.env().advance(std::chrono::seconds(2));
    EXPECT_EQ(f.read(id, 17 * page, 1).error().status(), Status::io_error);
  }
  void SetUp() override {
    ASSERT_TRUE(f.write(id, 0, bytes, Stable::unstable));
    ASSERT_TRUE(f.commit(id));
    f.settle();
  }
};

TEST_F(DamagedData, OfAChecksumIsAnErrorUntilItIsMended) {
  const uint64_t at = place_of(17).value * page;
  const ByteVector disk = f.env().content("blocks");
  const ByteVector good(disk.begin() + static_cast<ptrdiff_t>(at),
                        disk.begin() + static_cast<ptrdiff_t>(at + page));
  ByteVector bad = good;
  bad[1234] ^= std::byte{4};
  f.env().overwrite("blocks", at, bad);
  expect_only_block_17_is_bad();
  f.env().overwrite("blocks", at, good);
  f.env().advance(std::chrono::seconds(2));
  EXPECT_EQ(*f.read(id, 0, 64 * page), bytes);
}

TEST_F(DamagedData, OfTheDeviceIsAnErrorUntilItIsOverwritten) {
  f.env().make_unreadable("blocks", place_of(17).value * page, page);
  expect_only_block_17_is_bad();
  ASSERT_TRUE(f.write(id, 17 * page, pattern(page, 3), Stable::file_sync));
  EXPECT_EQ(*f.read(id, 17 * page, page), pattern(page, 3));
  f.settle();
  f.verify();
}

TEST(ReadAhead, KeepsASequentialReaderFromWaiting) {
  DataFixture f;
  const InodeId id = f.new_file();
  const ByteVector bytes = pattern(1024 * page, 1);
  ASSERT_TRUE(f.write(id, 0, bytes, Stable::unstable));
  ASSERT_TRUE(f.commit(id));
  f.evict();
  const uint64_t faults = f.faults;
  for (uint64_t block = 0; block < 1024; block += 16) {
    ASSERT_TRUE(*f.read(id, block * page, 16 * page) ==
                ByteVector(bytes.begin() + static_cast<ptrdiff_t>(block * page),
                           bytes.begin() + static_cast<ptrdiff_t>((block + 16) * page)));
    f.settle();
  }
  EXPECT_LE(f.faults - faults, 6U);
  EXPECT_EQ(f.data().reader.figures().blocks_read, 1024U);
}

TEST(ReadAhead, LeavesARandomReaderAlone) {
  DataFixture f;
  const InodeId id = f.new_file();
  ASSERT_TRUE(f.write(id, 0, pattern(1024 * page, 1), Stable::unstable));
  ASSERT_TRUE(f.commit(id));
  f.evict();
  for (uint64_t i = 0; i < 50; ++i) {
    ASSERT_TRUE(f.read(id, (i * 389 + 500) % 1024 * page, page));
    f.settle();
  }
  EXPECT_LE(f.data().reader.figures().blocks_read, 150U);
}

TEST(Read, OfABlockThatIsBeingReadJoinsIn) {
  DataFixtureOptions options;
  options.data.read_ahead_bytes_max = 0;
  DataFixture f(options);
  const InodeId id = f.new_file();
  ASSERT_TRUE(f.write(id, 0, pattern(32 * page, 1), Stable::unstable));
  ASSERT_TRUE(f.commit(id));
  f.evict();
  int ended = 0;
  for (uint64_t i = 0; i < 4; ++i)
    f.spawn(
        0,
        [&, i](state::Run& run, int&) -> Outcome<int> {
          const InodeRow inode = TRY(f.fs().load(run, id));
          TRY(read(f.fs(), run, id, inode, 4 * i * page, 16 * page));
          return 0;
        },
        [&](const Outcome<int>& outcome, Lsn) { ended += outcome ? 1 : 0; });
  f.settle();
  EXPECT_EQ(ended, 4);
  EXPECT_EQ(f.data().reader.figures().blocks_read, 28U);
}

TEST(Cache, StaysWithinItsLimitButKeepsWhatAFaultedRunNeeds) {
  DataFixtureOptions options;
  options.data.memory_bytes = 8 * page;
  options.data.read_ahead_bytes_max = 0;
  DataFixture f(options);
  const InodeId id = f.new_file();
  ASSERT_TRUE(f.write(id, 0, pattern(256 * page, 1), Stable::unstable));
  ASSERT_TRUE(f.commit(id));
  f.settle();
  for (int i = 0; i < 20; ++i) f.data().trim_memory(f.database().tick() + 1);
  EXPECT_LE(f.data().cache.bytes(), 8 * page);
  // One read needs more than the limit.
  EXPECT_EQ(*f.read(id, 0, 100 * page), pattern(100 * page, 1));
  const uint32_t then = f.database().tick();
  for (int i = 0; i < 20; ++i) f.data().trim_memory(then);
  EXPECT_GE(f.data().cache.bytes(), 100 * page);
  for (int i = 0; i < 20; ++i) f.data().trim_memory(then + 1);
  EXPECT_LE(f.data().cache.bytes(), 8 * page);
}

}  // namespace
}  // namespace perdure::fs
