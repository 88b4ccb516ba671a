#include "fs/attributes.h"

#include "fs/readlink.h"
#include "fs/testing/names_test_base.h"

namespace perdure::fs {
namespace {

class AttributesTest : public testing::NamesTest {
 protected:
  Attributes get(InodeId id) {
    return fx_.run_to_end([&](auto& run) { return get_attributes(fx_.fs(), run, id); }).value();
  }
  static constexpr uint32_t owner = 1, other = 3;
  // A file of uid 1, gid 100, in whose group uid 1 is.
  InodeId make(uint32_t mode, const char* name = "f") {
    const InodeId file = names_.file(root_, name, 0600);
    CHECK(names_.set(file, {.mode = mode, .uid = owner, .gid = 100}) == Status::ok);
    return file;
  }
};

TEST_P(AttributesTest, view) {
  const InodeId file = make(0640);
  const Attributes of_file = get(file), of_root = get(root_);
  EXPECT_EQ(of_file.inode, file);
  EXPECT_EQ(of_file.row.mode, 0640U);
  EXPECT_FALSE(of_file.is_root);
  EXPECT_TRUE(of_root.is_root);
  EXPECT_EQ(of_file.fsid, of_root.fsid);
  EXPECT_NE(of_file.fsid, (std::array<uint64_t, 2>{}));
  EXPECT_EQ(of_file.used_bytes, 0U);
}

TEST_P(AttributesTest, view_includes_unstable_writes) {
  const InodeId file = make(0640);
  const InodeRow stable = names_.row(file);
  const auto write = [&] {
    ASSERT_TRUE(fx_.run_to_end([&](auto& run) -> Outcome<bool> {
      fx_.fs().pending_inodes.put(run, {file}, {5000, 2, fx_.fs().new_change(), 77, 78});
      return true;
    }));
  };
  write();
  Attributes view = get(file);
  EXPECT_EQ(view.row.size, 5000U);
  EXPECT_EQ(view.used_bytes, 2 * 4096U);
  EXPECT_EQ(view.row.blocks, 2U);
  EXPECT_GT(view.row.change, stable.change);
  EXPECT_EQ(view.row.mtime_ns, 77);
  EXPECT_EQ(view.row.ctime_ns, 78);
  // Whoever stores the inode makes its size and times stable; blocks that only dirty pages hold stay pending.
  ASSERT_EQ(names_.set(file, {.mode = 0600}), Status::ok);
  EXPECT_EQ(fx_.fs().pending_inodes.size(), 1U);
  EXPECT_EQ(fx_.fs().inodes.peek({file})->blocks, 0U);
  EXPECT_EQ(fx_.fs().inodes.peek({file})->size, 5000U);
  view = get(file);
  EXPECT_EQ(view.row.blocks, 2U);
  EXPECT_EQ(view.row.size, 5000U);
  EXPECT_EQ(view.row.mtime_ns, 77);
  EXPECT_GT(view.row.ctime_ns, 78);
}

TEST_P(AttributesTest, every_change_is_seen_in_ctime_and_change) {
  const InodeId file = make(0666);
  const SetAttributes sets[] = {{.mode = 0644},
                                {.uid = 7},
                                {.gid = 8},
                                {.size = 10},
                                {.atime = NewTime{}},
                                {.mtime = NewTime{}},
                                {.atime = NewTime{true, 5}}};
  for (const SetAttributes& set : sets) {
    const InodeRow before = names_.row(file);
    ASSERT_EQ(names_.set(file, set), Status::ok);
    const InodeRow after = names_.row(file);
    EXPECT_GT(after.ctime_ns, before.ctime_ns);
    EXPECT_GT(after.change, before.change);
    EXPECT_EQ(after.mtime_ns, set.size || set.mtime ? after.ctime_ns : before.mtime_ns);
  }
  const std::vector<std::string> before = fx_.dump();
  EXPECT_EQ(names_.set(file, {}), Status::ok);
  EXPECT_EQ(fx_.dump(), before);
  EXPECT_EQ(names_.set(InodeId(3), {.mode = 0}), Status::stale);
}

TEST_P(AttributesTest, mode_is_the_owners) {
  const InodeId file = make(0644);
  EXPECT_EQ(names_.as(other).set(file, {.mode = 0777}), Status::not_permitted);
  EXPECT_EQ(names_.as(owner).set(file, {.mode = 0xffff'0000U | 05777U}), Status::ok);
  EXPECT_EQ(names_.row(file).mode, 05777U);
  EXPECT_EQ(names_.set(file, {.mode = 0100}), Status::ok);
  EXPECT_EQ(names_.row(file).mode, 0100U);
}

TEST_P(AttributesTest, set_gid_needs_the_group) {
  const InodeId file = make(0644);
  EXPECT_EQ(names_.as(owner, 100).set(file, {.mode = 02755}), Status::ok);
  EXPECT_EQ(names_.row(file).mode, 02755U);
  EXPECT_EQ(names_.as(owner, 50).set(file, {.mode = 06755}), Status::ok);
  EXPECT_EQ(names_.row(file).mode, 04755U);
  EXPECT_EQ(names_.set(file, {.mode = 06755}), Status::ok);
  EXPECT_EQ(names_.row(file).mode, 06755U);
}

TEST_P(AttributesTest, mode_of_a_symlink_stays) {
  const InodeId link = names_.symlink(root_, "l");
  EXPECT_EQ(names_.set(link, {.mode = 0600}), Status::ok);
  EXPECT_EQ(names_.row(link).mode, 0777U);
}

TEST_P(AttributesTest, only_root_gives_files_away) {
  const InodeId file = make(0644);
  EXPECT_EQ(names_.as(owner).set(file, {.uid = other}), Status::not_permitted);
  EXPECT_EQ(names_.as(other).set(file, {.uid = other}), Status::not_permitted);
  EXPECT_EQ(names_.as(other).set(file, {.uid = owner}), Status::not_permitted);
  EXPECT_EQ(names_.as(owner).set(file, {.uid = owner}), Status::ok);
  EXPECT_EQ(names_.set(file, {.uid = other}), Status::ok);
  EXPECT_EQ(names_.row(file).uid, other);
}

TEST_P(AttributesTest, owner_chooses_among_his_groups) {
  const InodeId file = make(0644);
  Principal who = fx_.user(owner, 50);
  who.groups = {60};
  EXPECT_EQ(names_.as(who).set(file, {.gid = 70}), Status::not_permitted);
  EXPECT_EQ(names_.as(who).set(file, {.gid = 100}), Status::ok);  // what it is
  EXPECT_EQ(names_.as(who).set(file, {.gid = 60}), Status::ok);
  EXPECT_EQ(names_.row(file).gid, 60U);
  EXPECT_EQ(names_.as(who).set(file, {.gid = 50}), Status::ok);
  EXPECT_EQ(names_.as(fx_.user(other, 60)).set(file, {.gid = 60}), Status::not_permitted);
  EXPECT_EQ(names_.set(file, {.gid = 70}), Status::ok);
}

TEST_P(AttributesTest, chown_takes_set_id_bits) {
  const InodeId file = make(06755);
  EXPECT_EQ(names_.set(file, {.gid = 100}), Status::ok);
  EXPECT_EQ(names_.row(file).mode, 06755U);
  EXPECT_EQ(names_.as(owner, 100).set(file, {.gid = 100}), Status::ok);
  EXPECT_EQ(names_.row(file).mode, 0755U);
  EXPECT_EQ(names_.as(owner, 100).set(file, {.mode = 06755, .gid = 100}), Status::ok);
  EXPECT_EQ(names_.row(file).mode, 0755U);
  const InodeId directory = names_.mkdir(root_, "d");
  ASSERT_EQ(names_.set(directory, {.mode = 02755, .uid = owner, .gid = 100}), Status::ok);
  EXPECT_EQ(names_.as(owner, 100).set(directory, {.gid = 100}), Status::ok);
  EXPECT_EQ(names_.row(directory).mode, 02755U);
}

TEST_P(AttributesTest, times) {
  const InodeId file = make(0606);
  const SetAttributes now{.atime = NewTime{}, .mtime = NewTime{}};
  const SetAttributes given{.atime = NewTime{true, -5}, .mtime = NewTime{true, 1'000'000'000'000}};
  EXPECT_EQ(names_.as(other, 200).set(file, now), Status::ok);
  EXPECT_EQ(names_.as(other).set(file, given), Status::not_permitted);
  EXPECT_EQ(names_.as(other).set(file, {.mtime = NewTime{true, 1}}), Status::not_permitted);
  EXPECT_EQ(names_.as(owner).set(file, given), Status::ok);
  InodeRow row = names_.row(file);
  EXPECT_EQ(row.atime_ns, -5);
  EXPECT_EQ(row.mtime_ns, 1'000'000'000'000);
  EXPECT_EQ(names_.as(owner).set(file, now), Status::ok);
  row = names_.row(file);
  EXPECT_EQ(row.atime_ns, row.ctime_ns);
  EXPECT_EQ(row.mtime_ns, row.ctime_ns);

  const InodeId readable = make(0404, "g");
  EXPECT_EQ(names_.as(other, 200).set(readable, now), Status::access_denied);
  EXPECT_EQ(names_.as(owner).set(readable, now), Status::ok);
  EXPECT_EQ(names_.set(readable, given), Status::ok);
}

TEST_P(AttributesTest, size) {
  const InodeId file = make(04644);
  EXPECT_EQ(names_.as(other).set(file, {.size = 1}), Status::access_denied);
  EXPECT_EQ(names_.as(other).set(file, {.size = 1}, SizeRight::by_open), Status::ok);
  EXPECT_EQ(names_.row(file).size, 1U);
  EXPECT_EQ(names_.row(file).mode, 0644U) << "the set-uid bit goes with a truncation";
  ASSERT_EQ(names_.set(file, {.mode = 0444}), Status::ok);
  EXPECT_EQ(names_.as(owner).set(file, {.size = 2}), Status::ok) << "the owner may have it open";
  EXPECT_EQ(names_.set(file, {.size = file_bytes_max + 1}), Status::too_big);
  EXPECT_EQ(names_.set(file, {.size = 3, .mtime = NewTime{true, 9}}), Status::ok);
  EXPECT_EQ(names_.row(file).mtime_ns, 9);
  EXPECT_EQ(names_.set(root_, {.size = 0}), Status::invalid_argument);
  EXPECT_EQ(names_.set(names_.symlink(root_, "l"), {.size = 0}), Status::invalid_argument);
  EXPECT_EQ(names_.set(names_.make(FileType::fifo, root_, "p", 0600), {.size = 0}), Status::invalid_argument);
}

TEST_P(AttributesTest, all_or_nothing) {
  const InodeId file = make(0666);
  const std::vector<std::string> before = fx_.dump();
  EXPECT_EQ(names_.as(other).set(file, {.mode = 0777, .size = 5}), Status::not_permitted);
  EXPECT_EQ(names_.as(other).set(file, {.gid = 1, .size = 5}), Status::not_permitted);
  EXPECT_EQ(names_.as(other).set(file, {.size = 5, .atime = NewTime{true, 1}}), Status::not_permitted);
  EXPECT_EQ(names_.as(owner).set(file, {.mode = 0, .size = ~uint64_t{0}}), Status::too_big);
  EXPECT_EQ(fx_.dump(), before);
}

TEST_P(AttributesTest, readlink_is_for_symlinks) {
  const auto status = [&](InodeId id) {
    return testing::status_of(fx_.run_to_end([&](auto& run) { return readlink(fx_.fs(), run, id); }));
  };
  EXPECT_EQ(names_.target(names_.symlink(root_, "l", "../x y")), "../x y");
  EXPECT_EQ(status(make(0644)), Status::wrong_type);
  EXPECT_EQ(status(root_), Status::wrong_type);
  EXPECT_EQ(status(InodeId(4)), Status::stale);
}

PERDURE_NAMES_TEST(AttributesTest);

}  // namespace
}  // namespace perdure::fs
