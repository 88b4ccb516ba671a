#include "fs/link.h"

#include "fs/testing/names_test_base.h"
#include "fs/volume.h"

namespace perdure::fs {
namespace {

class LinkTest : public testing::NamesTest {};

TEST_P(LinkTest, one_more_name) {
  const InodeId directory = names_.mkdir(root_, "d"), file = names_.file(root_, "f");
  const InodeRow before = names_.row(file), directory_before = names_.row(directory);
  const auto outcome =
      fx_.run_to_end([&](auto& run) { return link(fx_.fs(), run, fx_.superuser(), file, directory, "g"); });
  ASSERT_TRUE(outcome);
  const InodeRow after = names_.row(file), directory_after = names_.row(directory);
  EXPECT_EQ(names_.find(directory, "g"), file);
  EXPECT_EQ(after.links, 2U);
  EXPECT_GT(after.ctime_ns, before.ctime_ns);
  EXPECT_EQ(after.mtime_ns, before.mtime_ns);
  EXPECT_GT(after.change, before.change);
  EXPECT_EQ(outcome->before, directory_before.change);
  EXPECT_EQ(outcome->after, directory_after.change);
  EXPECT_EQ(directory_after.size, 1U);
  EXPECT_EQ(directory_after.mtime_ns, after.ctime_ns);
}

TEST_P(LinkTest, of_every_type_but_directories) {
  for (const FileType type : {FileType::regular, FileType::symlink, FileType::fifo, FileType::socket,
                              FileType::block_device, FileType::character_device}) {
    CreateRequest request;
    request.type = type;
    request.target = "t";
    const std::string name = fmt::format("{}", static_cast<int>(type));
    const InodeId object = names_.create(root_, name, request).value().inode;
    EXPECT_EQ(names_.link(object, root_, name + " again"), Status::ok);
    EXPECT_EQ(names_.find(root_, name + " again"), object);
  }
  EXPECT_EQ(names_.link(names_.mkdir(root_, "d"), root_, "e"), Status::is_directory);
  EXPECT_EQ(names_.link(root_, root_, "e"), Status::is_directory);
}

TEST_P(LinkTest, refusals) {
  const InodeId directory = names_.mkdir(root_, "d"), file = names_.file(root_, "f");
  const std::vector<std::string> before = fx_.dump();
  EXPECT_EQ(names_.link(file, root_, "f"), Status::exists);
  EXPECT_EQ(names_.link(file, root_, "d"), Status::exists);
  EXPECT_EQ(names_.link(file, file, "g"), Status::not_directory);
  EXPECT_EQ(names_.link(file, root_, "."), Status::bad_name);
  EXPECT_EQ(names_.link(file, root_, ""), Status::invalid_argument);
  EXPECT_EQ(names_.link(InodeId(77), root_, "g"), Status::stale);
  EXPECT_EQ(names_.link(file, InodeId(77), "g"), Status::stale);
  EXPECT_EQ(names_.as(5).link(file, directory, "g"), Status::access_denied);
  EXPECT_EQ(fx_.dump(), before);
}

TEST_P(LinkTest, not_across_volumes) {
  const InodeId file = names_.file(root_, "f");
  const auto other = fx_.run_to_end(
      [&](auto& run) { return create_volume(fx_.fs(), run, {.id = VolumeId(2), .name = "other"}); });
  EXPECT_EQ(names_.link(file, other.value(), "f"), Status::cross_device);
  EXPECT_EQ(names_.rename(root_, "f", *other, "f"), Status::cross_device);
}

TEST_P(LinkTest, not_of_a_file_without_names) {
  const InodeId file = names_.file(root_, "f");
  fx_.open.insert(file);
  EXPECT_EQ(names_.remove(root_, "f"), Status::ok);
  EXPECT_EQ(names_.link(file, root_, "g"), Status::no_entry);
}

TEST_P(LinkTest, number_of_links_is_limited) {
  const InodeId file = names_.file(root_, "f");
  const auto set_links = [&](uint32_t links) {
    ASSERT_TRUE(fx_.run_to_end([&](auto& run) -> Outcome<bool> {
      InodeRow row = TRY(fx_.fs().load(run, file));
      row.links = links;
      fx_.fs().store(run, file, row);
      return true;
    }));
  };
  set_links(links_max);
  EXPECT_EQ(names_.link(file, root_, "g"), Status::too_many_links);
  set_links(links_max - 1);
  EXPECT_EQ(names_.link(file, root_, "g"), Status::ok);
  set_links(2);
}

PERDURE_NAMES_TEST(LinkTest);

}  // namespace
}  // namespace perdure::fs
