// The limits: file offsets up to 2^63 - 1, and memory.
#include <gtest/gtest.h>

#include <random>

#include "fs/read.h"
#include "fs/testing/data_fixture.h"
#include "fs/truncate.h"

namespace perdure::fs {
namespace {

using testing::DataFixture;
using testing::DataFixtureOptions;
using testing::page;
using testing::pattern;

// Islands in a file that is as large as can be, written in each of the three ways.
class SparseFile : public ::testing::TestWithParam<std::tuple<Stable, uint64_t>> {
 protected:
  static DataFixtureOptions options() {
    DataFixtureOptions o;
    o.needs_io_percent = 50;
    return o;
  }
  const Stable stable = std::get<0>(GetParam());
  const uint64_t length = std::get<1>(GetParam());
  DataFixture f{options()};
  const InodeId id = f.new_file();
  const std::vector<uint64_t> islands{5,
                                      uint64_t{1} << 32U,
                                      (uint64_t{1} << 44U) - 100,
                                      (uint64_t{1} << 50U) + 1,
                                      uint64_t{1} << 62U,
                                      file_bytes_max - length};

  void expect_islands(size_t count) {
    for (size_t i = 0; i < count; ++i) {
      EXPECT_TRUE(*f.read(id, islands[i], length) == pattern(length, i)) << i;
      EXPECT_EQ(*f.read(id, islands[i] - 5, 5), ByteVector(5)) << i;
      const uint64_t end = islands[i] + length, size = f.load(id).size;
      EXPECT_TRUE(*f.read(id, end, 20 * page) == ByteVector(end < size ? std::min(20 * page, size - end) : 0))
          << i;
    }
  }
};

TEST_P(SparseFile, IsReadTruncatedAndRestored) {
  uint64_t blocks = 0;
  for (size_t i = 0; i < islands.size(); ++i) {
    ASSERT_TRUE(f.write(id, islands[i], pattern(length, i), stable));
    blocks += (islands[i] + length - 1) / page - islands[i] / page + 1;
    ASSERT_TRUE(f.commit(id, islands[i], length));
  }
  EXPECT_EQ(f.load(id).size, file_bytes_max);
  EXPECT_EQ(f.load(id).blocks, blocks);
  expect_islands(islands.size());
  f.settle();
  f.crash();
  expect_islands(islands.size());
  f.write_back();
  f.checkpoint();
  f.evict();
  expect_islands(islands.size());
  f.verify();
  EXPECT_EQ(f.load(id).blocks, blocks);

  for (size_t left = islands.size() - 1; left > 0; --left) {
    ASSERT_TRUE(f.truncate(id, islands[left]));
    ASSERT_TRUE(f.truncate(id, file_bytes_max));
    EXPECT_EQ(*f.read(id, islands[left], 20 * page),
              ByteVector(std::min(20 * page, file_bytes_max - islands[left])));
    expect_islands(left);
    f.settle();
    f.verify();
  }
  f.evict();
  expect_islands(1);
}

INSTANTIATE_TEST_SUITE_P(EachWay, SparseFile,
                         ::testing::Combine(::testing::Values(Stable::unstable, Stable::file_sync),
                                            ::testing::Values(10, 5000, 40 * page + 7)));

// Many clients write as much as they can, in every way.
TEST(Memory, HasItsLimitsWhateverClientsDo) {
  DataFixtureOptions options;
  options.blocks = options.blocks_max = 8192;
  options.data.dirty_bytes_max = 64 * page;
  options.data.dirty_bytes_low = 32 * page;
  options.data.page_row_bytes_max = 64 * page;
  options.data.page_row_bytes_low = 32 * page;
  options.data.memory_bytes = 32 * page;
  options.data.record_bytes_max = 4 * page;
  options.data.record_blocks_max = 4;
  options.data.commit_blocks = 16;
  options.data.write_back_blocks = 16;
  options.data.read_ahead_bytes_max = 8 * page;
  DataFixture f(options);
  f.env().set_io_shuffled(true);
  std::mt19937_64 random(1);
  const auto draw = [&](uint64_t n) { return std::uniform_int_distribution<uint64_t>(0, n - 1)(random); };
  std::vector<InodeId> files;
  for (int i = 0; i < 8; ++i) files.push_back(f.new_file());
  const auto bytes = std::make_shared<ByteVector>(pattern(16 * page, 1));
  uint64_t under_way = 0, ended = 0, cache_max = 0;
  const auto end = [&](const auto& outcome, Lsn) {
    EXPECT_TRUE(outcome);
    --under_way;
    ++ended;
  };
  for (int i = 0; i < 3000; ++i) {
    const InodeId id = files[draw(files.size())];
    const uint64_t offset = draw(500 * page), length = 1 + draw(draw(2) == 0 ? 16 * page : 3 * page);
    ++under_way;
    switch (draw(4)) {
      case 0:
      case 1:
        f.spawn(
            WriteRegisters{},
            [&f, id, offset, length, bytes, stable = draw(2) == 0](state::Run& run, WriteRegisters& r) {
              return fs::write(f.fs(), run, Principal{.uid = 0, .gid = 0, .groups = {}}, id, offset,
                               Bytes(*bytes).first(length), stable ? Stable::file_sync : Stable::unstable, r);
            },
            end);
        break;
      case 2:
        f.spawn(
            CommitRegisters{},
            [&f, id](state::Run& run, CommitRegisters& r) { return fs::commit(f.fs(), run, id, 0, 0, r); },
            end);
        break;
      case 3:
        f.spawn(
            0,
            [&f, id, offset, length](state::Run& run, int&) -> Outcome<int> {
              const InodeRow inode = TRY(f.fs().load(run, id));
              return static_cast<int>(TRY(read(f.fs(), run, id, inode, offset, length)).length);
            },
            end);
        break;
    }
    while (under_way > 30) {
      ASSERT_TRUE(f.step());
      f.data().trim_memory(f.oldest_fault());
      cache_max = std::max(cache_max, f.data().cache.bytes());
      ASSERT_LE(f.data().dirty_bytes(), options.data.dirty_bytes_max);
      // The partial blocks at the ends of big writes are not counted in advance, nor is what is written to
      // while a COMMIT places it.
      ASSERT_LE(f.data().page_row_bytes(), options.data.page_row_bytes_max + 64 * page);
    }
  }
  f.settle();
  EXPECT_EQ(ended, 3000U);
  // What transactions under way need stays.
  EXPECT_LE(cache_max, options.data.memory_bytes + 31 * 18 * page);
  f.verify();
}

}  // namespace
}  // namespace perdure::fs
