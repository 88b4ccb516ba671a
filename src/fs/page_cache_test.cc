#include "fs/page_cache.h"

#include <gtest/gtest.h>

namespace perdure::fs {
namespace {

TEST(PageCache, WhatAFaultedRunNeedsStaysWhateverComesBesideIt) {
  PageCache cache;
  cache.insert(BlockNo(160), make_page(), 10);
  cache.insert(BlockNo(164), make_page(), 5);
  cache.trim(0, 10);
  EXPECT_TRUE(cache.contains(BlockNo(160)));
  cache.trim(0, 11);
  EXPECT_FALSE(cache.contains(BlockNo(160)));
  EXPECT_EQ(cache.bytes(), 0U);
}

TEST(PageCache, WhatWasFoundStaysForOneMoreRound) {
  PageCache cache;
  for (uint64_t block = 0; block < 100; ++block) cache.insert(BlockNo(block), make_page(), 1);
  ASSERT_NE(cache.find(BlockNo(7), 2), nullptr);
  EXPECT_EQ(cache.find(BlockNo(100), 2), nullptr);
  cache.trim(block_bytes, 3);
  EXPECT_EQ(cache.bytes(), block_bytes);
  EXPECT_TRUE(cache.contains(BlockNo(7)));
  cache.drop(BlockNo(0), 50);
  EXPECT_EQ(cache.bytes(), 0U);
}

}  // namespace
}  // namespace perdure::fs
