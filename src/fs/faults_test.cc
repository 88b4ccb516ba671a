// Every operation gives the same rows and the same outcome wherever it faults, and nothing when it is
// abandoned.
#include <algorithm>
#include <functional>
#include <regex>

#include "fs/link.h"
#include "fs/readdir.h"
#include "fs/testing/names_test_base.h"

namespace perdure::fs {
namespace {

using testing::FixtureOptions;
using testing::FsFixture;
using testing::Names;

// A tree with something of everything, and one operation on it. The same in every fixture, inode ids
// included.
struct Tree {
  explicit Tree(FsFixture& fixture) : fx(fixture), names(fixture) {
    a = names.mkdir(fx.root(), "a");
    b = names.mkdir(fx.root(), "b");
    deep = names.mkdir(names.mkdir(names.mkdir(b, "1"), "2"), "3");
    names.mkdir(names.mkdir(a, "m"), "below");
    names.mkdir(b, "empty");
    names.symlink(a, "link", "somewhere");
    f = names.file(a, "f", 04777);
    CHECK(names.link(f, b, "f too") == Status::ok);
    for (int i = 0; i < 5; ++i) names.file(a, fmt::format("file {}", i));
    open = names.file(a, "open");
    fx.open.insert(open);
    listed = names.mkdir(fx.root(), "listed");
    CHECK(names.set(listed, {.acl = list()}) == Status::ok);
    names.file(listed, "f");
    fx.checkpoint();
  }
  static Acl list() {
    const uint32_t inheritance = inherit_to_files | inherit_to_directories, all = all_rights;
    return {.flags = 0, .entries = {{.who = AclRow::Who::user, .id = 9, .flags = inheritance, .mask = all}}};
  }
  FsFixture& fx;
  Names names;
  InodeId a, b, deep, f, open;
  InodeId listed;  // with an access control list, as its file
};

using Operation = std::function<Outcome<std::string>(Tree&, state::Run&)>;
struct Case {
  const char* name;
  Operation operation;
  // Takes ids and change numbers before it has read all it needs. Those of an abandoned run are lost.
  bool several = false;
};

// The same rows but for ids and change numbers.
std::vector<std::string> without_numbers(std::vector<std::string> rows) {
  static const std::regex number("(inode|parent|directory|change)=[0-9]+");
  for (std::string& row : rows) row = std::regex_replace(row, number, "$1=?");
  std::sort(rows.begin(), rows.end());
  return rows;
}

std::string text(const ChangeInfo& info) {
  return fmt::format("{:x}-{:x}", info.before, info.after);
}

Operation creation(FileType type, const char* name, CreateMode mode = CreateMode::guarded) {
  return [=](Tree& t, state::Run& run) -> Outcome<std::string> {
    CreateRequest request;
    request.type = type;
    request.mode = mode;
    request.verifier = 5;
    request.target = "target";
    const Created made = TRY(create(t.fx.fs(), run, t.fx.superuser(), t.a, name, request));
    return fmt::format("{} {} {}", made.inode, made.created, text(made.directory));
  };
}

Operation removal(const char* name) {
  return [=](Tree& t, state::Run& run) -> Outcome<std::string> {
    const Removed removed = TRY(remove(t.fx.fs(), run, t.fx.superuser(), t.a, name));
    return fmt::format("{} {}", removed.inode, text(removed.directory));
  };
}

Operation renaming(const char* from, InodeId Tree::* to_directory, const char* to) {
  return [=](Tree& t, state::Run& run) -> Outcome<std::string> {
    const Renamed renamed = TRY(rename(t.fx.fs(), run, t.fx.superuser(), t.a, from, t.*to_directory, to));
    return fmt::format("{} {} {} {}", renamed.inode, renamed.replaced, text(renamed.from), text(renamed.to));
  };
}

Operation setting(InodeId Tree::* object, const SetAttributes& set) {
  return [=](Tree& t, state::Run& run) -> Outcome<std::string> {
    TRY(set_attributes(t.fx.fs(), run, t.fx.superuser(), t.*object, set));
    return std::string();
  };
}

const std::vector<Case>& cases() {
  static const std::vector<Case> all{
      {"create file", creation(FileType::regular, "new")},
      {"create directory", creation(FileType::directory, "new")},
      {"create symlink", creation(FileType::symlink, "new")},
      {"create what exists", creation(FileType::regular, "f")},
      {"create unchecked", creation(FileType::regular, "f", CreateMode::unchecked)},
      {"create exclusive", creation(FileType::regular, "f", CreateMode::exclusive)},
      {"create exclusive new", creation(FileType::regular, "new", CreateMode::exclusive)},
      {"remove file", removal("file 0")},
      {"remove one of two names", removal("f")},
      {"remove open file", removal("open")},
      {"remove symlink", removal("link")},
      {"remove full directory", removal("m")},
      {"remove nothing", removal("none")},
      {"rename file", renaming("file 0", &Tree::a, "new")},
      {"rename file elsewhere", renaming("file 0", &Tree::deep, "new")},
      {"rename over file", renaming("file 0", &Tree::a, "file 1")},
      {"rename over open file", renaming("file 0", &Tree::a, "open")},
      {"rename over own other name", renaming("f", &Tree::b, "f too")},
      {"rename directory deep down", renaming("m", &Tree::deep, "m")},
      {"rename directory over empty one", renaming("m", &Tree::b, "empty")},
      {"rename directory over full one", renaming("m", &Tree::b, "1")},
      {"rename nothing", renaming("none", &Tree::b, "x")},
      {"set mode", setting(&Tree::f, {.mode = 0600})},
      {"set size and owner", setting(&Tree::f, {.uid = 8, .size = 100})},
      {"set size of directory", setting(&Tree::a, {.size = 100})},
      {"set list", setting(&Tree::f, {.acl = Tree::list()})},
      {"set mode beside a list", setting(&Tree::listed, {.mode = 0750})},
      {"take a list away", setting(&Tree::listed, {.acl = acl_of_mode(FileType::directory, 0755)})},
      {"create where a list is inherited",
       [](Tree& t, state::Run& run) -> Outcome<std::string> {
         CreateRequest request;
         request.attributes.mode = 0666, request.attributes.umask = 022;
         return text(TRY(create(t.fx.fs(), run, FsFixture::user(9), t.listed, "new", request)).directory);
       }},
      {"remove what has a list",
       [](Tree& t, state::Run& run) -> Outcome<std::string> {
         return text(TRY(remove(t.fx.fs(), run, FsFixture::user(9), t.listed, "f")).directory);
       }},
      {"rename what has a list",
       [](Tree& t, state::Run& run) -> Outcome<std::string> {
         const Principal user = FsFixture::user(9);
         return text(TRY(rename(t.fx.fs(), run, user, t.listed, "f", t.listed, "g")).from);
       }},
      {"rename what has a list and may not go",
       [](Tree& t, state::Run& run) -> Outcome<std::string> {
         const Principal user = FsFixture::user(8);
         return text(TRY(rename(t.fx.fs(), run, user, t.listed, "f", t.listed, "g")).from);
       }},
      {"link",
       [](Tree& t, state::Run& run) -> Outcome<std::string> {
         return text(TRY(link(t.fx.fs(), run, t.fx.superuser(), t.f, t.deep, "new")));
       }},
      {"list",
       [](Tree& t, state::Run& run) -> Outcome<std::string> {
         std::string found;
         const EachEntry each = [&](const ListedEntry& entry) -> Outcome<bool> {
           const InodeRow row = TRY(t.fx.fs().load(run, entry.inode));
           found += fmt::format("{} {:x} ", entry.name, row.change);
           return true;
         };
         TRY(readdir(t.fx.fs(), run, t.fx.superuser(), t.a, 0, Ahead::inodes, 3, each));
         return found;
       }},
      {"a compound of several",
       [](Tree& t, state::Run& run) -> Outcome<std::string> {
         std::string all_of_it;
         all_of_it += TRY(creation(FileType::directory, "new")(t, run));
         all_of_it += TRY(renaming("new", &Tree::deep, "newer")(t, run));
         all_of_it += TRY(renaming("file 1", &Tree::a, "file 2")(t, run));
         all_of_it += TRY(removal("file 2")(t, run));
         all_of_it += TRY(removal("link")(t, run));
         return all_of_it;
       },
       true},
  };
  return all;
}

TEST(Faults, same_result_wherever_an_operation_faults) {
  for (const unsigned bits : {55U, 1U}) {
    for (const Case& c : cases()) {
      SCOPED_TRACE(c.name);
      FsFixture warm({.name_hash_bits = bits});
      FsFixture cold({.needs_io_percent = 100, .check_abandoned = true, .name_hash_bits = bits});
      Tree warm_tree(warm), cold_tree(cold);
      EXPECT_EQ(warm.dump(), cold.dump());
      cold.evict();
      const auto expected = warm.run_to_end([&](auto& run) { return c.operation(warm_tree, run); });
      const auto outcome = cold.run_to_end([&](auto& run) { return c.operation(cold_tree, run); });
      EXPECT_EQ(warm.faults(), 0U);
      EXPECT_GT(cold.faults(), 0U);
      ASSERT_EQ(outcome.has_value(), expected.has_value());
      if (!expected) {
        EXPECT_EQ(outcome.error().status(), expected.error().status());
      }
      if (c.several) {
        EXPECT_EQ(without_numbers(warm.dump()), without_numbers(cold.dump()));
      } else {
        EXPECT_EQ(outcome.value_or(""), expected.value_or(""));
        EXPECT_EQ(warm.dump(), cold.dump());
      }
      EXPECT_THAT(testing::check_names(cold), ::testing::IsEmpty());
    }
  }
}

TEST(Faults, an_abandoned_operation_leaves_nothing) {
  for (const Case& c : cases()) {
    SCOPED_TRACE(c.name);
    FsFixture fx;
    Tree tree(fx);
    const std::vector<std::string> before = fx.dump();
    EXPECT_TRUE(fx.run_and_abandon([&](auto& run) { return c.operation(tree, run); }));
    EXPECT_EQ(fx.dump(), before);
    // And what it leaves does not disturb the store either.
    fx.checkpoint();
    fx.evict();
    EXPECT_EQ(fx.dump(), before);
    // It can be done all the same.
    std::ignore = fx.run_to_end([&](auto& run) { return c.operation(tree, run); });
    fx.checkpoint();
    const std::vector<std::string> after = fx.dump();
    fx.restart();
    EXPECT_EQ(fx.dump(), after);
  }
}

TEST(Faults, a_failed_operation_takes_back_only_itself) {
  FsFixture fx;
  Names names(fx);
  const auto outcome = fx.run_to_end([&](auto& run) -> Outcome<bool> {
    TRY(create(fx.fs(), run, fx.superuser(), fx.root(), "kept", {}));
    const state::Savepoint savepoint = run.savepoint();
    TRY(create(fx.fs(), run, fx.superuser(), fx.root(), "taken back", {}));
    run.rollback(savepoint);
    return true;
  });
  EXPECT_TRUE(outcome);
  EXPECT_THAT(names.list(fx.root()), ::testing::ElementsAre("kept"));
  EXPECT_EQ(names.row(fx.root()).size, 1U);
  EXPECT_THAT(testing::check_names(fx), ::testing::IsEmpty());
}

// A reader's reply waits for the record of whoever wrote what it read.
TEST(Release, covers_absences_and_listings) {
  FsFixture fx;
  Names names(fx);
  names.file(fx.root(), "f");
  const Lsn created = fx.release();
  EXPECT_GT(created, Lsn(0));
  EXPECT_EQ(names.remove(fx.root(), "f"), Status::ok);
  const Lsn removed = fx.release();
  EXPECT_GT(removed, created);
  EXPECT_EQ(names.lookup_status(fx.root(), "f"), Status::no_entry);
  EXPECT_EQ(fx.release(), removed);
  names.list(fx.root());
  EXPECT_EQ(fx.release(), removed);
}

}  // namespace
}  // namespace perdure::fs
