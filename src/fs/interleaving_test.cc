// Particular moments at which one transaction meets another: each was a bug once, or is one in a simpler
// design.
#include <gtest/gtest.h>

#include "fs/extents.h"
#include "fs/testing/data_fixture.h"
#include "fs/truncate.h"

namespace perdure::fs {
namespace {

using testing::DataFixture;
using testing::DataFixtureOptions;
using testing::page;
using testing::until;

ByteVector filled(uint64_t pages, unsigned value) {
  return ByteVector(pages * page, static_cast<std::byte>(value));
}

// A COMMIT under way.
struct Committing {
  bool ended = false;
  Status status = Status::ok;
  Lsn release;
};

std::shared_ptr<Committing> start_commit(DataFixture& f, InodeId id) {
  auto committing = std::make_shared<Committing>();
  f.spawn(
      CommitRegisters{},
      [&f, id](state::Run& run, CommitRegisters& r) { return fs::commit(f.fs(), run, id, 0, 0, r); },
      [committing](const Outcome<void>& outcome, Lsn release) {
        committing->ended = true;
        committing->status = outcome ? Status::ok : outcome.error().status();
        committing->release = release;
      });
  return committing;
}

// While COMMIT's pages are on their way, somebody else makes them stable. COMMIT finds nothing left to do,
// but must not answer before that other record is durable.
TEST(Commit, WaitsForTheRecordThatMadeItsPagesStable) {
  DataFixture f;
  const InodeId id = f.new_file();
  ASSERT_TRUE(f.write(id, 0, filled(100, 1), Stable::unstable));
  f.settle();
  f.env().hold_io(true);
  const auto committing = start_commit(f, id);
  until(f, [&] { return f.data().placements.under_way() == 1; });
  Lsn last;
  for (uint64_t n = 0; n < 100; n += 10) {
    last = f.log().next_lsn();
    ASSERT_TRUE(f.write(id, n * page, filled(10, 2), Stable::file_sync));
  }
  f.env().hold_io(false);
  until(f, [&] { return committing->ended; });
  EXPECT_EQ(committing->status, Status::ok);
  EXPECT_GE(committing->release, last);
  f.settle();
  f.verify();
}

TEST(Commit, OfAFileThatIsRemovedMeanwhileGivesEverythingBack) {
  DataFixture f;
  const InodeId id = f.new_file(), other = f.new_file();
  const uint64_t free = f.data().allocator.free_blocks();
  ASSERT_TRUE(f.write(id, 0, filled(100, 1), Stable::unstable));
  f.env().hold_io(true);
  const auto committing = start_commit(f, id);
  until(f, [&] { return f.data().placements.under_way() == 1; });
  ASSERT_TRUE(f.drop(id));
  f.files.erase(id);
  f.env().hold_io(false);
  f.settle();
  EXPECT_TRUE(committing->ended);
  EXPECT_EQ(committing->status, Status::stale);
  f.verify();
  EXPECT_EQ(f.data().allocator.free_blocks(), free);
  EXPECT_TRUE(f.commit(other));
}

// A file is a pass's own while it places dirty pages of it, and no longer: not because page rows of it
// follow.
TEST(WriteBack, LetsGoOfAFileOfWhichOnlyPageRowsAreLeft) {
  DataFixtureOptions options;
  options.data.write_back_blocks = 8;
  options.data.record_blocks_max = 2;
  DataFixture f(options);
  const InodeId id = f.new_file();
  ASSERT_TRUE(f.write(id, 0, filled(8, 1), Stable::unstable));
  ASSERT_TRUE(f.write(id, 8 * page, filled(4, 1), Stable::file_sync));
  f.write_back();
  ASSERT_TRUE(f.write(id, 0, filled(8, 2), Stable::unstable));
  EXPECT_TRUE(f.commit(id));
  f.settle();
  EXPECT_EQ(f.unfinished(), 0U);
  f.verify();
}

// Who waits for a pass is told of its failure, instead of waiting for ever.
TEST(WriteBack, ThatFailsLetsWritersGo) {
  DataFixtureOptions options;
  options.data.dirty_bytes_low = options.data.page_row_bytes_low = 8 * page;
  options.data.dirty_bytes_max = options.data.page_row_bytes_max = 16 * page;
  for (const Stable stable : {Stable::unstable, Stable::file_sync}) {
    DataFixture f(options);
    const InodeId id = f.new_file();
    f.env().inject({.path = "blocks", .kind = env::IoKind::write, .count = 1000});
    ASSERT_TRUE(f.write(id, 0, filled(8, 1), stable));
    ASSERT_TRUE(f.write(id, 8 * page, filled(8, 1), stable));
    EXPECT_EQ(f.write(id, 16 * page, filled(8, 2), stable).error().status(), Status::io_error);
    f.settle();
    f.verify();
    f.env().clear_faults();
    f.env().advance(std::chrono::seconds(2));
    EXPECT_TRUE(f.write(id, 16 * page, filled(8, 3), stable));
    EXPECT_EQ(*f.read(id, 0, 24 * page), [] {
      ByteVector all = filled(16, 1);
      const ByteVector more = filled(8, 3);
      all.insert(all.end(), more.begin(), more.end());
      return all;
    }());
  }
}

// In a store with few free blocks a pass proceeds by as many as there are, and keeps what it has done.
TEST(WriteBack, KeepsWhatItHasMappedWhenThereIsNoRoomForMore) {
  DataFixtureOptions options;
  options.blocks = options.blocks_max = 64;
  options.data.margin_blocks = 0;
  options.serve_hooks = false;
  DataFixture f(options);
  const InodeId id = f.new_file();
  ASSERT_TRUE(f.write(id, 0, filled(40, 1), Stable::unstable));
  f.write_back();
  ASSERT_TRUE(f.write(id, 0, filled(23, 2), Stable::unstable));
  // A truncation needs a block more than there is: its tail.
  ASSERT_TRUE(f.truncate(id, 39 * page + 10));
  EXPECT_EQ(f.data().allocator.available(), -1);
  f.start_write_back(WriteBackScope::everything);
  f.settle();
  EXPECT_EQ(f.data().dirty_bytes() + f.data().page_row_bytes(), page);
  EXPECT_EQ(f.data().allocator.free_blocks(), 0U);
  f.checkpoint();
  f.write_back();
  EXPECT_EQ(f.data().page_row_bytes(), 0U);
  f.verify();
}

// A reclaim has looked at an extent, and comes back to it in its next step. In between it is split.
TEST(Reclaim, FindsWhatAWriteHasSplit) {
  DataFixtureOptions options;
  options.data.rows_max = 1;
  options.data.record_bytes_max = page;
  DataFixture f(options);
  const InodeId id = f.new_file();
  ASSERT_TRUE(f.write(id, 0, filled(200, 9), Stable::unstable));
  ASSERT_TRUE(f.commit(id));
  f.hold_reclaims = true;
  ASSERT_TRUE(f.truncate(id, 0));
  ASSERT_TRUE(f.truncate(id, 200 * page));
  ReclaimRegisters registers{.inode = id};
  const auto step = [&] {
    bool finished = false;
    EXPECT_TRUE(f.run([&](state::Run& run) -> Outcome<int> {
      finished = TRY(reclaim_step(f.fs(), run, registers));
      return 0;
    }));
    return finished;
  };
  EXPECT_FALSE(step());
  EXPECT_FALSE(step());
  for (const uint64_t n : {80U, 150U}) ASSERT_TRUE(f.write(id, n * page, filled(10, 3), Stable::file_sync));
  int steps = 0;
  while (!step()) ASSERT_LT(++steps, 20);
  for (const uint64_t n : {80U, 150U}) EXPECT_EQ(*f.read(id, n * page, 10 * page), filled(10, 3));
  EXPECT_EQ(*f.read(id, 0, 80 * page), filled(80, 0));
  EXPECT_EQ(*f.read(id, 90 * page, 60 * page), filled(60, 0));
  EXPECT_EQ(*f.read(id, 160 * page, 40 * page), filled(40, 0));
  EXPECT_EQ(f.load(id).blocks, 20U);
  f.settle();
  f.verify();
}

// An extent has one stamp: what is cut off and what was written later are never joined, even if they are
// neighbours in the file and in the store.
TEST(Extents, OfACutFileDoNotTakeNewContentWithThem) {
  DataFixture f;
  const InodeId id = f.new_file();
  ASSERT_TRUE(f.run([&](state::Run& run) -> Outcome<int> {
    InodeRow inode = TRY(f.fs().load(run, id));
    const std::vector<BlockRange> ranges = f.data().allocator.reserve(run, 20);
    CHECK(ranges.size() == 1);
    f.data().allocator.mark_used(run, ranges);
    ExtentRow old{.first_block = FileBlock(30),
                  .block = BlockNo(ranges[0].first.value + 10),
                  .stamp = f.fs().new_change(),
                  .crcs = std::vector<uint32_t>(10)};
    inode.cut_from = 10;
    inode.cut_stamp = f.fs().new_change();
    ExtentRow later{.first_block = FileBlock(20),
                    .block = ranges[0].first,
                    .stamp = f.fs().new_change(),
                    .crcs = std::vector<uint32_t>(10)};
    f.fs().extents.put(run, {id, FileBlock(39)}, std::move(old));
    f.fs().extents.put(run, {id, FileBlock(29)}, std::move(later));
    inode.extent_end = 40;
    inode.size = 40 * page;
    inode.blocks = 20;
    f.fs().store(run, id, inode);
    return 0;
  }));
  ASSERT_TRUE(f.write(id, 35 * page, filled(1, 1), Stable::file_sync));
  f.write_back();
  const auto cut_off = [&](uint64_t n) {
    return *f.run([&](state::Run& run) -> Outcome<int> {
      const InodeRow inode = TRY(f.fs().load(run, id));
      ExtentCursor extents(f.fs(), run, id, inode, n, n + 1);
      ExtentPart part;
      CHECK(TRY(extents.next(part)));
      return part.cut_off ? 1 : 0;
    });
  };
  EXPECT_EQ(cut_off(25), 0);
  EXPECT_EQ(cut_off(30), 1);
  EXPECT_EQ(cut_off(35), 0);
  f.crash();  // starts the reclaim
  f.settle();
  EXPECT_EQ(f.load(id).blocks, 11U);
  f.verify();
}

}  // namespace
}  // namespace perdure::fs
