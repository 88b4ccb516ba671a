#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <optional>
#include <set>

#include "base/crc32c.h"
#include "env/linux/linux_env.h"
#include "env/testing/test_env.h"
#include "store/block_store.h"

namespace perdure::store {
namespace {

constexpr uint64_t mib = 1U << 20U;
constexpr uint64_t one_block = block_bytes;

// A page whose content tells its number.
PageRef numbered_page(uint64_t number) {
  PageRef page = make_page();
  std::memset(page.mutable_bytes().data(), static_cast<int>(number % 251), block_bytes);
  std::memcpy(page.mutable_bytes().data(), &number, sizeof number);
  return page;
}
std::vector<PageRef> numbered_pages(uint64_t first, size_t count) {
  std::vector<PageRef> pages(count);
  for (PageRef& page : pages) page = numbered_page(first++);
  return pages;
}
// The number that numbered_page() put there; 0 for zeros; none if it is neither.
std::optional<uint64_t> number_of(Bytes page) {
  uint64_t number = 0;
  std::memcpy(&number, page.data(), sizeof number);
  for (const std::byte b : page.subspan(sizeof number)) {
    if (b != std::byte(number % 251)) return std::nullopt;
  }
  return number;
}

struct BlockFileTest : ::testing::Test {
  env::TestEnv env;
  std::unique_ptr<BlockStore> store;
  BlockStoreOptions options{.bytes_max = 64 * one_block, .step_bytes = 16 * one_block, .keep_free_bytes = 0};

  template <class T, class Call>
  Result<T> wait(Call call) {
    std::optional<Result<T>> result;
    call([&](Result<T> r) { result = std::move(r); });
    EXPECT_FALSE(result.has_value());
    env.run_until_idle();
    return *std::move(result);
  }
  Result<void> open() {
    store.reset();
    auto opened = wait<std::unique_ptr<BlockStore>>(
        [&](auto done) { open_block_file(env, "b", options, std::move(done)); });
    if (!opened) return std::move(opened).error();
    store = *std::move(opened);
    return {};
  }
  Result<void> write(uint64_t first, const std::vector<PageRef>& pages) {
    return wait<void>([&](auto done) { store->write(BlockNo(first), pages, std::move(done)); });
  }
  Result<void> read(uint64_t first, std::vector<PageRef>& pages) {
    return wait<void>([&](auto done) { store->read(BlockNo(first), pages, std::move(done)); });
  }
  Result<void> flush() {
    return wait<void>([&](auto done) { store->flush(std::move(done)); });
  }
  Result<void> grow() {
    return wait<void>([&](auto done) { store->grow(std::move(done)); });
  }
  std::optional<uint64_t> number_at(uint64_t block) {
    std::vector<PageRef> page(1);
    return read(block, page) ? number_of(page[0].bytes()) : std::nullopt;
  }
};

TEST_F(BlockFileTest, ANewStoreHasOneStepOfZeros) {
  ASSERT_TRUE(open());
  EXPECT_EQ(store->capacity(), 16U);
  EXPECT_EQ(store->capacity_max(), 64U);
  for (uint64_t block = 1; block < 16; ++block) EXPECT_EQ(number_at(block), 0U);
}

// Of which a power cut has kept only the beginning.
TEST_F(BlockFileTest, ATornHeaderIsNone) {
  for (uint64_t kept = 512; kept < block_bytes; kept += 512) {
    ASSERT_TRUE(open());
    store.reset();
    env.overwrite("b", kept, ByteVector(block_bytes - kept));
    ASSERT_TRUE(open()) << kept;
    store.reset();
    ASSERT_TRUE(open()) << "it was written again";
  }
}

// Now and then it reads as another block, which is zeros: that is not a store that has yet to be created.
TEST_F(BlockFileTest, AHeaderThatIsMisreadOnceIsNotWrittenAnew) {
  ASSERT_TRUE(open());
  ByteVector before(block_bytes), after(block_bytes);
  env.read("b", 0, before);
  for (int i = 0; i < 50; ++i) {
    bool once = true;
    env.set_misread([&once](const std::string&) { return std::exchange(once, false); });
    const Result<void> opened = open();
    EXPECT_FALSE(once);
    if (!opened) {
      EXPECT_EQ(opened.error().kind, ErrorKind::corrupt);
    }
    env.set_misread({});
    env.read("b", 0, after);
    ASSERT_EQ(after, before);
  }
}

TEST_F(BlockFileTest, BlocksAreReadBackAfterReopening) {
  ASSERT_TRUE(open());
  ASSERT_TRUE(write(1, numbered_pages(100, 3)));
  ASSERT_TRUE(write(15, numbered_pages(200, 1)));
  ASSERT_TRUE(flush());
  store.reset();
  env.crash();
  ASSERT_TRUE(open());
  EXPECT_EQ(store->capacity(), 16U);
  EXPECT_EQ(number_at(1), 100U);
  EXPECT_EQ(number_at(3), 102U);
  EXPECT_EQ(number_at(4), 0U);
  EXPECT_EQ(number_at(15), 200U);
}

TEST_F(BlockFileTest, AReadReplacesThePagesOnlyWhenItSucceeds) {
  ASSERT_TRUE(open());
  const PageRef before = numbered_page(7);
  std::vector<PageRef> pages{before, before};
  env.make_unreadable("b", 4 * one_block, block_bytes);
  EXPECT_EQ(read(3, pages).error().kind, ErrorKind::io);
  EXPECT_TRUE(pages[0] == before && pages[1] == before);
  ASSERT_TRUE(read(1, pages));
  EXPECT_FALSE(pages[0] == before);
}

TEST_F(BlockFileTest, AWriteKeepsItsPages) {
  ASSERT_TRUE(open());
  const size_t in_use = pages_in_use();
  bool done = false;
  store->write(BlockNo(2), numbered_pages(50, 5), [&](const Result<void>& r) { done = r.has_value(); });
  EXPECT_EQ(pages_in_use(), in_use + 5);
  env.run_until_idle();
  EXPECT_TRUE(done);
  EXPECT_EQ(pages_in_use(), in_use);
  EXPECT_EQ(number_at(6), 54U);
}

TEST_F(BlockFileTest, BlocksOutsideTheStoreAreRefused) {
  ASSERT_TRUE(open());
  std::vector<PageRef> pages(2);
  EXPECT_EQ(read(15, pages).error().kind, ErrorKind::invalid);
  EXPECT_EQ(read(16, pages).error().kind, ErrorKind::invalid);
  EXPECT_EQ(read(UINT64_MAX, pages).error().kind, ErrorKind::invalid);
  EXPECT_EQ(write(15, numbered_pages(1, 2)).error().kind, ErrorKind::invalid);
  EXPECT_EQ(number_at(15), 0U);
}

TEST_F(BlockFileTest, GrowsByStepsUpToItsLimit) {
  options.bytes_max = 40 * one_block + 100;
  ASSERT_TRUE(open());
  ASSERT_TRUE(write(15, numbered_pages(9, 1)));
  ASSERT_TRUE(grow());
  EXPECT_EQ(store->capacity(), 32U);
  EXPECT_EQ(number_at(15), 9U);
  EXPECT_EQ(number_at(31), 0U);
  ASSERT_TRUE(grow());
  EXPECT_EQ(store->capacity(), 40U);
  EXPECT_EQ(store->capacity_max(), 40U);
  const Result<void> full = grow();
  ASSERT_FALSE(full);
  EXPECT_EQ(full.error().kind, ErrorKind::no_space);
  EXPECT_EQ(store->capacity(), 40U);
}

TEST_F(BlockFileTest, CallsDuringAGrowthShareIt) {
  ASSERT_TRUE(open());
  int grown = 0;
  for (int i = 0; i < 3; ++i) store->grow([&](const Result<void>& r) { grown += r ? 1 : 0; });
  EXPECT_EQ(store->capacity(), 16U);
  env.run_until_idle();
  EXPECT_EQ(grown, 3);
  EXPECT_EQ(store->capacity(), 32U);
}

TEST_F(BlockFileTest, AFullFileSystemBeneathIsNoSpaceAndPasses) {
  env.set_space(24 * one_block);
  ASSERT_TRUE(open());
  EXPECT_EQ(store->capacity_max(), 24U);
  EXPECT_EQ(grow().error().kind, ErrorKind::no_space);
  EXPECT_EQ(store->capacity(), 16U);
  ASSERT_TRUE(write(3, numbered_pages(5, 1)));
  env.set_space(64 * one_block);
  ASSERT_TRUE(grow());
  EXPECT_EQ(store->capacity(), 32U);
  env.advance(std::chrono::seconds(2));  // the figure may be a second old
  EXPECT_EQ(store->capacity_max(), 64U);
}

TEST_F(BlockFileTest, AfterAFailedFlushNothingIsWrittenAnyMore) {
  ASSERT_TRUE(open());
  ASSERT_TRUE(write(1, numbered_pages(1, 1)));
  env.inject({.path = "b", .kind = env::IoKind::flush});
  EXPECT_EQ(flush().error().kind, ErrorKind::io);
  EXPECT_EQ(flush().error().kind, ErrorKind::stopped);
  EXPECT_EQ(write(2, numbered_pages(2, 1)).error().kind, ErrorKind::stopped);
  EXPECT_EQ(number_at(1), 1U);
}

TEST_F(BlockFileTest, AFailedWriteIsReportedAndTheNextIsGood) {
  ASSERT_TRUE(open());
  env.inject({.path = "b", .kind = env::IoKind::write});
  EXPECT_EQ(write(1, numbered_pages(1, 3)).error().kind, ErrorKind::io);
  ASSERT_TRUE(write(1, numbered_pages(5, 3)));
  ASSERT_TRUE(flush());
  EXPECT_EQ(number_at(3), 7U);
}

// Stops the machine at every I/O of the creation: the next opening makes the store, or finds it.
TEST_F(BlockFileTest, ACreationCutShortIsDoneAgain) {
  ASSERT_TRUE(open());
  const uint64_t count = env.io_count();
  ASSERT_GE(count, 2U);
  for (uint64_t n = 0; n < count; ++n) {
    store.reset();
    env.crash();
    env.remove("b");
    env.stall_io_after(n);
    open_block_file(env, "b", options, [](const Result<std::unique_ptr<BlockStore>>&) { FAIL(); });
    env.run_until_idle();
    env.crash();
    ASSERT_TRUE(open()) << n;
    EXPECT_GE(store->capacity(), 2U);
    ASSERT_TRUE(write(1, numbered_pages(33, 1)));
    EXPECT_EQ(number_at(1), 33U);
  }
}

TEST_F(BlockFileTest, HeadersThatAreNotOursAreRefused) {
  ASSERT_TRUE(open());
  store.reset();
  const ByteVector header = [&] {
    ByteVector all = env.content("b");
    all.resize(block_bytes);
    return all;
  }();
  // The layout of docs/formats/blocks.md.
  EXPECT_EQ(text_of(Bytes(header).first(8)), "PERDBLKS");
  Decoder decoder(Bytes(header).subspan(8));
  EXPECT_EQ(decoder.get<uint32_t>(), 1U);
  EXPECT_EQ(decoder.get<uint32_t>(), 4096U);
  EXPECT_EQ(Decoder(Bytes(header).last(4)).get<uint32_t>(), crc32c(Bytes(header).first(4092)));

  for (const size_t at : {size_t{0}, size_t{8}, size_t{12}, size_t{20}, size_t{2000}, size_t{4095}}) {
    ByteVector damaged = header;
    damaged[at] ^= std::byte{4};
    env.overwrite("b", 0, damaged);
    EXPECT_EQ(open().error().kind, ErrorKind::corrupt) << at;
  }
  for (const size_t at : {size_t{8}, size_t{12}}) {
    ByteVector newer = header;
    newer[at] ^= std::byte{2};
    const uint32_t crc = crc32c(Bytes(newer).first(4092));
    std::memcpy(newer.data() + 4092, &crc, sizeof crc);
    env.overwrite("b", 0, newer);
    EXPECT_EQ(open().error().kind, ErrorKind::unsupported) << at;
  }
  env.overwrite("b", 0, header);
  EXPECT_TRUE(open());
}

TEST_F(BlockFileTest, OpeningReportsFailures) {
  ASSERT_TRUE(open());
  auto second = wait<std::unique_ptr<BlockStore>>(
      [&](auto done) { open_block_file(env, "b", options, std::move(done)); });
  EXPECT_EQ(second.error().kind, ErrorKind::busy);
  store.reset();
  env.inject({.path = "b", .kind = env::IoKind::read});
  EXPECT_EQ(open().error().kind, ErrorKind::io);
  EXPECT_TRUE(open());
  store.reset();
  env.remove("b");
  env.inject({.path = "b", .kind = env::IoKind::grow, .error = ErrorKind::no_space});
  EXPECT_EQ(open().error().kind, ErrorKind::no_space);
}

// The power fails after random writes and flushes: flushed blocks are there, the others old, new or torn.
TEST_F(BlockFileTest, FlushedBlocksSurviveAPowerCut) {
  for (uint64_t round = 0; round < 50; ++round) {
    ASSERT_TRUE(open());
    std::vector<std::set<uint64_t>> possible(16);
    for (uint64_t block = 1; block < 16; ++block) {
      const std::optional<uint64_t> now = number_at(block);
      ASSERT_TRUE(write(block, {numbered_page(now.value_or(0))}));
      possible[block] = {now.value_or(0)};
    }
    ASSERT_TRUE(flush());
    for (uint64_t i = 0; i < 30; ++i) {
      const uint64_t block = 1 + env.random() % 15, number = 1000 * (round + 1) + i;
      if (env.random() % 4 == 0) {
        ASSERT_TRUE(flush());
        for (uint64_t b = 1; b < 16; ++b) possible[b] = {*number_at(b)};
      }
      ASSERT_TRUE(write(block, {numbered_page(number)}));
      possible[block].insert(number);
    }
    env.crash();
    ASSERT_TRUE(open());
    for (uint64_t block = 1; block < 16; ++block) {
      const std::optional<uint64_t> found = number_at(block);
      if (possible[block].size() == 1) {
        EXPECT_EQ(found, *possible[block].begin());
      } else {
        EXPECT_TRUE(!found || possible[block].contains(*found));
      }
    }
  }
}

// On a real file system.
struct RealBlockFileTest : ::testing::Test {
  std::filesystem::path directory;
  std::unique_ptr<env::LinuxEnv> env = *env::LinuxEnv::create();

  RealBlockFileTest() {
    std::string name = ::testing::TempDir() + "perdure-blocks-XXXXXX";
    CHECK(::mkdtemp(name.data()) != nullptr);
    directory = name;
  }
  ~RealBlockFileTest() override { std::filesystem::remove_all(directory); }

  template <class T, class Call>
  Result<T> wait(Call call) {
    std::optional<Result<T>> result;
    call([&](Result<T> r) {
      result = std::move(r);
      env->stop();
    });
    env->run();
    return *std::move(result);
  }
  Result<std::unique_ptr<BlockStore>> open(const BlockStoreOptions& options) {
    return wait<std::unique_ptr<BlockStore>>(
        [&](auto done) { open_block_file(*env, directory / "b", options, std::move(done)); });
  }
};

TEST_F(RealBlockFileTest, ManyBlocksInOneCallAreReadBackAfterReopening) {
  const BlockStoreOptions options{.step_bytes = 12 * mib, .keep_free_bytes = mib};
  constexpr size_t count = 2500;
  {
    const auto store = *open(options);
    EXPECT_EQ(store->capacity(), 3072U);
    EXPECT_GT(store->capacity_max(), 3072U);
    ASSERT_TRUE(
        wait<void>([&](auto done) { store->write(BlockNo(1), numbered_pages(1, count), std::move(done)); }));
    ASSERT_TRUE(wait<void>([&](auto done) { store->flush(std::move(done)); }));
    ASSERT_TRUE(wait<void>([&](auto done) { store->grow(std::move(done)); }));
    EXPECT_EQ(store->capacity(), 6144U);
  }
  const auto store = *open(options);
  EXPECT_EQ(store->capacity(), 6144U);
  std::vector<PageRef> pages(count + 1);
  ASSERT_TRUE(wait<void>([&](auto done) { store->read(BlockNo(1), pages, std::move(done)); }));
  for (size_t i = 0; i <= count; ++i) EXPECT_EQ(number_of(pages[i].bytes()), i < count ? i + 1 : 0);
}

TEST_F(RealBlockFileTest, LeavesFreeWhatItIsToldTo) {
  {
    const auto store = *open({.step_bytes = mib, .keep_free_bytes = mib});
    EXPECT_EQ(store->capacity(), 256U);
  }
  const auto store = *open({.step_bytes = mib, .keep_free_bytes = uint64_t{1} << 60U});
  EXPECT_EQ(store->capacity_max(), 256U);
  const auto grown = wait<void>([&](auto done) { store->grow(std::move(done)); });
  EXPECT_EQ(grown.error().kind, ErrorKind::no_space);
  std::filesystem::remove(directory / "b");
  EXPECT_EQ(open({.keep_free_bytes = uint64_t{1} << 60U}).error().kind, ErrorKind::no_space);
}

}  // namespace
}  // namespace perdure::store
