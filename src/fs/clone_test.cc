#include "fs/clone.h"

#include <gtest/gtest.h>

#include "fs/allocate.h"
#include "fs/testing/data_fixture.h"

namespace perdure::fs {
namespace {

using testing::DataFixture;
using testing::DataFixtureOptions;
using testing::page;
using testing::pattern;

class Cloning : public ::testing::TestWithParam<unsigned> {
 protected:
  static DataFixtureOptions options() {
    DataFixtureOptions o;
    o.needs_io_percent = GetParam();
    return o;
  }
  Outcome<void> clone(InodeId from, InodeId to, uint64_t from_offset = 0, uint64_t to_offset = 0,
                      uint64_t count = 0) {
    const CloneRange range{from, to, from_offset, to_offset, count};
    return f.complete(CloneRegisters{}, [this, range](state::Run& run, CloneRegisters& registers) {
      return fs::clone(f.fs(), run, Principal{.uid = 0}, range, registers);
    });
  }
  Outcome<void> punch(InodeId id, uint64_t offset, uint64_t count) {
    return f.complete(DeallocateRegisters{},
                      [this, id, offset, count](state::Run& run, DeallocateRegisters& registers) {
                        return deallocate(f.fs(), run, Principal{.uid = 0}, id, offset, count, registers);
                      });
  }
  InodeId make(uint64_t bytes, uint64_t seed) {
    const InodeId id = f.new_file();
    CHECK(f.write(id, 0, pattern(bytes, seed), Stable::file_sync));
    f.settle();
    return id;
  }
  // All data on blocks, and every row to be fetched from the store.
  void forget() {
    f.write_back();
    f.checkpoint();
    f.evict();
  }
  uint64_t free_blocks() { return f.data().allocator.free_blocks(); }
  DataFixture f{options()};
};

TEST_P(Cloning, TakesNoBlocksAndGivesThemBackWithTheLastFile) {
  const uint64_t empty = free_blocks();
  const InodeId a = make(300 * page + 5, 1);
  forget();
  const uint64_t with_one = free_blocks();
  const InodeId b = f.new_file(), c = f.new_file();
  ASSERT_TRUE(clone(a, b));
  ASSERT_TRUE(clone(b, c));
  forget();
  EXPECT_EQ(free_blocks(), with_one);
  EXPECT_EQ(*f.read(c, 0, 400 * page), pattern(300 * page + 5, 1));
  EXPECT_EQ(f.load(c).blocks, 301U);
  f.verify();
  ASSERT_TRUE(f.write(b, 10 * page, pattern(5 * page, 2), Stable::file_sync));
  forget();
  EXPECT_EQ(free_blocks(), with_one - 5);
  EXPECT_EQ(*f.read(a, 0, 400 * page), pattern(300 * page + 5, 1));
  ASSERT_TRUE(f.drop(a));
  ASSERT_TRUE(f.truncate(c, 100 * page));
  forget();
  f.verify();
  EXPECT_EQ(free_blocks(), with_one - 5);
  const ByteVector whole = pattern(300 * page + 5, 1);
  EXPECT_EQ(*f.read(c, 0, 400 * page), ByteVector(whole.begin(), whole.begin() + 100 * page));
  ASSERT_TRUE(f.drop(b));
  ASSERT_TRUE(f.drop(c));
  f.settle();
  f.checkpoint();
  f.checkpoint();
  f.verify();
  EXPECT_EQ(free_blocks(), empty);
  EXPECT_EQ(f.fs().block_references.size(), 0U);
}

TEST_P(Cloning, TakesWhatIsNotOnBlocksYet) {
  const InodeId a = make(50 * page, 1);
  forget();
  ASSERT_TRUE(f.write(a, 3 * page + 7, pattern(2 * page, 2), Stable::file_sync));
  ASSERT_TRUE(f.write(a, 20 * page, pattern(9 * page, 3), Stable::unstable));
  const ByteVector content = *f.read(a, 0, 50 * page);
  const InodeId b = make(60 * page, 4);
  ASSERT_TRUE(clone(a, b, 0, page));
  EXPECT_EQ(*f.read(b, page, 50 * page), content);
  f.crash();
  EXPECT_EQ(*f.read(b, page, 50 * page), content);
  f.verify();
}

// Whoever writes to the source meanwhile waits.
TEST_P(Cloning, IsOfOneMoment) {
  const InodeId a = f.new_file(), b = f.new_file();
  const ByteVector whole = pattern(200 * page, 1);
  for (uint64_t i = 0; i < 200; ++i)  // page rows
    ASSERT_TRUE(f.write(a, i * page, Bytes(whole).subspan(i * page, page), Stable::file_sync));
  bool cloned = false, written = false, written_first = false;
  f.spawn(
      CloneRegisters{},
      [&, range = CloneRange{a, b}](state::Run& run, CloneRegisters& registers) {
        return fs::clone(f.fs(), run, Principal{.uid = 0}, range, registers);
      },
      [&](Outcome<void> outcome, Lsn) { cloned = outcome.has_value(); });
  until(f, [&] { return f.fs().inodes.peek({b})->size != 0; });
  ASSERT_FALSE(cloned);  // it goes on: there are more page rows than one run takes
  const ByteVector bytes = pattern(page, 9);
  f.spawn(
      WriteRegisters{},
      [&](state::Run& run, WriteRegisters& registers) {
        return fs::write(f.fs(), run, Principal{.uid = 0}, a, 199 * page, Bytes(bytes), Stable::file_sync,
                         registers);
      },
      [&](Outcome<WriteResult> outcome, Lsn) {
        written = outcome.has_value();
        written_first = !cloned;
      });
  f.settle();
  EXPECT_TRUE(cloned && written && !written_first);
  EXPECT_EQ(*f.read(b, 0, 200 * page), whole);
}

// The file grows while it is read, in several runs; its clone still ends where the file did.
TEST_P(Cloning, AFileIntoItself) {
  constexpr uint64_t bytes = 40 * page + 5, to = 50 * page;
  const InodeId a = f.new_file();
  const ByteVector content = pattern(bytes, 1);
  for (uint64_t at = 0; at < bytes; at += page)  // of page rows a run takes few
    ASSERT_TRUE(f.write(a, at, Bytes(content).subspan(at, std::min(page, bytes - at)), Stable::file_sync));
  ASSERT_TRUE(clone(a, a, 0, to));
  EXPECT_EQ(f.load(a).size, to + bytes);
  ByteVector whole = content;
  whole.resize(to);
  whole.insert(whole.end(), content.begin(), content.end());
  EXPECT_EQ(*f.read(a, 0, 100 * page), whole);
  f.verify();
}

TEST_P(Cloning, HolesAreCloned) {
  const InodeId a = f.new_file(), b = make(40 * page, 2);
  ASSERT_TRUE(f.write(a, 30 * page, pattern(page, 1), Stable::file_sync));
  forget();
  ASSERT_TRUE(clone(a, b));
  const ByteVector content = *f.read(b, 0, 31 * page);
  EXPECT_EQ(ByteVector(content.begin(), content.begin() + 30 * page), ByteVector(30 * page));
  EXPECT_EQ(f.load(b).blocks, 10U);
  f.checkpoint();
  f.verify();
}

TEST_P(Cloning, PunchedHolesGiveBlocksBack) {
  const InodeId a = make(200 * page, 1), b = f.new_file();
  forget();
  ASSERT_TRUE(clone(a, b));
  const uint64_t before = free_blocks();
  ASSERT_TRUE(punch(a, page / 2, 150 * page));
  forget();
  f.verify();
  EXPECT_LE(free_blocks(), before);
  EXPECT_EQ(f.load(a).blocks, 51U);
  EXPECT_EQ(*f.read(b, 0, 200 * page), pattern(200 * page, 1));
  ASSERT_TRUE(punch(b, 0, 200 * page));
  EXPECT_EQ(f.load(b).blocks, 0U);
  EXPECT_EQ(*f.read(b, 0, 200 * page), ByteVector(200 * page));
  f.checkpoint();
  f.checkpoint();
  f.verify();
  EXPECT_GE(free_blocks(), before + 149);
}

INSTANTIATE_TEST_SUITE_P(NeedsIo, Cloning, ::testing::Values(0U, 100U));

}  // namespace
}  // namespace perdure::fs
