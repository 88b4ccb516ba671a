#include "fs/create.h"

#include "fs/testing/names_test_base.h"

namespace perdure::fs {
namespace {

using ::testing::IsEmpty;
using testing::status_of;

constexpr FileType all_types[] = {
    FileType::regular, FileType::directory, FileType::block_device, FileType::character_device,
    FileType::symlink, FileType::socket,    FileType::fifo};

CreateRequest request_of(FileType type, CreateMode mode = CreateMode::guarded, uint64_t verifier = 0) {
  CreateRequest request;
  request.type = type;
  request.mode = mode;
  request.verifier = verifier;
  if (type == FileType::symlink) request.target = "somewhere/else";
  return request;
}

class CreateTest : public testing::NamesTest {
 protected:
  Status create_status(const testing::Names& names, InodeId directory, std::string_view name,
                       const CreateRequest& request) {
    return status_of(testing::Names(names).create(directory, name, request));
  }
};

TEST_P(CreateTest, makes_each_type) {
  for (const FileType type : all_types) {
    const std::string name = fmt::format("type {}", static_cast<int>(type));
    CreateRequest request = request_of(type);
    request.attributes.mode = 0640;
    request.device_major = 8;
    request.device_minor = 3;
    const InodeRow before = names_.row(root_);
    const auto created = names_.create(root_, name, request);
    ASSERT_TRUE(created) << name;
    EXPECT_TRUE(created->created);
    EXPECT_TRUE(created->own);
    EXPECT_EQ(created->type, type);
    EXPECT_EQ(names_.find(root_, name), created->inode);

    const InodeRow row = names_.row(created->inode), directory = names_.row(root_);
    const bool is_directory = type == FileType::directory;
    const bool device = type == FileType::block_device || type == FileType::character_device;
    EXPECT_EQ(row.type, type);
    EXPECT_EQ(row.links, is_directory ? 2U : 1U);
    EXPECT_EQ(row.mode, type == FileType::symlink ? 0777U : 0640U);
    EXPECT_EQ(row.device_major, device ? 8U : 0U);
    EXPECT_EQ(row.device_minor, device ? 3U : 0U);
    EXPECT_EQ(row.size, type == FileType::symlink ? request.target.size() : 0U);
    EXPECT_EQ(row.parent, is_directory ? root_ : InodeId(0));
    const int64_t now = row.btime_ns;
    EXPECT_GT(now, before.ctime_ns);
    EXPECT_TRUE(row.atime_ns == now && row.mtime_ns == now && row.ctime_ns == now);
    if (type == FileType::symlink) {
      EXPECT_EQ(names_.target(created->inode), request.target);
    }

    EXPECT_EQ(directory.size, before.size + 1);
    EXPECT_EQ(directory.links, before.links + (is_directory ? 1U : 0U));
    EXPECT_EQ(directory.mtime_ns, now);
    EXPECT_EQ(directory.ctime_ns, now);
    EXPECT_EQ(directory.atime_ns, before.atime_ns);
    EXPECT_EQ(created->directory.before, before.change);
    EXPECT_EQ(created->directory.after, directory.change);
    EXPECT_NE(created->directory.before, created->directory.after);
  }
}

TEST_P(CreateTest, guarded_fails_whatever_is_there) {
  for (const FileType there : all_types) {
    const std::string name = fmt::format("{}", static_cast<int>(there));
    ASSERT_EQ(create_status(names_, root_, name, request_of(there)), Status::ok);
    const std::vector<std::string> before = fx_.dump();
    for (const FileType type : all_types)
      EXPECT_EQ(create_status(names_, root_, name, request_of(type)), Status::exists);
    EXPECT_EQ(fx_.dump(), before);
  }
}

TEST_P(CreateTest, unchecked_takes_what_is_there_as_it_is) {
  for (const FileType there : all_types) {
    const std::string name = fmt::format("{}", static_cast<int>(there));
    const InodeId made = names_.create(root_, name, request_of(there)).value().inode;
    const std::vector<std::string> before = fx_.dump();
    CreateRequest request = request_of(FileType::regular, CreateMode::unchecked);
    request.attributes.mode = 0777;
    request.attributes.size = 0;
    const auto again = names_.create(root_, name, request);
    ASSERT_TRUE(again);
    EXPECT_EQ(again->inode, made);
    EXPECT_EQ(again->type, there);
    EXPECT_FALSE(again->created);
    EXPECT_FALSE(again->own);
    EXPECT_EQ(again->directory.before, again->directory.after);
    EXPECT_EQ(fx_.dump(), before);
  }
}

TEST_P(CreateTest, exclusive_knows_its_own_file_by_the_verifier) {
  const auto first = names_.create(root_, "f", request_of(FileType::regular, CreateMode::exclusive, 42));
  ASSERT_TRUE(first);
  const auto again = names_.create(root_, "f", request_of(FileType::regular, CreateMode::exclusive, 42));
  ASSERT_TRUE(again);
  EXPECT_EQ(again->inode, first->inode);
  EXPECT_FALSE(again->created);
  EXPECT_TRUE(again->own);
  EXPECT_EQ(create_status(names_, root_, "f", request_of(FileType::regular, CreateMode::exclusive, 43)),
            Status::exists);
  EXPECT_EQ(create_status(names_, root_, "f", request_of(FileType::regular, CreateMode::exclusive, 0)),
            Status::exists);
}

TEST_P(CreateTest, exclusive_with_verifier_zero_owns_nothing_else) {
  names_.file(root_, "plain");
  const CreateRequest zero = request_of(FileType::regular, CreateMode::exclusive, 0);
  EXPECT_EQ(create_status(names_, root_, "plain", zero), Status::exists);
  EXPECT_EQ(create_status(names_, root_, "f", zero), Status::ok);
  EXPECT_TRUE(names_.create(root_, "f", zero).value().own);
}

TEST_P(CreateTest, exclusive_fails_on_other_types) {
  for (const FileType there : all_types) {
    if (there == FileType::regular) continue;
    const std::string name = fmt::format("{}", static_cast<int>(there));
    ASSERT_EQ(create_status(names_, root_, name, request_of(there)), Status::ok);
    EXPECT_EQ(create_status(names_, root_, name, request_of(FileType::regular, CreateMode::exclusive, 0)),
              Status::exists);
  }
}

TEST_P(CreateTest, needs_write_and_search_permission_of_the_directory) {
  const struct {
    uint32_t mode;
    Status create, exists;
  } cases[] = {{0707, Status::ok, Status::exists},
               {0703, Status::ok, Status::exists},
               {0705, Status::access_denied, Status::exists},
               {0706, Status::access_denied, Status::access_denied}};
  for (const auto& c : cases) {
    const InodeId directory = names_.mkdir(root_, fmt::format("{:o}", c.mode), c.mode);
    names_.file(directory, "there");
    EXPECT_EQ(create_status(names_.as(5), directory, "new", {}), c.create);
    EXPECT_EQ(create_status(names_.as(5), directory, "there", {}), c.exists);
  }
}

TEST_P(CreateTest, refuses_bad_places_and_names) {
  const InodeId file = names_.file(root_, "f");
  EXPECT_EQ(create_status(names_, file, "x", {}), Status::not_directory);
  EXPECT_EQ(create_status(names_, names_.symlink(root_, "l"), "x", {}), Status::not_directory);
  EXPECT_EQ(create_status(names_, InodeId(12345), "x", {}), Status::stale);
  EXPECT_EQ(create_status(names_, root_, "", {}), Status::invalid_argument);
  EXPECT_EQ(create_status(names_, root_, "..", {}), Status::bad_name);
  EXPECT_EQ(create_status(names_, root_, "a/b", {}), Status::bad_character);
  EXPECT_EQ(create_status(names_, root_, std::string(256, 'n'), {}), Status::name_too_long);
  const InodeId gone = names_.mkdir(root_, "gone");
  EXPECT_EQ(names_.remove(root_, "gone"), Status::ok);
  EXPECT_EQ(create_status(names_, gone, "x", {}), Status::stale);
}

TEST_P(CreateTest, symlink_targets) {
  CreateRequest request = request_of(FileType::symlink);
  request.target = "";
  EXPECT_EQ(create_status(names_, root_, "l", request), Status::invalid_argument);
  request.target = std::string_view("a\0b", 3);
  EXPECT_EQ(create_status(names_, root_, "l", request), Status::invalid_argument);
  const std::string longest(symlink_bytes_max, 't'), longer(symlink_bytes_max + 1, 't');
  request.target = longer;
  EXPECT_EQ(create_status(names_, root_, "l", request), Status::name_too_long);
  request.target = longest;
  EXPECT_EQ(create_status(names_, root_, "l", request), Status::ok);
  EXPECT_EQ(names_.target(names_.find(root_, "l")), longest);
}

TEST_P(CreateTest, only_root_makes_devices) {
  const InodeId directory = names_.mkdir(root_, "d", 0777);
  EXPECT_EQ(create_status(names_.as(5), directory, "b", request_of(FileType::block_device)),
            Status::not_permitted);
  EXPECT_EQ(create_status(names_.as(5), directory, "c", request_of(FileType::character_device)),
            Status::not_permitted);
  EXPECT_EQ(create_status(names_.as(5), directory, "f", request_of(FileType::fifo)), Status::ok);
  EXPECT_EQ(create_status(names_.as(5), directory, "s", request_of(FileType::socket)), Status::ok);
}

TEST_P(CreateTest, owner_and_group) {
  const InodeId directory = names_.mkdir(root_, "d", 0777);
  Principal who = fx_.user(5, 50);
  who.groups = {51, 52};
  CreateRequest request;
  const auto row_of = [&](std::string_view name) { return names_.row(names_.find(directory, name)); };
  EXPECT_EQ(create_status(names_.as(who), directory, "plain", request), Status::ok);
  EXPECT_EQ(row_of("plain").uid, 5U);
  EXPECT_EQ(row_of("plain").gid, 50U);
  request.attributes.gid = 52;
  request.attributes.uid = 5;
  EXPECT_EQ(create_status(names_.as(who), directory, "own group", request), Status::ok);
  EXPECT_EQ(row_of("own group").gid, 52U);
  request.attributes.gid = 53;
  EXPECT_EQ(create_status(names_.as(who), directory, "x", request), Status::not_permitted);
  request.attributes.gid = {};
  request.attributes.uid = 6;
  EXPECT_EQ(create_status(names_.as(who), directory, "x", request), Status::not_permitted);
  request.attributes.gid = 99;
  EXPECT_EQ(create_status(names_, directory, "by root", request), Status::ok);
  EXPECT_EQ(row_of("by root").uid, 6U);
  EXPECT_EQ(row_of("by root").gid, 99U);
}

TEST_P(CreateTest, set_gid_directory_passes_on_its_group) {
  const InodeId directory = names_.mkdir(root_, "d", 0777);
  ASSERT_EQ(names_.set(directory, {.mode = 02777, .gid = 70}), Status::ok);
  auto user = names_.as(5, 50);
  const InodeRow file = names_.row(user.file(directory, "f", 0644));
  EXPECT_EQ(file.gid, 70U);
  EXPECT_EQ(file.mode, 0644U);
  const InodeRow below = names_.row(user.mkdir(directory, "sub", 0755));
  EXPECT_EQ(below.gid, 70U);
  EXPECT_EQ(below.mode, 02755U);
  // A program for a group that is not the creator's own does not act as that group.
  EXPECT_EQ(names_.row(user.file(directory, "program", 02755)).mode, 0755U);
  EXPECT_EQ(names_.row(names_.as(5, 70).file(directory, "own program", 02755)).mode, 02755U);
}

TEST_P(CreateTest, initial_attributes) {
  CreateRequest request;
  EXPECT_EQ(names_.row(names_.create(root_, "private", request).value().inode).mode, 0600U);
  EXPECT_EQ(names_.row(names_.create(root_, "private d", request_of(FileType::directory)).value().inode).mode,
            0700U);
  request.attributes = {.mode = 0xffff1ff, .size = 12345, .atime = NewTime{true, 7}, .mtime = NewTime{}};
  const InodeRow row = names_.row(names_.create(root_, "f", request).value().inode);
  EXPECT_EQ(row.mode, 0xffff1ffU & 07777U);
  EXPECT_EQ(row.size, 12345U);
  EXPECT_EQ(row.blocks, 0U);
  EXPECT_EQ(row.atime_ns, 7);
  EXPECT_EQ(row.mtime_ns, row.ctime_ns);
  request.attributes = {.size = file_bytes_max + 1};
  EXPECT_EQ(create_status(names_, root_, "x", request), Status::too_big);
  request.type = FileType::directory;
  request.attributes = {.size = 0};
  EXPECT_EQ(create_status(names_, root_, "x", request), Status::invalid_argument);
  request.type = FileType::fifo;
  EXPECT_EQ(create_status(names_, root_, "x", request), Status::invalid_argument);
}

PERDURE_NAMES_TEST(CreateTest);

TEST(InodeIds, are_never_given_twice) {
  testing::FsFixture fx;
  testing::Names names(fx);
  std::set<InodeId> seen{fx.root()};
  for (int i = 0; i < 2500; ++i) {
    // Runs that are taken back must not confuse the limit, wherever they come.
    if (i % 7 == 0)
      fx.run_and_abandon([&](auto& run) {
        return create(fx.fs(), run, fx.superuser(), fx.root(), fmt::format("lost {}", i), {});
      });
    EXPECT_TRUE(seen.insert(names.file(fx.root(), std::to_string(i))).second);
    if (i % 600 == 599) {
      fx.checkpoint();
      fx.restart();
    }
    const VolumeRow& volume = *fx.fs().volumes.peek({fx.volume()});
    EXPECT_LT(seen.rbegin()->value & 0xffffffffffffU, volume.inode_limit);
    EXPECT_EQ(seen.rbegin()->value >> 48U, fx.volume().value - 1);
  }
}

TEST(Create, in_a_fresh_directory_never_faults) {
  testing::FsFixture fx({.needs_io_percent = 100, .check_abandoned = true});
  testing::Names names(fx);
  const InodeId directory = names.mkdir(fx.root(), "d");
  for (int i = 0; i < 100; ++i) {
    names.file(directory, std::to_string(i));
    EXPECT_EQ(fx.faults(), 0U);
    EXPECT_EQ(names.lookup_status(directory, "absent"), Status::no_entry);
    EXPECT_EQ(fx.faults(), 0U);
  }
  EXPECT_EQ(names.list(directory).size(), 100U);
  EXPECT_EQ(fx.faults(), 0U);
  fx.checkpoint();
  EXPECT_EQ(names.lookup_status(directory, "still absent"), Status::no_entry);
  EXPECT_EQ(fx.faults(), 0U);
}

}  // namespace
}  // namespace perdure::fs
