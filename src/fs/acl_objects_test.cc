// Objects with access control lists: setting, modes, inheritance, and what others may do.
#include "fs/acl.h"
#include "fs/readdir.h"
#include "fs/testing/names_test_base.h"

namespace perdure::fs {
namespace {

using testing::status_of;
using Who = AclRow::Who;

AclEntry user(uint32_t uid, uint32_t mask, uint32_t flags = 0) {
  return {.who = Who::user, .id = uid, .flags = flags, .mask = mask};
}
AclEntry no_user(uint32_t uid, uint32_t mask, uint32_t flags = 0) {
  return {.deny = true, .who = Who::user, .id = uid, .flags = flags, .mask = mask};
}

class AclObjects : public testing::NamesTest {
 protected:
  // A directory of user 1's, with what a mode of 0700 gives him, and these entries.
  InodeId directory(std::string_view name, std::vector<AclEntry> entries, uint32_t mode = 0700) {
    const InodeId id = names_.mkdir(root_, name, mode);
    EXPECT_EQ(names_.set(id, {.uid = 1, .gid = 100}), Status::ok);
    EXPECT_EQ(give(id, std::move(entries)), Status::ok);
    return id;
  }
  // Puts these entries in front of what the object shows now.
  Status give(InodeId id, std::vector<AclEntry> entries) {
    Acl acl = shown(id);
    acl.entries.insert(acl.entries.begin(), entries.begin(), entries.end());
    return names_.set(id, {.acl = acl});
  }
  Acl shown(InodeId id) {
    const auto get = [&](state::Run& run) -> Outcome<Acl> {
      const InodeRow inode = TRY(fx_.fs().load(run, id));
      return get_acl(fx_.fs(), run, id, inode);
    };
    return fx_.run_to_end(get).value();
  }
  bool has_row(InodeId id) { return (names_.row(id).flags & InodeRow::has_acl) != 0; }
  size_t rows() {
    size_t count = 0;
    for (const std::string& line : fx_.dump()) count += line.starts_with("acl ") ? 1U : 0U;
    return count;
  }
  static CreateRequest request(FileType type, std::optional<uint32_t> mode,
                               std::optional<uint32_t> umask = {}) {
    CreateRequest request{.type = type};
    request.attributes.mode = mode;
    request.attributes.umask = umask;
    if (type == FileType::symlink) request.target = "target";
    return request;
  }
  InodeId made(InodeId in, std::string_view name, const CreateRequest& request, uint32_t uid = 1) {
    return names_.as(uid).create(in, name, request).value().inode;
  }
};

TEST_P(AclObjects, AListAndItsMode) {
  const InodeId file = names_.file(root_, "f", 04640);
  EXPECT_EQ(shown(file), acl_of_mode(FileType::regular, 0640));
  EXPECT_EQ(rows(), 0U);
  EXPECT_EQ(give(file, {user(7, may_read | may_write | may_append)}), Status::ok);
  EXPECT_TRUE(has_row(file));
  EXPECT_EQ(names_.row(file).mode, 04640U);
  EXPECT_EQ(names_.as(7).access(file, 0x3f).allowed, access_read | access_modify | access_extend);
  // A mode takes from the user what it takes from the group.
  EXPECT_EQ(names_.set(file, {.mode = 0640}), Status::ok);
  EXPECT_EQ(names_.as(7).access(file, 0x3f).allowed, access_read);
  // Without a word about the lower nine bits the list stays.
  const Acl before = shown(file);
  EXPECT_EQ(names_.set(file, {.mode = 07777, .mode_mask = 03000}), Status::ok);
  EXPECT_EQ(names_.row(file).mode, 03640U);
  EXPECT_EQ(shown(file), before);
  EXPECT_EQ(names_.set(file, {.mode = 0, .mode_mask = 0070}), Status::ok);
  EXPECT_EQ(names_.row(file).mode, 03600U);
  EXPECT_EQ(names_.as(7).access(file, 0x3f).allowed, 0U);
  // A list that says what a mode says is a mode.
  EXPECT_EQ(names_.set(file, {.acl = acl_of_mode(FileType::regular, 0751)}), Status::ok);
  EXPECT_FALSE(has_row(file));
  EXPECT_EQ(names_.row(file).mode, 03751U);
  EXPECT_EQ(rows(), 0U);
  // No entry allows anything, but its owner still may change that.
  EXPECT_EQ(names_.set(file, {.uid = 1, .acl = Acl{}}), Status::ok);
  EXPECT_EQ(names_.row(file).mode & 0777U, 0U);
  EXPECT_EQ(names_.as(1).set(file, {.mode = 0600}), Status::ok);
}

TEST_P(AclObjects, ModeAndListTogether) {
  const InodeId file = names_.file(root_, "f", 0600);
  const Acl list{.flags = 0, .entries = {user(7, may_read), {.who = Who::everyone, .mask = may_read}}};
  EXPECT_EQ(names_.set(file, {.mode = 04777, .acl = list}), Status::ok);
  EXPECT_EQ(names_.row(file).mode, 04444U) << "first the mode, then the list";
  EXPECT_EQ(shown(file), list);
  const InodeId link = names_.symlink(root_, "l");
  EXPECT_EQ(names_.set(link, {.acl = list}), Status::invalid_argument);
  EXPECT_EQ(names_.set(link, {.mode = 0}), Status::ok);
  EXPECT_EQ(names_.row(link).mode, 0777U);
}

TEST_P(AclObjects, AListGoesWithItsObject) {
  const InodeId file = names_.file(root_, "f"), dir = directory("d", {user(7, may_read)});
  EXPECT_EQ(give(file, {user(7, may_read)}), Status::ok);
  EXPECT_EQ(rows(), 2U);
  fx_.open.insert(file);
  EXPECT_EQ(names_.remove(root_, "f"), Status::ok);
  EXPECT_EQ(rows(), 2U) << "still open";
  fx_.open.clear();
  EXPECT_EQ(names_.release(file), Status::ok);
  EXPECT_EQ(rows(), 1U);
  names_.mkdir(root_, "e");
  EXPECT_EQ(names_.rename(root_, "e", root_, "d"), Status::ok);
  EXPECT_EQ(rows(), 0U);
  EXPECT_FALSE(names_.exists(dir));
}

TEST_P(AclObjects, WhoMayChangeIt) {
  const InodeId file = names_.file(root_, "f", 0604);
  ASSERT_EQ(names_.set(file, {.uid = 1, .gid = 100}), Status::ok);
  EXPECT_EQ(names_.as(7, 200).set(file, {.acl = Acl{}}), Status::not_permitted);
  EXPECT_EQ(give(file, {user(7, may_write_acl), user(8, may_write_owner), user(9, may_write_attributes),
                        no_user(1, may_write_acl | may_read_acl)}),
            Status::ok);
  const NewTime given{.given = true, .ns = 5};
  EXPECT_EQ(names_.as(7, 200).set(file, {.mode = 07604}), Status::ok);
  EXPECT_EQ(names_.row(file).mode, 0604U) << "none but its owner makes it act as him";
  EXPECT_EQ(names_.as(7, 200).set(file, {.mtime = given}), Status::not_permitted);
  EXPECT_EQ(names_.as(7, 200).set(file, {.uid = 7}), Status::not_permitted);
  EXPECT_EQ(names_.as(9, 200).set(file, {.mtime = given}), Status::ok);
  EXPECT_EQ(names_.as(9, 200).set(file, {.mode = 0}), Status::not_permitted);
  EXPECT_EQ(names_.as(6, 200).set(file, {.mtime = NewTime{}}), Status::access_denied);
  EXPECT_EQ(names_.as(9, 200).set(file, {.mtime = NewTime{}}), Status::ok);
  EXPECT_EQ(names_.as(8, 200).set(file, {.uid = 7}), Status::not_permitted) << "only to himself";
  EXPECT_EQ(names_.as(8, 200).set(file, {.gid = 300}), Status::not_permitted);
  EXPECT_EQ(names_.as(1).set(file, {.acl = shown(file)}), Status::ok) << "the owner always";
  EXPECT_EQ(names_.as(8, 200).set(file, {.uid = 8, .gid = 200}), Status::ok);
  EXPECT_EQ(names_.row(file).uid, 8U);
}

TEST_P(AclObjects, WhoMaySeeIt) {
  const InodeId file = names_.file(root_, "f", 0600);
  ASSERT_EQ(names_.set(file, {.uid = 1, .acl = Acl{.flags = 0, .entries = {user(7, may_read_attributes)}}}),
            Status::ok);
  const auto sees = [&](uint32_t uid, uint32_t wanted) {
    return status_of(fx_.run_to_end([&](state::Run& run) -> Outcome<void> {
      const InodeRow inode = TRY(fx_.fs().load(run, file));
      return check_seeing(fx_.fs(), run, file, inode, testing::FsFixture::user(uid), wanted);
    }));
  };
  EXPECT_EQ(sees(7, may_read_attributes), Status::ok);
  EXPECT_EQ(sees(7, may_read_acl), Status::access_denied);
  EXPECT_EQ(sees(6, may_read_attributes), Status::access_denied);
  EXPECT_EQ(sees(1, may_read_attributes | may_read_acl), Status::ok);
  EXPECT_EQ(sees(0, may_read_attributes | may_read_acl), Status::ok);
}

TEST_P(AclObjects, DirectoriesAreSearchedReadAndAddedTo) {
  const InodeId dir = directory("d", {user(5, may_execute | may_write), user(6, may_execute | may_append),
                                      user(7, may_execute), user(8, may_read), user(9, may_write)});
  const auto make = [&](uint32_t uid, FileType type, std::string_view name) {
    return status_of(names_.as(uid, 200).create(dir, name, request(type, 0777)));
  };
  EXPECT_EQ(make(5, FileType::regular, "f"), Status::ok);
  EXPECT_EQ(make(5, FileType::symlink, "l"), Status::ok);
  EXPECT_EQ(make(5, FileType::directory, "x"), Status::access_denied);
  EXPECT_EQ(make(6, FileType::directory, "s"), Status::ok);
  EXPECT_EQ(make(6, FileType::fifo, "x"), Status::access_denied);
  EXPECT_EQ(make(7, FileType::regular, "x"), Status::access_denied);
  EXPECT_EQ(make(9, FileType::regular, "x"), Status::access_denied) << "it cannot be searched";
  EXPECT_EQ(names_.as(7, 200).lookup_status(dir, "f"), Status::ok);
  EXPECT_EQ(names_.as(8, 200).lookup_status(dir, "f"), Status::access_denied);
  const auto list = [&](uint32_t uid) {
    return status_of(fx_.run_to_end([&](state::Run& run) {
      return readdir(fx_.fs(), run, testing::FsFixture::user(uid, 200), dir, 0, Ahead::entries, 10,
                     [](const ListedEntry&) -> Outcome<bool> { return true; });
    }));
  };
  EXPECT_EQ(list(8), Status::ok);
  EXPECT_EQ(list(7), Status::access_denied);
  EXPECT_EQ(names_.as(5, 200).link(names_.find(dir, "f"), dir, "g"), Status::ok);
  EXPECT_EQ(names_.as(6, 200).link(names_.find(dir, "f"), dir, "h"), Status::access_denied);
  EXPECT_EQ(names_.as(5, 200).access(dir, 0x3f).allowed,
            access_lookup | access_modify | access_extend | access_delete);
  EXPECT_EQ(names_.as(6, 200).access(dir, 0x3f).allowed, access_lookup | access_extend);
  EXPECT_EQ(names_.as(9, 200).access(dir, 0x3f).allowed, 0U);
}

// RFC 8881 §6.2.1.3.2, every combination: what the directory and the object say of deletion, and whether one
// may add to the directory.
TEST_P(AclObjects, Deletion) {
  enum Says : uint8_t { nothing, allows, denies };
  for (const bool add : {false, true})
    for (const Says directory_says : {nothing, allows, denies})
      for (const Says object_says : {nothing, allows, denies}) {
        std::vector<AclEntry> of_directory = {user(7, may_execute | (add ? may_write : 0U))}, of_object;
        const auto say = [](std::vector<AclEntry>& list, Says what, uint32_t right) {
          if (what == allows) list.push_back(user(7, right));
          if (what == denies) list.push_back(no_user(7, right));
        };
        say(of_directory, directory_says, may_delete_child);
        say(of_object, object_says, may_delete);
        const InodeId dir = directory("d", of_directory);
        const InodeId file = made(dir, "f", request(FileType::regular, 0644));
        if (!of_object.empty()) {
          ASSERT_EQ(give(file, of_object), Status::ok);
        }
        const bool may = directory_says == allows || object_says == allows ||
                         (directory_says == nothing && object_says == nothing && add);
        EXPECT_EQ(names_.as(7, 200).rename(dir, "f", dir, "g"),
                  may && add ? Status::ok : Status::access_denied);
        EXPECT_EQ(names_.as(7, 200).remove(dir, may && add ? "g" : "f"),
                  may ? Status::ok : Status::access_denied)
            << add << directory_says << object_says;
        if (!may) {
          ASSERT_EQ(names_.remove(dir, "f"), Status::ok);
        }
        ASSERT_EQ(names_.remove(root_, "d"), Status::ok);
      }
}

TEST_P(AclObjects, TheStickyBitHolds) {
  const InodeId dir = directory("d", {user(7, may_execute | may_write | may_delete_child)}, 01700);
  const InodeId file = made(dir, "f", request(FileType::regular, 0644));
  ASSERT_EQ(give(file, {user(7, may_delete)}), Status::ok);
  EXPECT_EQ(names_.as(7, 200).remove(dir, "f"), Status::access_denied);
  made(dir, "g", request(FileType::regular, 0644), 7);
  EXPECT_EQ(names_.as(7, 200).remove(dir, "g"), Status::ok);
  EXPECT_EQ(names_.as(1).remove(dir, "f"), Status::ok);
}

TEST_P(AclObjects, RenameBetweenDirectories) {
  const uint32_t all = may_execute | may_write | may_append | may_delete_child;
  const InodeId from = directory("from", {user(7, all)});
  const InodeId files = directory("files", {user(7, may_execute | may_write)});
  const InodeId directories = directory("directories", {user(7, may_execute | may_append)});
  const auto make = [&](FileType type, std::string_view name) { made(from, name, request(type, 0777)); };
  make(FileType::regular, "f"), make(FileType::regular, "f2"), make(FileType::directory, "d");
  testing::Names seven = names_.as(7, 200);
  EXPECT_EQ(seven.rename(from, "f", directories, "f"), Status::access_denied);
  EXPECT_EQ(seven.rename(from, "f", files, "f"), Status::ok);
  EXPECT_EQ(seven.rename(from, "d", files, "d"), Status::access_denied);
  EXPECT_EQ(seven.rename(from, "d", directories, "d"), Status::ok);
  EXPECT_EQ(seven.rename(directories, "d", from, "d"), Status::access_denied) << "it may not be removed";
  EXPECT_EQ(seven.rename(from, "f2", files, "f"), Status::ok) << "over what nobody's list protects";
  make(FileType::regular, "f3");
  ASSERT_EQ(give(names_.find(files, "f"), {no_user(7, may_delete)}), Status::ok);
  EXPECT_EQ(seven.rename(from, "f3", files, "f"), Status::access_denied);
}

TEST_P(AclObjects, Inheritance) {
  const uint32_t both = inherit_to_files | inherit_to_directories;
  const InodeId dir = directory("d", {user(7, may_read | may_write | may_append | may_execute, both)});
  const InodeId file = made(dir, "f", request(FileType::regular, 0666, 022));
  EXPECT_EQ(names_.row(file).mode, 0644U);
  EXPECT_EQ(names_.as(7, 200).access(file, 0x3f).allowed, access_read | access_modify | access_extend);
  EXPECT_EQ(names_.as(8, 200).access(file, 0x3f).allowed, access_read);
  const InodeId masked = made(dir, "m", request(FileType::regular, 0644));
  EXPECT_EQ(names_.as(7, 200).access(masked, 0x3f).allowed, access_read);
  const InodeId private_one = made(dir, "p", request(FileType::regular, 0600));
  EXPECT_EQ(names_.as(7, 200).access(private_one, 0x3f).allowed, 0U);
  EXPECT_FALSE(has_row(private_one)) << "what is left is a mode";
  // Without a mode: as it is.
  const InodeId plain = made(dir, "n", request(FileType::regular, {}));
  EXPECT_EQ(shown(plain).entries,
            (std::vector{user(7, may_read | may_write | may_append | may_execute, is_inherited)}));
  EXPECT_EQ(names_.row(plain).mode, 0U);
  // Unless nothing is to be inherited.
  CreateRequest exclusive = request(FileType::regular, {});
  exclusive.mode = CreateMode::exclusive;
  exclusive.inherits = false;
  EXPECT_EQ(names_.row(made(dir, "x", exclusive)).mode, 0600U);
  // A list of its own.
  CreateRequest own = request(FileType::regular, 0640);
  own.attributes.acl = Acl{.flags = 0, .entries = {user(8, may_read)}};
  EXPECT_EQ(shown(made(dir, "o", own)), *own.attributes.acl);
  // Through directories, and past symlinks.
  const InodeId below = made(dir, "s", request(FileType::directory, 0777, 077));
  const InodeId deep = made(below, "f", request(FileType::regular, 0666, 077));
  EXPECT_EQ(names_.row(below).mode, 0700U);
  EXPECT_EQ(names_.as(7, 200).access(deep, 0x3f).allowed, access_read | access_modify | access_extend);
  EXPECT_FALSE(has_row(made(dir, "l", request(FileType::symlink, {}))));
  // What children inherit is no matter of the directory's mode.
  EXPECT_EQ(names_.set(dir, {.mode = 0700}), Status::ok);
  EXPECT_EQ(names_.as(7, 200).lookup_status(dir, "f"), Status::access_denied);
  const InodeId later = made(dir, "later", request(FileType::regular, 0666, 022));
  EXPECT_EQ(names_.as(7, 200).access(later, 0x3f).allowed, access_read | access_modify | access_extend);
}

TEST_P(AclObjects, NothingInheritableIsTheModeAlone) {
  const InodeId dir =
      directory("d", {user(7, may_read), user(8, may_read, inherit_to_directories | inherit_only)});
  const InodeId file = made(dir, "f", request(FileType::regular, 0666, 022));
  EXPECT_EQ(names_.row(file).mode, 0644U);
  EXPECT_FALSE(has_row(file));
}

PERDURE_NAMES_TEST(AclObjects);

}  // namespace
}  // namespace perdure::fs
