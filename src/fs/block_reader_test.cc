#include "fs/block_reader.h"

#include <gtest/gtest.h>

#include "env/testing/test_env.h"
#include "store/block_store.h"

namespace perdure::fs {
namespace {

const std::string blocks_path = "blocks";
constexpr uint32_t tick_now = 1;

PageRef page_of(std::byte content) {
  PageRef page = make_page();
  std::ranges::fill(page.mutable_bytes(), content);
  return page;
}

// A block on a disk, and damage to it.
struct DamagedBlock {
  DamagedBlock() {
    store::open_block_file(
        env, blocks_path, {.step_bytes = 1U << 20U, .keep_free_bytes = 0},
        [this](Result<std::unique_ptr<store::BlockStore>> opened) { blocks = std::move(*opened); });
    env.run_until_idle();
    CHECK(blocks != nullptr);
    const std::vector<PageRef> pages{good};
    blocks->write(block, pages, [](Result<void> written) { CHECK(written); });
    env.run_until_idle();
    reader.emplace(env, *blocks, cache, std::chrono::seconds(10));
  }
  void damage() {
    env.overwrite(blocks_path, block.value * block_bytes + 17, ByteVector(3, std::byte{0x55}));
  }
  // Reads it into the cache; false: it is bad.
  bool read() {
    const std::vector<WantedBlock> wanted{{block, good.crc()}};
    reader->read_ahead(wanted, tick_now);
    env.run_until_idle();
    return cache.contains(block);
  }
  void have_elsewhere(const PageRef& page) {
    reader->set_elsewhere([this, page](BlockNo asked, env::Done<PageRef> done) {
      EXPECT_EQ(asked, block);
      env.post([page, done = std::move(done)]() mutable { done(page); });
    });
  }

  env::TestEnv env{1};
  std::unique_ptr<store::BlockStore> blocks;
  const BlockNo block{5};
  const PageRef good = page_of(std::byte{7});
  PageCache cache;
  std::optional<BlockReader> reader;
};

TEST(BlockReader, ADamagedBlockIsBadWhereNobodyElseHasIt) {
  DamagedBlock d;
  EXPECT_TRUE(d.read());
  d.cache.drop(d.block, 1);
  d.damage();
  EXPECT_FALSE(d.read());
  EXPECT_EQ(d.reader->figures().bad, 1U);
}

TEST(BlockReader, ADamagedBlockIsMendedFromElsewhere) {
  DamagedBlock d;
  d.damage();
  d.have_elsewhere(page_of(std::byte{7}));
  EXPECT_TRUE(d.read());
  EXPECT_EQ(d.reader->figures().bad, 0U);
  EXPECT_EQ(d.reader->figures().mended, 1U);
  // And on the disk.
  d.reader->set_elsewhere(nullptr);
  d.cache.drop(d.block, 1);
  EXPECT_TRUE(d.read());
  EXPECT_EQ(d.reader->figures().mended, 1U);
}

TEST(BlockReader, WhatIsWrongElsewhereIsNotTaken) {
  DamagedBlock d;
  d.damage();
  d.have_elsewhere(page_of(std::byte{8}));
  EXPECT_FALSE(d.read());
  EXPECT_EQ(d.reader->figures().bad, 1U);
  EXPECT_EQ(d.reader->figures().mended, 0U);
}

TEST(BlockReader, ABlockThatCannotBeReadIsMendedToo) {
  DamagedBlock d;
  d.env.set_fault([](const std::string& path, env::IoKind kind) -> std::optional<ErrorKind> {
    if (path == blocks_path && kind == env::IoKind::read) return ErrorKind::io;
    return std::nullopt;
  });
  d.have_elsewhere(page_of(std::byte{7}));
  EXPECT_TRUE(d.read());
  EXPECT_EQ(d.reader->figures().mended, 1U);
}

}  // namespace
}  // namespace perdure::fs
