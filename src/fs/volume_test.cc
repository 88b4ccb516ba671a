#include "fs/volume.h"

#include "fs/attributes.h"
#include "fs/testing/names_test_base.h"

namespace perdure::fs {
namespace {

class VolumeTest : public ::testing::Test {
 protected:
  Outcome<InodeId> make(uint32_t id, std::string_view name) {
    return fx_.run_to_end([&](auto& run) {
      return create_volume(
          fx_.fs(), run,
          {.id = VolumeId(id), .name = name, .root_mode = 01770, .root_uid = 3, .root_gid = 4});
    });
  }
  testing::FsFixture fx_;
  testing::Names names_{fx_};
};

TEST_F(VolumeTest, root) {
  const InodeId root = make(2, "second").value();
  const Attributes attributes =
      fx_.run_to_end([&](auto& run) { return get_attributes(fx_.fs(), run, root); }).value();
  EXPECT_TRUE(attributes.is_root);
  EXPECT_EQ(attributes.row.type, FileType::directory);
  EXPECT_EQ(attributes.row.mode, 01770U);
  EXPECT_EQ(attributes.row.uid, 3U);
  EXPECT_EQ(attributes.row.gid, 4U);
  EXPECT_EQ(attributes.row.links, 2U);
  EXPECT_EQ(attributes.row.size, 0U);
  EXPECT_EQ(attributes.row.parent, root);
  EXPECT_EQ(root.value >> 48U, 1U);
  EXPECT_THAT(names_.list(root), ::testing::IsEmpty());
}

TEST_F(VolumeTest, volumes_differ) {
  const InodeId root = make(2, "second").value();
  const VolumeRow &first = *fx_.fs().volumes.peek({VolumeId(1)}),
                  &second = *fx_.fs().volumes.peek({VolumeId(2)});
  EXPECT_NE(first.uuid, second.uuid);
  EXPECT_NE(first.name_key, second.name_key);
  EXPECT_EQ(second.root, root);
  EXPECT_NE(names_.file(fx_.root(), "f"), names_.file(root, "f"));
  EXPECT_EQ(find_volume(fx_.fs(), "second"), VolumeId(2));
  EXPECT_EQ(find_volume(fx_.fs(), "third"), std::nullopt);
}

TEST_F(VolumeTest, refusals) {
  EXPECT_EQ(testing::status_of(make(0, "x")), Status::invalid_argument);
  EXPECT_EQ(testing::status_of(make(0x10000, "x")), Status::invalid_argument);
  EXPECT_EQ(testing::status_of(make(1, "x")), Status::exists);
  EXPECT_EQ(testing::status_of(make(2, "test")), Status::exists);
  EXPECT_EQ(testing::status_of(make(2, "a/b")), Status::bad_character);
}

TEST_F(VolumeTest, survives_a_restart) {
  const InodeId root = make(7, "seventh").value();
  const InodeId file = names_.file(root, "f");
  const std::vector<std::string> before = fx_.dump();
  fx_.checkpoint();
  fx_.restart();
  EXPECT_EQ(fx_.dump(), before);
  EXPECT_EQ(names_.find(root, "f"), file);
  EXPECT_GT(names_.file(root, "g"), file);
}

}  // namespace
}  // namespace perdure::fs
