#include "fs/access.h"

#include "fs/testing/names_test_base.h"

namespace perdure::fs {
namespace {

InodeRow inode_of(FileType type, uint32_t mode, uint32_t uid = 1, uint32_t gid = 10) {
  InodeRow row;
  row.type = type;
  row.mode = mode;
  row.uid = uid;
  row.gid = gid;
  return row;
}

bool may(const InodeRow& inode, const Principal& who, uint32_t wanted, Check check = Check::strict) {
  const Rights rights = rights_by_mode(inode, who);
  return (check == Check::data ? with_data_rights(rights, inode, who) : rights).allow(wanted);
}

Access access_by_mode(const InodeRow& inode, const Principal& who, uint32_t wanted) {
  return access(inode, who, rights_by_mode(inode, who), wanted);
}

const Principal root{.uid = 0, .gid = 0, .groups = {}};
const Principal owner{.uid = 1, .gid = 99, .groups = {}};
const Principal member{.uid = 2, .gid = 10, .groups = {}};
const Principal member_too{.uid = 2, .gid = 99, .groups = {7, 10}};
const Principal other{.uid = 3, .gid = 99, .groups = {7, 8}};

TEST(Permission, first_class_that_fits_decides) {
  for (uint32_t mode = 0; mode < 01000; ++mode) {
    const InodeRow file = inode_of(FileType::regular, mode);
    for (uint32_t bits = 0; bits < 8; ++bits) {
      const uint32_t wanted = ((bits & 4U) != 0 ? may_read : 0U) | ((bits & 2U) != 0 ? may_write : 0U) |
                              ((bits & 1U) != 0 ? may_execute : 0U);
      EXPECT_EQ(may(file, owner, wanted), (bits & ~(mode >> 6U)) == 0);
      EXPECT_EQ(may(file, member, wanted), (bits & ~(mode >> 3U)) == 0);
      EXPECT_EQ(may(file, member_too, wanted), (bits & ~(mode >> 3U)) == 0);
      EXPECT_EQ(may(file, other, wanted), (bits & ~mode) == 0);
    }
  }
}

TEST(Permission, root_executes_only_what_somebody_may_execute) {
  EXPECT_TRUE(may(inode_of(FileType::regular, 0), root, may_read | may_write));
  EXPECT_FALSE(may(inode_of(FileType::regular, 0666), root, may_execute));
  EXPECT_TRUE(may(inode_of(FileType::regular, 0001), root, may_execute));
  EXPECT_TRUE(may(inode_of(FileType::directory, 0), root, may_read | may_write | may_execute));
}

TEST(Permission, data_of_an_open_file) {
  EXPECT_TRUE(may(inode_of(FileType::regular, 0), owner, may_read | may_write, Check::data));
  EXPECT_FALSE(may(inode_of(FileType::regular, 0), owner, may_read));
  EXPECT_FALSE(may(inode_of(FileType::regular, 0), other, may_read, Check::data));
  EXPECT_TRUE(may(inode_of(FileType::regular, 0711), other, may_read, Check::data));
  EXPECT_FALSE(may(inode_of(FileType::regular, 0711), other, may_read));
  EXPECT_FALSE(may(inode_of(FileType::regular, 0711), other, may_write, Check::data));
  EXPECT_FALSE(may(inode_of(FileType::regular, 0600), owner, may_execute, Check::data));
  EXPECT_FALSE(may(inode_of(FileType::directory, 0), owner, may_read, Check::data));
}

TEST(AccessMask, of_extended_attributes) {
  constexpr uint32_t all = access_xattr_read | access_xattr_write | access_xattr_list;
  const InodeRow file = inode_of(FileType::regular, 0642), sticky = inode_of(FileType::directory, 01777);
  EXPECT_EQ(access_by_mode(file, owner, all).supported, all);
  EXPECT_EQ(access_by_mode(file, owner, all).allowed, all);
  EXPECT_EQ(access_by_mode(file, member, all).allowed, access_xattr_read | access_xattr_list);
  EXPECT_EQ(access_by_mode(file, other, all).allowed, access_xattr_write);
  EXPECT_EQ(access_by_mode(file, other, access_xattr_list).supported, access_xattr_list);
  EXPECT_EQ(access_by_mode(sticky, owner, all).allowed, all);
  EXPECT_EQ(access_by_mode(sticky, root, all).allowed, all);
  EXPECT_EQ(access_by_mode(sticky, other, all).allowed, access_xattr_read | access_xattr_list);
  EXPECT_EQ(access_by_mode(sticky, other, access_modify).allowed, access_modify);
  for (const FileType type : {FileType::symlink, FileType::fifo, FileType::block_device})
    EXPECT_EQ(access_by_mode(inode_of(type, 0777), root, all).supported, 0U);
}

TEST(AccessMask, of_a_file) {
  constexpr uint32_t all = 0x3f;
  const InodeRow file = inode_of(FileType::regular, 0754);
  EXPECT_EQ(access_by_mode(file, owner, all).supported,
            access_read | access_modify | access_extend | access_execute);
  EXPECT_EQ(access_by_mode(file, owner, all).allowed,
            access_read | access_modify | access_extend | access_execute);
  EXPECT_EQ(access_by_mode(file, member, all).allowed, access_read | access_execute);
  EXPECT_EQ(access_by_mode(file, other, all).allowed, access_read);
  EXPECT_EQ(access_by_mode(file, other, access_modify).supported, access_modify);
  EXPECT_EQ(access_by_mode(file, other, access_modify).allowed, 0U);
  EXPECT_EQ(access_by_mode(file, other, 0).supported, 0U);
}

TEST(AccessMask, of_a_directory) {
  constexpr uint32_t all = 0x3f;
  const uint32_t change = access_modify | access_extend | access_delete;
  const InodeRow directory = inode_of(FileType::directory, 0751);
  EXPECT_EQ(access_by_mode(directory, owner, all).supported, access_read | access_lookup | change);
  EXPECT_EQ(access_by_mode(directory, owner, all).allowed, access_read | access_lookup | change);
  EXPECT_EQ(access_by_mode(directory, member, all).allowed, access_read | access_lookup);
  EXPECT_EQ(access_by_mode(directory, other, all).allowed, access_lookup);
  // Entries change only where they can be looked up.
  EXPECT_EQ(access_by_mode(inode_of(FileType::directory, 0600), owner, all).allowed, access_read);
}

TEST(AccessMask, unknown_bits_are_not_supported) {
  EXPECT_EQ(access_by_mode(inode_of(FileType::regular, 0777), root, ~0U).supported & ~0x1ffU, 0U);
}

TEST(ClearSetId, by_others_than_root_and_not_on_directories) {
  const auto cleared = [](FileType type, uint32_t mode, const Principal& who) {
    InodeRow inode = inode_of(type, mode);
    clear_set_id(inode, who);
    return inode.mode;
  };
  EXPECT_EQ(cleared(FileType::regular, 06755, owner), 0755U);
  EXPECT_EQ(cleared(FileType::regular, 06755, root), 06755U);
  EXPECT_EQ(cleared(FileType::regular, 06745, owner), 02745U);
  EXPECT_EQ(cleared(FileType::directory, 06755, owner), 06755U);
}

TEST(CheckRegular, names_the_type) {
  const auto status = [](FileType type) { return testing::status_of(check_regular(inode_of(type, 0))); };
  EXPECT_EQ(status(FileType::regular), Status::ok);
  EXPECT_EQ(status(FileType::directory), Status::is_directory);
  EXPECT_EQ(status(FileType::symlink), Status::is_symlink);
  EXPECT_EQ(status(FileType::fifo), Status::wrong_type);
  EXPECT_EQ(status(FileType::socket), Status::wrong_type);
  EXPECT_EQ(status(FileType::block_device), Status::wrong_type);
  EXPECT_EQ(status(FileType::character_device), Status::wrong_type);
}

class AccessTest : public testing::NamesTest {};

TEST_P(AccessTest, of_stored_objects) {
  const InodeId file = names_.file(root_, "f", 0604);
  EXPECT_EQ(names_.as(5).access(file, 0x3f).allowed, access_read);
  EXPECT_EQ(testing::status_of(fx_.run_to_end(
                [&](auto& run) { return access(fx_.fs(), run, root, InodeId(1U << 20U), access_read); })),
            Status::stale);
}

PERDURE_NAMES_TEST(AccessTest);

}  // namespace
}  // namespace perdure::fs
