#include "fs/readdir.h"

#include <random>

#include "fs/testing/names_test_base.h"

namespace perdure::fs {
namespace {

using ::testing::Contains;
using testing::FsFixture;
using ::testing::IsEmpty;
using testing::Names;
using testing::status_of;
using ::testing::UnorderedElementsAre;

struct Listed {
  uint64_t cookie;
  std::string name;
  InodeId inode;
  FileType type;
};

// One READDIR of at most `max` entries.
Outcome<bool> read(FsFixture& fx, const Principal& who, InodeId directory, uint64_t after, size_t max,
                   std::vector<Listed>& into, Ahead ahead = Ahead::inodes) {
  return fx.run_to_end([&](auto& run) {
    into.clear();
    return readdir(fx.fs(), run, who, directory, after, ahead, max,
                   [&](const ListedEntry& entry) -> Outcome<bool> {
                     if (into.size() == max) return false;
                     if (ahead == Ahead::inodes) TRY(fx.fs().load(run, entry.inode));
                     into.push_back({entry.cookie, std::string(entry.name), entry.inode, entry.type});
                     return true;
                   });
  });
}

class ReaddirTest : public testing::NamesTest {
 protected:
  Status status(const Principal& who, InodeId directory, uint64_t after = 0) {
    std::vector<Listed> entries;
    return status_of(read(fx_, who, directory, after, 10, entries));
  }
};

TEST_P(ReaddirTest, gives_names_inodes_and_types) {
  const InodeId file = names_.file(root_, "f"), directory = names_.mkdir(root_, "d"),
                link = names_.symlink(root_, "l");
  std::vector<Listed> entries;
  EXPECT_TRUE(read(fx_, fx_.superuser(), root_, 0, 10, entries).value());
  std::map<std::string, std::pair<InodeId, FileType>> found;
  uint64_t before = 255;
  for (const Listed& entry : entries) {
    found[entry.name] = {entry.inode, entry.type};
    EXPECT_GT(entry.cookie, before);
    before = entry.cookie;
  }
  EXPECT_EQ(found.size(), 3U);
  EXPECT_EQ(found["f"], std::pair(file, FileType::regular));
  EXPECT_EQ(found["d"], std::pair(directory, FileType::directory));
  EXPECT_EQ(found["l"], std::pair(link, FileType::symlink));
}

TEST_P(ReaddirTest, empty_directory) {
  EXPECT_THAT(names_.list(names_.mkdir(root_, "d")), IsEmpty());
}

TEST_P(ReaddirTest, one_at_a_time) {
  for (const char* name : {"a", "b", "c", "d", "e"}) names_.file(root_, name);
  EXPECT_THAT(names_.list(root_, 1), UnorderedElementsAre("a", "b", "c", "d", "e"));
  EXPECT_EQ(names_.list(root_, 2), names_.list(root_, 1000));
}

TEST_P(ReaddirTest, end_is_told_only_when_all_fit) {
  names_.file(root_, "a");
  names_.file(root_, "b");
  std::vector<Listed> entries;
  EXPECT_FALSE(read(fx_, fx_.superuser(), root_, 0, 1, entries).value());
  const uint64_t first = entries.at(0).cookie;
  EXPECT_TRUE(read(fx_, fx_.superuser(), root_, first, 1, entries).value());
  const uint64_t last = entries.at(0).cookie;
  EXPECT_TRUE(read(fx_, fx_.superuser(), root_, last, 1, entries).value());
  EXPECT_THAT(entries, IsEmpty());
}

TEST_P(ReaddirTest, refusals) {
  const InodeId directory = names_.mkdir(root_, "d", 0711), file = names_.file(root_, "f");
  EXPECT_EQ(status(fx_.user(5), directory), Status::access_denied);
  EXPECT_EQ(status(fx_.superuser(), directory), Status::ok);
  EXPECT_EQ(status(fx_.superuser(), file), Status::not_directory);
  EXPECT_EQ(status(fx_.superuser(), InodeId(8)), Status::stale);
  EXPECT_EQ(status(fx_.superuser(), root_, 1), Status::bad_cookie);
  EXPECT_EQ(status(fx_.superuser(), root_, 255), Status::bad_cookie);
  EXPECT_EQ(status(fx_.superuser(), root_, 256), Status::ok);
  EXPECT_EQ(status(fx_.superuser(), root_, ~uint64_t{0}), Status::ok);
}

TEST_P(ReaddirTest, what_the_callback_says_ends_it) {
  names_.file(root_, "a");
  const auto outcome = fx_.run_to_end([&](auto& run) {
    return readdir(fx_.fs(), run, fx_.superuser(), root_, 0, Ahead::entries, 10,
                   [](const ListedEntry&) -> Outcome<bool> { return Status::too_small; });
  });
  EXPECT_EQ(status_of(outcome), Status::too_small);
}

// What is there from the beginning to the end of a listing is given exactly once, whatever comes and goes.
TEST_P(ReaddirTest, stable_entries_are_given_once) {
  const InodeId directory = names_.mkdir(root_, "d");
  std::mt19937 random(7);
  std::set<std::string> stable, passing;
  for (int i = 0; i < 60; ++i) {
    stable.insert(fmt::format("stable {}", i));
    names_.file(directory, fmt::format("stable {}", i));
  }
  std::map<std::string, int> seen;
  uint64_t cookie = 0;
  for (bool end = false; !end;) {
    std::vector<Listed> entries;
    end = read(fx_, fx_.superuser(), directory, cookie, 3, entries).value();
    for (const Listed& entry : entries) {
      ++seen[entry.name];
      cookie = entry.cookie;
    }
    for (int i = 0; i < 4; ++i) {
      const std::string name = fmt::format("passing {}", random() % 40);
      if (passing.insert(name).second) {
        names_.file(directory, name);
      } else {
        EXPECT_EQ(names_.remove(directory, name), Status::ok);
        passing.erase(name);
      }
    }
  }
  for (const std::string& name : stable) EXPECT_EQ(seen[name], 1) << name;
  for (const auto& [name, count] : seen) EXPECT_LE(count, 1 + static_cast<int>(!stable.contains(name)));
}

PERDURE_NAMES_TEST(ReaddirTest);

TEST(ReaddirAhead, cold_inodes_are_fetched_together) {
  FsFixture fx({.needs_io_percent = 100, .check_abandoned = true});
  Names names(fx);
  for (int i = 0; i < 300; ++i) names.file(fx.root(), std::to_string(i));
  fx.checkpoint();
  fx.evict();
  std::vector<Listed> entries;
  EXPECT_TRUE(read(fx, fx.superuser(), fx.root(), 0, 400, entries).value());
  EXPECT_EQ(entries.size(), 300U);
  EXPECT_EQ(fx.fetches(), 1 + 1 + 300U);  // the directory, its entries, their inodes
  EXPECT_EQ(fx.faults(), 3U);
  fx.evict();
  EXPECT_TRUE(read(fx, fx.superuser(), fx.root(), 0, 400, entries, Ahead::entries).value());
  EXPECT_EQ(fx.fetches(), 2U);
}

TEST(ReaddirAhead, windows) {
  FsFixture fx({.needs_io_percent = 100});
  Names names(fx);
  for (int i = 0; i < 100; ++i) names.file(fx.root(), std::to_string(i));
  fx.checkpoint();
  fx.evict();
  // A caller that expects 10 entries and takes them all costs ten windows, and no inode is fetched twice.
  const auto outcome = fx.run_to_end([&](auto& run) {
    return readdir(fx.fs(), run, fx.superuser(), fx.root(), 0, Ahead::inodes, 10,
                   [&](const ListedEntry& entry) -> Outcome<bool> {
                     TRY(fx.fs().load(run, entry.inode));
                     return true;
                   });
  });
  EXPECT_TRUE(outcome.value());
  EXPECT_EQ(fx.faults(), 2 + 10U);
  EXPECT_EQ(fx.fetches(), 2 + 100U);
}

TEST(LargeDirectory, is_listed_by_cookie_from_a_cold_cache) {
  constexpr int count = 100'000;
  FsFixture fx({.needs_io_percent = 100});
  Names names(fx);
  const InodeId directory = names.mkdir(fx.root(), "large");
  CreateRequest request;
  for (int i = 0; i < count; ++i) {
    ASSERT_TRUE(names.create(directory, fmt::format("file {}", i), request));
    ASSERT_EQ(fx.faults(), 0U);
    if (i % 10'000 == 0) fx.checkpoint();
  }
  EXPECT_EQ(names.row(directory).size, uint64_t{count});
  fx.checkpoint();
  fx.evict();
  EXPECT_EQ(fx.fs().inodes.size(), 0U);

  std::vector<bool> seen(count);
  uint64_t cookie = 0;
  size_t calls = 0, faults = 0;
  for (bool end = false; !end; ++calls) {
    std::vector<Listed> entries;
    end = read(fx, fx.superuser(), directory, cookie, 500, entries).value();
    faults += fx.faults();
    for (const Listed& entry : entries) {
      const int number = std::stoi(entry.name.substr(5));
      EXPECT_FALSE(seen[static_cast<size_t>(number)]);
      seen[static_cast<size_t>(number)] = true;
      EXPECT_GT(entry.cookie, cookie);
      cookie = entry.cookie;
    }
    // No more stays in memory than the listing needs.
    if (calls % 20 == 0) {
      fx.evict();
      EXPECT_EQ(fx.fs().dirents.size(), 0U);
    }
  }
  EXPECT_EQ(std::count(seen.begin(), seen.end(), true), count);
  EXPECT_EQ(calls, count / 500);
  EXPECT_LE(faults, 4 * calls);

  fx.evict();
  EXPECT_NE(names.find(directory, "file 77777"), InodeId(0));
  EXPECT_EQ(names.lookup_status(directory, "file 100000"), Status::no_entry);
  EXPECT_EQ(names.remove(directory, "file 500"), Status::ok);
  EXPECT_EQ(names.row(directory).size, uint64_t{count} - 1);
}

}  // namespace
}  // namespace perdure::fs
