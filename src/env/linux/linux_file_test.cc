#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>

#include "base/ids.h"
#include "base/page.h"
#include "env/linux/linux_env.h"

namespace perdure::env {
namespace {

struct LinuxFileTest : ::testing::Test {
  std::filesystem::path directory;
  std::unique_ptr<LinuxEnv> env = *LinuxEnv::create();
  std::unique_ptr<File> file;

  LinuxFileTest() {
    std::string name = ::testing::TempDir() + "perdure-file-XXXXXX";
    CHECK(::mkdtemp(name.data()) != nullptr);
    directory = name;
  }
  ~LinuxFileTest() override {
    file.reset();
    std::filesystem::remove_all(directory);
  }

  std::string path() const { return directory / "f"; }
  void open() { file = *env->open(path(), true); }
  // Makes the call and runs the loop until it has ended.
  template <class Call>
  Result<void> wait(Call call) {
    std::optional<Result<void>> result;
    call([&](Result<void> r) {
      result = std::move(r);
      env->stop();
    });
    EXPECT_FALSE(result.has_value());
    env->run();
    return *std::move(result);
  }
  Result<void> grow(uint64_t size, File::Fill fill = File::Fill::zeroed) {
    return wait([&](auto done) { file->grow(size, fill, std::move(done)); });
  }
  Result<void> write(uint64_t offset, const std::vector<PageRef>& pages,
                     File::Write mode = File::Write::cached) {
    std::vector<Bytes> pieces;
    pieces.reserve(pages.size());
    for (const PageRef& page : pages) pieces.push_back(page.bytes());
    return wait([&](auto done) { file->write(offset, pieces, mode, std::move(done)); });
  }
  Result<void> read(uint64_t offset, std::vector<PageRef>& pages) {
    std::vector<MutableBytes> pieces;
    pieces.reserve(pages.size());
    for (PageRef& page : pages) {
      page = make_page();
      pieces.push_back(page.mutable_bytes());
    }
    return wait([&](auto done) { file->read(offset, pieces, std::move(done)); });
  }
  static std::vector<PageRef> pages(size_t count, uint64_t first) {
    std::vector<PageRef> made(count);
    for (PageRef& page : made) {
      page = make_page();
      std::memset(page.mutable_bytes().data(), static_cast<int>(first % 251), block_bytes);
      std::memcpy(page.mutable_bytes().data(), &first, sizeof first);
      ++first;
    }
    return made;
  }
  static bool equal(const std::vector<PageRef>& a, const std::vector<PageRef>& b) {
    return std::ranges::equal(a, b, [](const PageRef& x, const PageRef& y) {
      return std::memcmp(x.bytes().data(), y.bytes().data(), block_bytes) == 0;
    });
  }
};

TEST_F(LinuxFileTest, OpenReportsWhatIsWrong) {
  EXPECT_EQ(env->open(path(), false).error().kind, ErrorKind::not_found);
  EXPECT_EQ(env->open(directory / "no" / "f", true).error().kind, ErrorKind::not_found);
  EXPECT_EQ(env->open(directory, false).error().kind, ErrorKind::io);
  EXPECT_EQ(env->open("/dev/null", false).error().kind, ErrorKind::invalid);
  open();
  const auto second = env->open(path(), false);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().kind, ErrorKind::busy);
  EXPECT_NE(second.error().message.find(path()), std::string::npos);
  file.reset();
  EXPECT_TRUE(env->open(path(), false));
}

TEST_F(LinuxFileTest, GrowMakesZerosAndWritesAreReadBackAfterReopening) {
  for (const File::Fill fill : {File::Fill::zeroed, File::Fill::reserved}) {
    open();
    EXPECT_EQ(file->size(), 0U);
    ASSERT_TRUE(grow(5 << 19U, fill));  // two and a half pieces
    EXPECT_EQ(file->size(), 5U << 19U);
    EXPECT_EQ(std::filesystem::file_size(path()), 5U << 19U);
    struct stat status{};
    ASSERT_EQ(::stat(path().c_str(), &status), 0);
    EXPECT_GE(static_cast<uint64_t>(status.st_blocks) * 512, file->size());
    std::vector<PageRef> zero(640), got(640);
    for (PageRef& page : zero) page = zero_page();
    ASSERT_TRUE(read(0, got));
    EXPECT_TRUE(equal(zero, got));

    ASSERT_TRUE(write(8192, pages(3, 100), File::Write::durable));
    ASSERT_TRUE(write(20480, pages(2, 200)));
    ASSERT_TRUE(wait([&](auto done) { file->flush(std::move(done)); }));
    file.reset();
    open();
    EXPECT_EQ(file->size(), 5U << 19U);
    got.resize(3);
    ASSERT_TRUE(read(8192, got));
    EXPECT_TRUE(equal(got, pages(3, 100)));
    got.resize(2);
    ASSERT_TRUE(read(20480, got));
    EXPECT_TRUE(equal(got, pages(2, 200)));
    ASSERT_TRUE(grow(3 << 20U, fill));
    ASSERT_TRUE(read(20480, got));
    EXPECT_TRUE(equal(got, pages(2, 200)));
    file.reset();
    std::filesystem::remove(path());
  }
}

TEST_F(LinuxFileTest, MorePiecesThanTheKernelTakes) {
  open();
  ASSERT_TRUE(grow(16 << 20U));
  const std::vector<PageRef> many = pages(3000, 7);
  ASSERT_TRUE(write(4096, many, File::Write::durable));
  std::vector<PageRef> got(3000);
  ASSERT_TRUE(read(4096, got));
  EXPECT_TRUE(equal(many, got));
}

// More requests at once than the ring has entries, then than the kernel may hold.
TEST_F(LinuxFileTest, MoreRequestsThanTheRingHasRoomFor) {
  open();
  constexpr size_t count = 3000;
  ASSERT_TRUE(grow(count * block_bytes));
  const std::vector<PageRef> data = pages(count, 1);
  std::vector<PageRef> got = pages(count, 0);
  for (const bool writing : {true, false}) {
    size_t done = 0;
    auto each = [&](Result<void> r) {
      EXPECT_TRUE(r);
      if (++done == count) env->stop();
    };
    for (size_t i = 0; i < count; ++i) {
      const Bytes from = data[i].bytes();
      const MutableBytes into = got[i].mutable_bytes();
      if (writing)
        file->write(i * block_bytes, std::span(&from, 1), File::Write::cached, each);
      else
        file->read(i * block_bytes, std::span(&into, 1), each);
    }
    env->run();
    EXPECT_EQ(done, count);
  }
  EXPECT_TRUE(equal(data, got));
}

TEST_F(LinuxFileTest, OutsideTheFileIsAnErrorAndNothingIsFine) {
  open();
  ASSERT_TRUE(grow(8192));
  std::vector<PageRef> got(2);
  EXPECT_EQ(read(4096, got).error().kind, ErrorKind::invalid);
  EXPECT_EQ(read(UINT64_MAX - 4095, got).error().kind, ErrorKind::invalid);
  EXPECT_EQ(write(8192, pages(1, 0)).error().kind, ErrorKind::invalid);
  EXPECT_EQ(std::filesystem::file_size(path()), 8192U);
  EXPECT_TRUE(write(4096, {}));
  EXPECT_TRUE(grow(8192));
}

// Somebody cuts the file: the read ends early, goes on, and finds nothing.
TEST_F(LinuxFileTest, AFileThatHasBecomeTooShortIsAnIoError) {
  open();
  ASSERT_TRUE(grow(1 << 20U));
  std::filesystem::resize_file(path(), 5000);
  std::vector<PageRef> got(4);
  const Result<void> failed = read(0, got);
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().kind, ErrorKind::io);
  EXPECT_NE(failed.error().message.find(path()), std::string::npos);
  got.resize(1);
  EXPECT_TRUE(read(0, got));
}

// The process may write no further than 12 KiB: the kernel cuts the write short there, then refuses the rest.
TEST_F(LinuxFileTest, AShortWriteIsContinuedAndItsFailureReported) {
  open();
  ASSERT_TRUE(grow(1 << 20U));
  ::signal(SIGXFSZ, SIG_IGN);
  rlimit unlimited{};
  ::getrlimit(RLIMIT_FSIZE, &unlimited);
  rlimit limited = unlimited;
  limited.rlim_cur = 12288;
  ::setrlimit(RLIMIT_FSIZE, &limited);
  const Result<void> failed = write(4096, pages(4, 50), File::Write::durable);
  const Result<void> no_growth = grow(4 << 20U);
  ::setrlimit(RLIMIT_FSIZE, &unlimited);
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().kind, ErrorKind::no_space);
  std::vector<PageRef> got(2);
  ASSERT_TRUE(read(4096, got));
  EXPECT_TRUE(equal(got, pages(2, 50)));

  // The growth found out late, and took back what it had reserved.
  ASSERT_FALSE(no_growth);
  EXPECT_EQ(no_growth.error().kind, ErrorKind::no_space);
  EXPECT_EQ(file->size(), 1U << 20U);
  struct stat status{};
  ASSERT_EQ(::stat(path().c_str(), &status), 0);
  EXPECT_EQ(status.st_size, 1 << 20U);
  EXPECT_LT(status.st_blocks * 512, 2 << 20U);
  EXPECT_TRUE(grow(2 << 20U));
}

TEST_F(LinuxFileTest, NoSpaceIsFoundBeforeAnythingIsTaken) {
  open();
  ASSERT_TRUE(grow(4096));
  EXPECT_EQ(grow(uint64_t{1} << 50U).error().kind, ErrorKind::no_space);
  EXPECT_EQ(std::filesystem::file_size(path()), 4096U);
  EXPECT_TRUE(grow(8192));
}

TEST_F(LinuxFileTest, DestroyingAFileWithRequestsUnderWayIsABug) {
  ::testing::FLAGS_gtest_death_test_style = "threadsafe";
  open();
  EXPECT_DEATH(
      {
        file->flush([](Result<void>) {});
        file.reset();
      },
      "under_way_");
}

TEST_F(LinuxFileTest, ACompletionMayDestroyItsFile) {
  open();
  file->flush([&](Result<void> r) {
    EXPECT_TRUE(r);
    file.reset();
    env->stop();
  });
  env->run();
  open();
  file->grow(8192, File::Fill::zeroed, [&](Result<void> r) {
    EXPECT_TRUE(r);
    file.reset();
    env->stop();
  });
  env->run();
  EXPECT_EQ(file, nullptr);
}

}  // namespace
}  // namespace perdure::env
