#include "fs/lookup.h"

#include "fs/testing/names_test_base.h"

namespace perdure::fs {
namespace {

class LookupTest : public testing::NamesTest {
 protected:
  Status parent_status(const Principal& who, InodeId id) {
    return testing::status_of(
        fx_.run_to_end([&](auto& run) { return lookup_parent(fx_.fs(), run, who, id); }));
  }
};

TEST_P(LookupTest, gives_object_and_type) {
  const InodeId directory = names_.mkdir(root_, "d");
  const InodeId link = names_.symlink(directory, "l");
  const auto found =
      fx_.run_to_end([&](auto& run) { return lookup(fx_.fs(), run, fx_.superuser(), directory, "l"); });
  ASSERT_TRUE(found);
  EXPECT_EQ(found->inode, link);
  EXPECT_EQ(fx_.faults() > 0, GetParam() == testing::Memory::faulting);
  EXPECT_EQ(found->type, FileType::symlink);
  EXPECT_EQ(names_.lookup_status(directory, "L"), Status::no_entry);
}

TEST_P(LookupTest, needs_a_directory) {
  const InodeId file = names_.file(root_, "f");
  const InodeId link = names_.symlink(root_, "l");
  EXPECT_EQ(names_.lookup_status(file, "x"), Status::not_directory);
  EXPECT_EQ(names_.lookup_status(link, "x"), Status::is_symlink);
  EXPECT_EQ(names_.lookup_status(InodeId(999), "x"), Status::stale);
}

TEST_P(LookupTest, refuses_bad_names) {
  EXPECT_EQ(names_.lookup_status(root_, ""), Status::invalid_argument);
  EXPECT_EQ(names_.lookup_status(root_, "."), Status::bad_name);
  EXPECT_EQ(names_.lookup_status(root_, ".."), Status::bad_name);
  EXPECT_EQ(names_.lookup_status(root_, "a/b"), Status::bad_character);
  EXPECT_EQ(names_.lookup_status(root_, std::string(256, 'a')), Status::name_too_long);
}

TEST_P(LookupTest, needs_search_permission_and_no_other) {
  const InodeId searchable = names_.mkdir(root_, "x", 0711), readable = names_.mkdir(root_, "r", 0744);
  names_.file(searchable, "f");
  names_.file(readable, "f");
  EXPECT_EQ(names_.as(5).lookup_status(searchable, "f"), Status::ok);
  EXPECT_EQ(names_.as(5).lookup_status(readable, "f"), Status::access_denied);
  EXPECT_EQ(names_.lookup_status(readable, "f"), Status::ok);
}

TEST_P(LookupTest, parent) {
  const InodeId a = names_.mkdir(root_, "a"), b = names_.mkdir(a, "b", 0700);
  const auto parent =
      fx_.run_to_end([&](auto& run) { return lookup_parent(fx_.fs(), run, fx_.superuser(), b); });
  EXPECT_EQ(parent.value(), a);
  EXPECT_EQ(parent_status(fx_.superuser(), root_), Status::no_entry);
  EXPECT_EQ(parent_status(fx_.user(5), b), Status::access_denied);
  EXPECT_EQ(parent_status(fx_.user(5), a), Status::ok);
  EXPECT_EQ(parent_status(fx_.superuser(), names_.file(a, "f")), Status::not_directory);
  EXPECT_EQ(parent_status(fx_.superuser(), names_.symlink(a, "l")), Status::is_symlink);
}

PERDURE_NAMES_TEST(LookupTest);

}  // namespace
}  // namespace perdure::fs
