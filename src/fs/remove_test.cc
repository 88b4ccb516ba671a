#include "fs/remove.h"

#include "fs/testing/names_test_base.h"

namespace perdure::fs {
namespace {

class RemoveTest : public testing::NamesTest {};

TEST_P(RemoveTest, file) {
  const InodeId directory = names_.mkdir(root_, "d"), file = names_.file(directory, "f");
  const InodeRow before = names_.row(directory);
  const auto removed =
      fx_.run_to_end([&](auto& run) { return remove(fx_.fs(), run, fx_.superuser(), directory, "f"); });
  ASSERT_TRUE(removed);
  const InodeRow after = names_.row(directory);
  EXPECT_EQ(removed->inode, file);
  EXPECT_EQ(removed->directory.before, before.change);
  EXPECT_EQ(removed->directory.after, after.change);
  EXPECT_NE(before.change, after.change);
  EXPECT_GT(after.mtime_ns, before.mtime_ns);
  EXPECT_EQ(after.mtime_ns, after.ctime_ns);
  EXPECT_EQ(after.size, 0U);
  EXPECT_FALSE(names_.exists(file));
  EXPECT_EQ(names_.lookup_status(directory, "f"), Status::no_entry);
  EXPECT_EQ(names_.remove(directory, "f"), Status::no_entry);
}

TEST_P(RemoveTest, one_of_two_names) {
  const InodeId file = names_.file(root_, "f");
  ASSERT_EQ(names_.link(file, root_, "g"), Status::ok);
  const InodeRow before = names_.row(file);
  EXPECT_EQ(names_.remove(root_, "f"), Status::ok);
  const InodeRow after = names_.row(file);
  EXPECT_EQ(after.links, 1U);
  EXPECT_GT(after.ctime_ns, before.ctime_ns);
  EXPECT_GT(after.change, before.change);
  EXPECT_EQ(after.mtime_ns, before.mtime_ns);
  EXPECT_EQ(names_.remove(root_, "g"), Status::ok);
  EXPECT_FALSE(names_.exists(file));
}

TEST_P(RemoveTest, open_file_stays_until_it_is_released) {
  const InodeId file = names_.file(root_, "f");
  fx_.open.insert(file);
  EXPECT_EQ(names_.remove(root_, "f"), Status::ok);
  EXPECT_EQ(names_.lookup_status(root_, "f"), Status::no_entry);
  EXPECT_EQ(names_.row(file).links, 0U);
  fx_.open.erase(file);
  EXPECT_EQ(names_.release(file), Status::ok);
  EXPECT_FALSE(names_.exists(file));
  EXPECT_EQ(names_.release(file), Status::stale);
}

TEST_P(RemoveTest, released_file_with_a_name_stays) {
  const InodeId file = names_.file(root_, "f");
  EXPECT_EQ(names_.release(file), Status::ok);
  EXPECT_TRUE(names_.exists(file));
}

TEST_P(RemoveTest, directory) {
  const InodeId parent = names_.mkdir(root_, "p"), child = names_.mkdir(parent, "c");
  names_.file(child, "f");
  EXPECT_EQ(names_.row(parent).links, 3U);
  EXPECT_EQ(names_.remove(root_, "p"), Status::not_empty);
  EXPECT_EQ(names_.remove(parent, "c"), Status::not_empty);
  EXPECT_EQ(names_.remove(child, "f"), Status::ok);
  EXPECT_EQ(names_.remove(parent, "c"), Status::ok);
  EXPECT_EQ(names_.row(parent).links, 2U);
  EXPECT_FALSE(names_.exists(child));
  EXPECT_EQ(names_.remove(root_, "p"), Status::ok);
  EXPECT_EQ(names_.row(root_).links, 2U);
}

TEST_P(RemoveTest, symlink_goes_with_its_target) {
  const InodeId link = names_.symlink(root_, "l");
  EXPECT_EQ(names_.remove(root_, "l"), Status::ok);
  EXPECT_FALSE(names_.exists(link));
}

TEST_P(RemoveTest, kinds) {
  names_.mkdir(root_, "d");
  names_.file(root_, "f");
  EXPECT_EQ(names_.remove(root_, "d", RemoveKind::not_directory), Status::is_directory);
  EXPECT_EQ(names_.remove(root_, "f", RemoveKind::directory), Status::not_directory);
  EXPECT_EQ(names_.remove(root_, "d", RemoveKind::directory), Status::ok);
  EXPECT_EQ(names_.remove(root_, "f", RemoveKind::not_directory), Status::ok);
}

TEST_P(RemoveTest, refusals) {
  const InodeId file = names_.file(root_, "f");
  const InodeId directory = names_.mkdir(root_, "d", 0755);
  names_.file(directory, "g", 0777);
  const std::vector<std::string> before = fx_.dump();
  EXPECT_EQ(names_.remove(root_, "."), Status::bad_name);
  EXPECT_EQ(names_.remove(root_, ""), Status::invalid_argument);
  EXPECT_EQ(names_.remove(file, "x"), Status::not_directory);
  EXPECT_EQ(names_.remove(InodeId(5), "x"), Status::stale);
  EXPECT_EQ(names_.as(5).remove(directory, "g"), Status::access_denied);
  EXPECT_EQ(names_.as(5).remove(directory, "none"), Status::no_entry);
  EXPECT_EQ(fx_.dump(), before);
}

// In a sticky directory an entry goes by the hand of its object's owner, the directory's owner, or root.
TEST_P(RemoveTest, sticky_directory) {
  constexpr uint32_t directory_owner = 1, file_owner = 2, other = 3;
  const InodeId directory = names_.mkdir(root_, "d");
  ASSERT_EQ(names_.set(directory, {.mode = 01777, .uid = directory_owner}), Status::ok);
  const struct {
    uint32_t uid;
    Status status;
  } cases[] = {{other, Status::access_denied},
               {file_owner, Status::ok},
               {directory_owner, Status::ok},
               {0, Status::ok}};
  for (const auto& c : cases) {
    for (const FileType type : {FileType::regular, FileType::directory}) {
      names_.as(file_owner).make(type, directory, "f", 0777);
      EXPECT_EQ(names_.as(c.uid).remove(directory, "f"), c.status) << c.uid;
      EXPECT_EQ(names_.remove(directory, "f"), c.status == Status::ok ? Status::no_entry : Status::ok);
    }
  }
  ASSERT_EQ(names_.set(directory, {.mode = 0777}), Status::ok);
  names_.as(file_owner).file(directory, "f");
  EXPECT_EQ(names_.as(other).remove(directory, "f"), Status::ok);
}

PERDURE_NAMES_TEST(RemoveTest);

}  // namespace
}  // namespace perdure::fs
