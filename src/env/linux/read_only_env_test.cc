#include "env/linux/read_only_env.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "base/page.h"
#include "env/linux/linux_env.h"

namespace perdure::env {
namespace {

struct ReadOnlyEnvTest : ::testing::Test {
  std::filesystem::path directory;
  ReadOnlyEnv env;

  ReadOnlyEnvTest() {
    std::string name = ::testing::TempDir() + "perdure-read-only-XXXXXX";
    CHECK(::mkdtemp(name.data()) != nullptr);
    directory = name;
    std::ofstream(path()) << std::string(3 * size_t{block_bytes}, 'f');
  }
  ~ReadOnlyEnvTest() override { std::filesystem::remove_all(directory); }

  std::string path() const { return directory / "f"; }
  template <class Call>
  Result<void> wait(Call call) {
    std::optional<Result<void>> result;
    call([&](Result<void> r) { result = std::move(r); });
    EXPECT_FALSE(result.has_value());
    env.run();
    return *std::move(result);
  }
  // The first character of each block.
  std::string read(File& file, uint64_t first, size_t count) {
    std::vector<PageRef> pages(count);
    std::vector<MutableBytes> into;
    for (PageRef& page : pages) into.push_back((page = make_page()).mutable_bytes());
    const auto done = wait([&](auto d) { file.read(first * block_bytes, into, std::move(d)); });
    if (!done) return done.error().message;
    std::string text;
    for (const PageRef& page : pages) text += static_cast<char>(page.bytes()[0]);
    return text;
  }
};

TEST_F(ReadOnlyEnvTest, WhatIsWrittenStaysInMemory) {
  {
    const auto file = *env.open(path(), true);
    EXPECT_EQ(file->size(), 3U * block_bytes);
    PageRef page = make_page();
    std::ranges::fill(page.mutable_bytes(), std::byte{'w'});
    const Bytes from = page.bytes();
    EXPECT_TRUE(
        wait([&](auto d) { file->write(block_bytes, {&from, 1}, File::Write::durable, std::move(d)); }));
    EXPECT_TRUE(wait([&](auto d) { file->flush(std::move(d)); }));
    EXPECT_EQ(read(*file, 0, 3), "fwf");
    EXPECT_EQ(read(*file, 1, 1), "w");
    EXPECT_FALSE(wait([&](auto d) { file->grow(size_t{1} << 20U, File::Fill::reserved, std::move(d)); }));
  }
  EXPECT_EQ(read(**env.open(path(), false), 0, 3), "fff");
}

TEST_F(ReadOnlyEnvTest, NothingIsMade) {
  const auto none = env.open(directory / "none", true);
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().kind, ErrorKind::not_found);
  EXPECT_FALSE(std::filesystem::exists(directory / "none"));
}

TEST_F(ReadOnlyEnvTest, AServerAndAReaderKeepEachOtherAway) {
  const auto server = *LinuxEnv::create();
  {
    const auto served = *server->open(path(), false);
    const auto busy = env.open(path(), false);
    ASSERT_FALSE(busy);
    EXPECT_EQ(busy.error().kind, ErrorKind::busy);
  }
  const auto reader = *env.open(path(), false);
  const auto second = env.open(path(), false);
  EXPECT_TRUE(second) << "readers do not disturb each other";
}

TEST_F(ReadOnlyEnvTest, TasksRunInTheirOrder) {
  std::string order;
  env.post([&] {
    order += 'a';
    env.post([&] { order += 'c'; });
  });
  env.offload([&] { order += 'b'; }, [&] { order += 'B'; });
  EXPECT_EQ(order, "");
  env.run();
  EXPECT_EQ(order, "abBc");
}

}  // namespace
}  // namespace perdure::env
