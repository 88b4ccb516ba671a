#include "fs/rename.h"

#include "fs/testing/names_test_base.h"

namespace perdure::fs {
namespace {

class RenameTest : public testing::NamesTest {
 protected:
  void SetUp() override {
    a_ = names_.mkdir(root_, "a", 0777);
    b_ = names_.mkdir(root_, "b", 0777);
  }
  InodeId a_, b_;
};

TEST_P(RenameTest, within_a_directory) {
  const InodeId file = names_.file(a_, "f");
  const InodeRow directory = names_.row(a_), before = names_.row(file);
  const auto renamed = names_.rename_outcome(a_, "f", a_, "g");
  ASSERT_TRUE(renamed);
  const InodeRow directory_after = names_.row(a_), after = names_.row(file);
  EXPECT_EQ(renamed->inode, file);
  EXPECT_EQ(renamed->replaced, InodeId(0));
  EXPECT_EQ(renamed->from.before, directory.change);
  EXPECT_EQ(renamed->from.after, directory_after.change);
  EXPECT_EQ(renamed->to.before, renamed->from.before);
  EXPECT_EQ(renamed->to.after, renamed->from.after);
  EXPECT_EQ(names_.find(a_, "g"), file);
  EXPECT_EQ(names_.lookup_status(a_, "f"), Status::no_entry);
  EXPECT_EQ(directory_after.size, 1U);
  EXPECT_GT(directory_after.mtime_ns, directory.mtime_ns);
  EXPECT_GT(after.ctime_ns, before.ctime_ns);
  EXPECT_GT(after.change, before.change);
  EXPECT_EQ(after.mtime_ns, before.mtime_ns);
  EXPECT_EQ(after.links, 1U);
}

TEST_P(RenameTest, between_directories) {
  const InodeId file = names_.file(a_, "f");
  const InodeRow a = names_.row(a_), b = names_.row(b_);
  const auto renamed = names_.rename_outcome(a_, "f", b_, "g");
  ASSERT_TRUE(renamed);
  EXPECT_EQ(renamed->from.before, a.change);
  EXPECT_EQ(renamed->from.after, names_.row(a_).change);
  EXPECT_EQ(renamed->to.before, b.change);
  EXPECT_EQ(renamed->to.after, names_.row(b_).change);
  EXPECT_EQ(names_.find(b_, "g"), file);
  EXPECT_EQ(names_.row(a_).size, 0U);
  EXPECT_EQ(names_.row(b_).size, 1U);
}

TEST_P(RenameTest, directory_to_another_parent) {
  const InodeId moved = names_.mkdir(a_, "m");
  names_.mkdir(moved, "below");
  EXPECT_EQ(names_.rename(a_, "m", b_, "n"), Status::ok);
  EXPECT_EQ(names_.row(moved).parent, b_);
  EXPECT_EQ(names_.row(moved).links, 3U);
  EXPECT_EQ(names_.row(a_).links, 2U);
  EXPECT_EQ(names_.row(b_).links, 3U);
  EXPECT_EQ(names_.rename(b_, "n", b_, "o"), Status::ok);
  EXPECT_EQ(names_.row(moved).parent, b_);
  EXPECT_EQ(names_.row(b_).links, 3U);
}

// What is moved x what is at the target: the whole of RFC 8881 §18.26.3 ¶2-4.
enum class Target { none, file, symlink, empty, full };

TEST_P(RenameTest, matrix_of_sources_and_targets) {
  int number = 0;
  for (const FileType type : {FileType::regular, FileType::symlink, FileType::fifo, FileType::directory}) {
    for (const Target target : {Target::none, Target::file, Target::symlink, Target::empty, Target::full}) {
      for (const bool same_directory : {true, false}) {
        const std::string from = fmt::format("from {}", ++number), to = fmt::format("to {}", number);
        SCOPED_TRACE(fmt::format("{} over {}", static_cast<int>(type), static_cast<int>(target)));
        const InodeId to_directory = same_directory ? a_ : b_;
        const bool directory = type == FileType::directory;
        const InodeId source =
            type == FileType::symlink ? names_.symlink(a_, from) : names_.make(type, a_, from, 0755);
        InodeId replaced;
        if (target == Target::file) replaced = names_.file(to_directory, to);
        if (target == Target::symlink) replaced = names_.symlink(to_directory, to);
        if (target == Target::empty || target == Target::full) replaced = names_.mkdir(to_directory, to);
        if (target == Target::full) names_.file(replaced, "inside");
        const bool good =
            target == Target::none ||
            (directory ? target == Target::empty : target == Target::file || target == Target::symlink);
        const std::vector<std::string> before = fx_.dump();
        const auto outcome = names_.rename_outcome(a_, from, to_directory, to);
        if (!good) {
          EXPECT_EQ(testing::status_of(outcome), Status::exists);
          EXPECT_EQ(fx_.dump(), before);
          continue;
        }
        ASSERT_TRUE(outcome);
        EXPECT_EQ(outcome->inode, source);
        EXPECT_EQ(outcome->replaced, replaced);
        EXPECT_EQ(names_.find(to_directory, to), source);
        EXPECT_EQ(names_.lookup_status(a_, from), Status::no_entry);
        EXPECT_FALSE(names_.exists(replaced));
        EXPECT_EQ(names_.row(source).parent, directory ? to_directory : InodeId(0));
        EXPECT_THAT(testing::check_names(fx_), ::testing::IsEmpty());
      }
    }
  }
}

TEST_P(RenameTest, two_names_of_one_object) {
  const InodeId file = names_.file(a_, "f");
  ASSERT_EQ(names_.link(file, a_, "g"), Status::ok);
  ASSERT_EQ(names_.link(file, b_, "h"), Status::ok);
  const std::vector<std::string> before = fx_.dump();
  for (const auto& [directory, name] : {std::pair(a_, "f"), std::pair(a_, "g"), std::pair(b_, "h")}) {
    const auto outcome = names_.rename_outcome(a_, "f", directory, name);
    ASSERT_TRUE(outcome);
    EXPECT_EQ(outcome->from.before, outcome->from.after);
    EXPECT_EQ(outcome->to.before, outcome->to.after);
    EXPECT_EQ(outcome->replaced, InodeId(0));
  }
  EXPECT_EQ(names_.rename(root_, "a", root_, "a"), Status::ok);
  EXPECT_EQ(fx_.dump(), before);
}

TEST_P(RenameTest, replaced_file_with_another_name_stays) {
  const InodeId file = names_.file(a_, "f"), kept = names_.file(a_, "k");
  ASSERT_EQ(names_.link(kept, b_, "other name"), Status::ok);
  EXPECT_EQ(names_.rename(a_, "f", a_, "k"), Status::ok);
  EXPECT_EQ(names_.find(a_, "k"), file);
  EXPECT_EQ(names_.row(kept).links, 1U);
}

TEST_P(RenameTest, replaced_open_file_stays_until_it_is_released) {
  names_.file(a_, "f");
  const InodeId open = names_.file(a_, "open");
  fx_.open.insert(open);
  EXPECT_EQ(names_.rename(a_, "f", a_, "open"), Status::ok);
  EXPECT_EQ(names_.row(open).links, 0U);
  fx_.open.clear();
  EXPECT_EQ(names_.release(open), Status::ok);
  EXPECT_FALSE(names_.exists(open));
}

TEST_P(RenameTest, never_below_itself) {
  const InodeId c = names_.mkdir(a_, "c"), d = names_.mkdir(c, "d");
  names_.mkdir(d, "e");
  const std::vector<std::string> before = fx_.dump();
  EXPECT_EQ(names_.rename(root_, "a", a_, "x"), Status::invalid_argument);
  EXPECT_EQ(names_.rename(root_, "a", c, "x"), Status::invalid_argument);
  EXPECT_EQ(names_.rename(root_, "a", d, "x"), Status::invalid_argument);
  EXPECT_EQ(names_.rename(root_, "a", d, "e"), Status::invalid_argument);
  EXPECT_EQ(names_.rename(a_, "c", d, "x"), Status::invalid_argument);
  // The other way round the target is not empty.
  EXPECT_EQ(names_.rename(c, "d", root_, "a"), Status::exists);
  EXPECT_EQ(names_.rename(d, "e", a_, "c"), Status::exists);
  EXPECT_EQ(fx_.dump(), before);
  EXPECT_EQ(names_.rename(c, "d", b_, "d"), Status::ok);
  EXPECT_EQ(names_.rename(root_, "a", d, "a"), Status::ok);
  EXPECT_EQ(names_.row(a_).parent, d);
}

TEST_P(RenameTest, leaf_not_into_itself) {
  EXPECT_EQ(names_.rename(root_, "a", a_, "x"), Status::invalid_argument);
}

TEST_P(RenameTest, refusals) {
  const InodeId file = names_.file(a_, "f");
  const std::vector<std::string> before = fx_.dump();
  EXPECT_EQ(names_.rename(a_, "none", b_, "x"), Status::no_entry);
  EXPECT_EQ(names_.rename(a_, "none", a_, "f"), Status::no_entry);
  EXPECT_EQ(names_.rename(a_, ".", b_, "x"), Status::bad_name);
  EXPECT_EQ(names_.rename(a_, "f", b_, ".."), Status::bad_name);
  EXPECT_EQ(names_.rename(a_, "", b_, "x"), Status::invalid_argument);
  EXPECT_EQ(names_.rename(a_, "f", b_, ""), Status::invalid_argument);
  EXPECT_EQ(names_.rename(a_, "f", b_, std::string(256, 'x')), Status::name_too_long);
  EXPECT_EQ(names_.rename(a_, "f", b_, "x/y"), Status::bad_character);
  EXPECT_EQ(names_.rename(file, "f", b_, "x"), Status::not_directory);
  EXPECT_EQ(names_.rename(a_, "f", file, "x"), Status::not_directory);
  EXPECT_EQ(names_.rename(InodeId(9), "f", b_, "x"), Status::stale);
  EXPECT_EQ(names_.rename(a_, "f", InodeId(9), "x"), Status::stale);
  EXPECT_EQ(fx_.dump(), before);
}

TEST_P(RenameTest, permission_matrix) {
  // Modes of the two directories for somebody else; both need write and search.
  for (const uint32_t from_mode : {0U, 1U, 2U, 3U, 5U, 7U}) {
    for (const uint32_t to_mode : {0U, 1U, 2U, 3U, 5U, 7U}) {
      const std::string suffix = fmt::format(" {}{}", from_mode, to_mode);
      const InodeId from = names_.mkdir(root_, "from" + suffix, 0700 | from_mode);
      const InodeId to = names_.mkdir(root_, "to" + suffix, 0700 | to_mode);
      names_.file(from, "f");
      const bool good = (from_mode & 3U) == 3 && (to_mode & 3U) == 3;
      EXPECT_EQ(names_.as(5).rename(from, "f", to, "f"), good ? Status::ok : Status::access_denied) << suffix;
    }
  }
}

TEST_P(RenameTest, directory_that_changes_its_parent_must_be_writable) {
  names_.mkdir(a_, "m", 0755);
  EXPECT_EQ(names_.as(5).rename(a_, "m", b_, "m"), Status::access_denied);
  EXPECT_EQ(names_.as(5).rename(a_, "m", a_, "n"), Status::ok);
  ASSERT_EQ(names_.set(names_.find(a_, "n"), {.mode = 0757}), Status::ok);
  EXPECT_EQ(names_.as(5).rename(a_, "n", b_, "n"), Status::ok);
}

TEST_P(RenameTest, sticky_directories) {
  constexpr uint32_t directory_owner = 1, file_owner = 2, other = 3;
  ASSERT_EQ(names_.set(a_, {.mode = 01777, .uid = directory_owner}), Status::ok);
  const struct {
    uint32_t uid;
    Status status;
  } cases[] = {{other, Status::access_denied},
               {file_owner, Status::ok},
               {directory_owner, Status::ok},
               {0, Status::ok}};
  for (const auto& c : cases) {
    // Away from a sticky directory, and over an entry of one.
    names_.as(file_owner).file(a_, "away");
    EXPECT_EQ(names_.as(c.uid).rename(a_, "away", b_, "gone"), c.status);
    names_.as(file_owner).file(a_, "target");
    names_.as(other).file(b_, "source");
    EXPECT_EQ(names_.as(c.uid).rename(b_, "source", a_, "target"), c.status);
    for (const auto& [directory, name] :
         {std::pair(a_, "away"), std::pair(a_, "target"), std::pair(b_, "source"), std::pair(b_, "gone")})
      std::ignore = names_.remove(directory, name);
  }
  // A new name in one is free to anybody.
  names_.as(other).file(b_, "new");
  EXPECT_EQ(names_.as(other).rename(b_, "new", a_, "new"), Status::ok);
}

PERDURE_NAMES_TEST(RenameTest);

}  // namespace
}  // namespace perdure::fs
