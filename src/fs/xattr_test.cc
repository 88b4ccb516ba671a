#include "fs/xattr.h"

#include <random>

#include "fs/reclaim.h"
#include "fs/testing/data_fixture.h"
#include "fs/testing/names_test_base.h"

namespace perdure::fs {
namespace {

using ::testing::ElementsAre;
using testing::FixtureOptions;
using testing::FsFixture;
using ::testing::IsEmpty;
using testing::Names;
using testing::status_of;
using ::testing::UnorderedElementsAre;

// The operations as somebody calls them, each a run of its own.
struct Caller {
  FsFixture& fx;
  Principal who = FsFixture::superuser();

  Outcome<ChangeInfo> change(InodeId id, std::string_view name, std::string_view value,
                             SetXattr how = SetXattr::either) {
    return fx.run_to_end(
        [&](Run& run) { return set_xattr(fx.fs(), run, who, id, name, bytes_of(value), how); });
  }
  Status set(InodeId id, std::string_view name, std::string_view value, SetXattr how = SetXattr::either) {
    return status_of(change(id, name, value, how));
  }
  Outcome<std::string> get(InodeId id, std::string_view name) {
    return fx.run_to_end([&](Run& run) -> Outcome<std::string> {
      return std::string(text_of(TRY(get_xattr(fx.fs(), run, who, id, name))));
    });
  }
  Status remove(InodeId id, std::string_view name) {
    return status_of(fx.run_to_end([&](Run& run) { return remove_xattr(fx.fs(), run, who, id, name); }));
  }
  // At most `max` names behind `cookie`, which becomes that of the last one.
  Outcome<bool> list_some(InodeId id, uint64_t& cookie, size_t max, std::vector<std::string>& into) {
    const uint64_t after = cookie;
    return fx.run_to_end([&](Run& run) {
      into.clear();
      return list_xattrs(fx.fs(), run, who, id, after, [&](uint64_t position, std::string_view name) {
        if (into.size() == max) return false;
        into.emplace_back(name);
        cookie = position;
        return true;
      });
    });
  }
  std::vector<std::string> list(InodeId id, size_t at_a_time = 1000) {
    std::vector<std::string> all, part;
    uint64_t cookie = 0;
    for (bool end = false; !end;) {
      end = list_some(id, cookie, at_a_time, part).value();
      all.insert(all.end(), part.begin(), part.end());
    }
    return all;
  }
  Status list_status(InodeId id, uint64_t cookie = 0) {
    std::vector<std::string> names;
    return status_of(list_some(id, cookie, 10, names));
  }
};

class XattrTest : public testing::NamesTest {
 protected:
  Caller as(uint32_t uid, uint32_t gid = 100) { return {fx_, FsFixture::user(uid, gid)}; }
  bool flagged(InodeId id) { return (names_.row(id).flags & InodeRow::has_xattrs) != 0; }
  size_t rows() {
    size_t count = 0;
    for (const std::string& line : fx_.dump()) count += line.starts_with("xattr ") ? 1 : 0;
    return count;
  }
  Caller root_user_{fx_};
};

TEST_P(XattrTest, is_set_read_listed_and_removed) {
  const InodeId file = names_.file(root_, "f"), directory = names_.mkdir(root_, "d");
  for (const InodeId id : {file, directory}) {
    EXPECT_FALSE(flagged(id));
    EXPECT_EQ(status_of(root_user_.get(id, "a")), Status::no_xattr);
    EXPECT_THAT(root_user_.list(id), IsEmpty());
    EXPECT_EQ(root_user_.remove(id, "a"), Status::no_xattr);
    EXPECT_EQ(root_user_.set(id, "a", "one"), Status::ok);
    EXPECT_EQ(root_user_.set(id, "b", ""), Status::ok);
    EXPECT_TRUE(flagged(id));
    EXPECT_EQ(root_user_.get(id, "a").value(), "one");
    EXPECT_EQ(root_user_.get(id, "b").value(), "");
    EXPECT_EQ(status_of(root_user_.get(id, "c")), Status::no_xattr);
    EXPECT_THAT(root_user_.list(id), UnorderedElementsAre("a", "b"));
    EXPECT_EQ(root_user_.set(id, "a", "another"), Status::ok);
    EXPECT_EQ(root_user_.get(id, "a").value(), "another");
    EXPECT_EQ(root_user_.remove(id, "a"), Status::ok);
    EXPECT_EQ(root_user_.remove(id, "a"), Status::no_xattr);
    EXPECT_TRUE(flagged(id));
    EXPECT_THAT(root_user_.list(id), ElementsAre("b"));
    EXPECT_EQ(root_user_.remove(id, "b"), Status::ok);
    EXPECT_FALSE(flagged(id));
    EXPECT_THAT(root_user_.list(id), IsEmpty());
  }
  EXPECT_EQ(rows(), 0U);
}

TEST_P(XattrTest, options) {
  const InodeId id = names_.file(root_, "f");
  EXPECT_EQ(root_user_.set(id, "a", "1", SetXattr::replace), Status::no_xattr);
  EXPECT_EQ(root_user_.set(id, "a", "1", SetXattr::create), Status::ok);
  EXPECT_EQ(root_user_.set(id, "a", "2", SetXattr::create), Status::exists);
  EXPECT_EQ(root_user_.get(id, "a").value(), "1");
  EXPECT_EQ(root_user_.set(id, "a", "3", SetXattr::replace), Status::ok);
  EXPECT_EQ(root_user_.get(id, "a").value(), "3");
}

TEST_P(XattrTest, changes_the_object_and_its_ctime_alone) {
  const InodeId id = names_.file(root_, "f");
  const auto expect_touched = [&](const InodeRow& before, const ChangeInfo& change) {
    const InodeRow now = names_.row(id);
    EXPECT_EQ(change.before, before.change);
    EXPECT_EQ(change.after, now.change);
    EXPECT_GT(now.change, before.change);
    EXPECT_GT(now.ctime_ns, before.ctime_ns);
    EXPECT_EQ(now.mtime_ns, before.mtime_ns);
    EXPECT_EQ(now.size, before.size);
  };
  InodeRow before = names_.row(id);
  expect_touched(before, root_user_.change(id, "a", "1").value());
  before = names_.row(id);
  expect_touched(before, root_user_.change(id, "a", "1").value());
  before = names_.row(id);
  const auto removed =
      fx_.run_to_end([&](auto& run) { return remove_xattr(fx_.fs(), run, root_user_.who, id, "a"); });
  expect_touched(before, removed.value());
  before = names_.row(id);
  EXPECT_EQ(root_user_.remove(id, "a"), Status::no_xattr);
  EXPECT_EQ(root_user_.set(id, "a", "1", SetXattr::replace), Status::no_xattr);
  EXPECT_EQ(names_.row(id).change, before.change);
}

TEST_P(XattrTest, names) {
  const InodeId id = names_.file(root_, "f");
  const std::string longest(xattr_name_bytes_max, 'n'), too_long(xattr_name_bytes_max + 1, 'n');
  const std::string odd = "/.. \xff\x01/";
  EXPECT_EQ(root_user_.set(id, longest, "1"), Status::ok);
  EXPECT_EQ(root_user_.set(id, odd, "2"), Status::ok);
  EXPECT_EQ(root_user_.get(id, longest).value(), "1");
  EXPECT_EQ(root_user_.get(id, odd).value(), "2");
  EXPECT_THAT(root_user_.list(id), UnorderedElementsAre(longest, odd));
  const std::pair<std::string, Status> bad[] = {{"", Status::invalid_argument},
                                                {too_long, Status::name_too_long},
                                                {std::string("a\0b", 3), Status::bad_character}};
  for (const auto& [name, status] : bad) {
    EXPECT_EQ(status_of(root_user_.get(id, name)), status);
    EXPECT_EQ(root_user_.set(id, name, "x"), status);
    EXPECT_EQ(root_user_.remove(id, name), status);
  }
}

TEST_P(XattrTest, the_mode_says_who_may) {
  const InodeId id = names_.file(root_, "f", 0640);
  ASSERT_EQ(names_.set(id, {.uid = 1, .gid = 10}), Status::ok);
  ASSERT_EQ(root_user_.set(id, "a", "1"), Status::ok);
  Caller owner = as(1), member = as(2, 10), other = as(3);
  EXPECT_EQ(owner.set(id, "a", "2"), Status::ok);
  EXPECT_EQ(member.get(id, "a").value(), "2");
  EXPECT_THAT(member.list(id), ElementsAre("a"));
  EXPECT_EQ(member.set(id, "a", "3"), Status::access_denied);
  EXPECT_EQ(member.remove(id, "a"), Status::access_denied);
  EXPECT_EQ(status_of(other.get(id, "a")), Status::access_denied);
  EXPECT_EQ(status_of(other.get(id, "b")), Status::access_denied);
  EXPECT_EQ(other.list_status(id), Status::access_denied);
  EXPECT_EQ(other.set(id, "a", "3"), Status::access_denied);
  ASSERT_EQ(names_.set(id, {.mode = 0606}), Status::ok);
  EXPECT_EQ(other.remove(id, "a"), Status::ok);
  EXPECT_EQ(other.get(id, "a").error().status(), Status::no_xattr);
}

TEST_P(XattrTest, of_a_sticky_directory_are_its_owners) {
  const InodeId id = names_.mkdir(root_, "d", 01777), plain = names_.mkdir(root_, "p", 0777);
  ASSERT_EQ(names_.set(id, {.uid = 1}), Status::ok);
  Caller owner = as(1), other = as(3);
  EXPECT_EQ(other.set(plain, "a", "1"), Status::ok);
  EXPECT_EQ(other.set(id, "a", "1"), Status::not_permitted);
  EXPECT_EQ(owner.set(id, "a", "1"), Status::ok);
  EXPECT_EQ(other.get(id, "a").value(), "1");
  EXPECT_EQ(other.remove(id, "a"), Status::not_permitted);
  EXPECT_EQ(root_user_.remove(id, "a"), Status::ok);
}

TEST_P(XattrTest, only_files_and_directories_have_them) {
  InodeId ids[] = {names_.symlink(root_, "s"), names_.make(FileType::fifo, root_, "p", 0666),
                   names_.make(FileType::character_device, root_, "c", 0666)};
  for (const InodeId id : ids) {
    EXPECT_EQ(root_user_.set(id, "a", "1"), Status::not_permitted);
    EXPECT_EQ(root_user_.remove(id, "a"), Status::not_permitted);
    EXPECT_EQ(status_of(root_user_.get(id, "a")), Status::no_xattr);
    EXPECT_THAT(root_user_.list(id), IsEmpty());
  }
}

TEST_P(XattrTest, of_what_is_gone) {
  const InodeId id = names_.file(root_, "f");
  ASSERT_EQ(names_.remove(root_, "f"), Status::ok);
  EXPECT_EQ(root_user_.set(id, "a", "1"), Status::stale);
  EXPECT_EQ(root_user_.remove(id, "a"), Status::stale);
  EXPECT_EQ(status_of(root_user_.get(id, "a")), Status::stale);
  EXPECT_EQ(root_user_.list_status(id), Status::stale);
}

TEST_P(XattrTest, go_with_the_object) {
  const InodeId file = names_.file(root_, "f"), target = names_.file(root_, "t"),
                open = names_.file(root_, "o"), directory = names_.mkdir(root_, "d");
  for (const InodeId id : {file, target, open, directory})
    for (const char* name : {"a", "b", "c"}) ASSERT_EQ(root_user_.set(id, name, "value"), Status::ok);
  ASSERT_EQ(names_.link(file, root_, "g"), Status::ok);
  EXPECT_EQ(rows(), 12U);
  EXPECT_EQ(names_.remove(root_, "d"), Status::ok);
  EXPECT_EQ(rows(), 9U);
  EXPECT_EQ(names_.remove(root_, "g"), Status::ok);
  EXPECT_EQ(rows(), 9U);
  EXPECT_EQ(names_.rename(root_, "f", root_, "t"), Status::ok);
  EXPECT_EQ(rows(), 6U);
  EXPECT_EQ(root_user_.get(names_.find(root_, "t"), "a").value(), "value");
  fx_.open.insert(open);
  EXPECT_EQ(names_.remove(root_, "o"), Status::ok);
  EXPECT_EQ(root_user_.get(open, "c").value(), "value");
  EXPECT_EQ(root_user_.set(open, "d", "more"), Status::ok);
  fx_.open.clear();
  EXPECT_EQ(names_.release(open), Status::ok);
  EXPECT_EQ(rows(), 3U);
}

TEST_P(XattrTest, cookies_stay_valid) {
  const InodeId id = names_.file(root_, "f");
  for (int i = 0; i < 12; ++i) ASSERT_EQ(root_user_.set(id, fmt::format("n{}", i), "v"), Status::ok);
  const std::vector<std::string> all = root_user_.list(id);
  ASSERT_EQ(all.size(), 12U);
  EXPECT_EQ(root_user_.list(id, 1), all);
  EXPECT_EQ(root_user_.list(id, 5), all);
  std::vector<std::string> part;
  uint64_t cookie = 0;
  ASSERT_FALSE(root_user_.list_some(id, cookie, 4, part).value());
  // That of the cookie, one before and one behind it.
  for (const size_t i : {3U, 1U, 4U}) ASSERT_EQ(root_user_.remove(id, all[i]), Status::ok);
  ASSERT_TRUE(root_user_.list_some(id, cookie, 100, part).value());
  EXPECT_EQ(part, std::vector<std::string>(all.begin() + 5, all.end()));
  EXPECT_EQ(root_user_.list_status(id, 1), Status::bad_cookie);
  EXPECT_EQ(root_user_.list_status(id, 255), Status::bad_cookie);
  EXPECT_EQ(root_user_.list_status(id, UINT64_MAX), Status::ok);
}

PERDURE_NAMES_TEST(XattrTest);

// ------------------------------------------------------------------------------------------------- limits

class XattrLimits : public ::testing::Test {
 protected:
  void TearDown() override { EXPECT_THAT(testing::check_all(fx), IsEmpty()); }
  FsFixture fx{FixtureOptions{}};
  Names names{fx};
  Caller user{fx};
  const InodeId id = names.file(fx.root(), "f");
};

TEST_F(XattrLimits, OfAValue) {
  const std::string largest(xattr_value_bytes_max, 'v');
  EXPECT_EQ(user.set(id, "a", largest), Status::ok);
  EXPECT_EQ(user.get(id, "a").value(), largest);
  EXPECT_EQ(user.set(id, "a", largest + 'v'), Status::xattr_too_big);
  EXPECT_EQ(user.set(id, "b", largest + 'v'), Status::xattr_too_big);
}

TEST_F(XattrLimits, OfAllTogether) {
  const std::string large(xattr_total_bytes_max / 4 - 1, 'v');
  for (const char* name : {"a", "b", "c", "d"}) EXPECT_EQ(user.set(id, name, large), Status::ok);
  EXPECT_EQ(user.set(id, "e", ""), Status::no_space);
  EXPECT_EQ(user.set(id, "a", large + 'v'), Status::no_space);
  EXPECT_EQ(user.set(id, "a", large), Status::ok);
  EXPECT_EQ(user.set(id, "a", std::string(large.size() - 1, 'v')), Status::ok);
  EXPECT_EQ(user.set(id, "e", ""), Status::ok);
  EXPECT_EQ(user.remove(id, "b"), Status::ok);
  EXPECT_EQ(user.set(id, "f", "value"), Status::ok);
}

TEST_F(XattrLimits, OfTheNames) {
  const size_t fit = xattr_list_bytes_max / (xattr_name_bytes_max + 6);
  const auto name = [](size_t i) {
    std::string n = fmt::format("{}.", i);
    return n + std::string(xattr_name_bytes_max - n.size(), 'n');
  };
  for (size_t i = 0; i < fit; ++i) EXPECT_EQ(user.set(id, name(i), ""), Status::ok);
  EXPECT_EQ(user.set(id, name(fit), ""), Status::no_space);
  EXPECT_EQ(user.set(id, name(0), "replaced"), Status::ok);
  EXPECT_EQ(user.list(id).size(), fit);
}

TEST_F(XattrLimits, OfTheirNumber) {
  for (size_t i = 0; i < xattrs_max; ++i) ASSERT_EQ(user.set(id, fmt::format("{}", i), "x"), Status::ok);
  EXPECT_EQ(user.set(id, "one more", "x"), Status::no_space);
  EXPECT_EQ(user.set(id, "7", "y"), Status::ok);
  EXPECT_EQ(user.list(id, 100).size(), xattrs_max);
  fx.checkpoint();
  fx.evict();
  EXPECT_EQ(names.remove(fx.root(), "f"), Status::ok);
  EXPECT_EQ(fx.fs().xattrs.size(), 0U);
}

TEST(XattrChain, HasAnEnd) {
  FixtureOptions options;
  options.name_hash_bits = 1;
  FsFixture fx(options);
  Names names(fx);
  Caller user{fx};
  const InodeId id = names.file(fx.root(), "f");
  size_t set = 0, refused = 0;
  for (int i = 0; i < 600; ++i) {
    const Status status = user.set(id, fmt::format("{}", i), "x");
    EXPECT_TRUE(status == Status::ok || status == Status::no_space);
    (status == Status::ok ? set : refused) += 1;
  }
  EXPECT_EQ(set, 256U);  // a hash of 0 counts as 1, so all have the same
  EXPECT_EQ(refused, 344U);
  EXPECT_THAT(testing::check_all(fx), IsEmpty());
}

// The first one needs no look at the store, nor does any later one of an object that is in memory.
TEST(XattrFaults, NoneForAFreshObject) {
  FixtureOptions options;
  options.needs_io_percent = 100;
  FsFixture fx(options);
  Names names(fx);
  Caller user{fx};
  const InodeId id = names.file(fx.root(), "f");
  for (const char* name : {"a", "b", "c"}) {
    ASSERT_EQ(user.set(id, name, "x"), Status::ok);
    EXPECT_EQ(fx.faults(), 0U);
  }
  ASSERT_EQ(user.list(id).size(), 3U);
  EXPECT_EQ(fx.faults(), 0U);
  fx.checkpoint();
  fx.evict();
  ASSERT_EQ(names.remove(fx.root(), "f"), Status::ok);
  EXPECT_GT(fx.faults(), 0U);
}

// A large file: its attributes go at once, its blocks later.
TEST(XattrOfALargeFile, IsGoneBeforeTheFileIs) {
  testing::DataFixture f{testing::DataFixtureOptions{}};
  const InodeId id = f.new_file();
  const Principal who = FsFixture::superuser();
  const auto set = f.run(
      [&](auto& run) { return set_xattr(f.fs(), run, who, id, "a", bytes_of("value"), SetXattr::create); });
  ASSERT_TRUE(set);
  for (uint64_t i = 0; i < 700; ++i)
    ASSERT_TRUE(f.write(id, i * 2 * testing::page, testing::pattern(testing::page, i), Stable::file_sync));
  f.settle();
  EXPECT_EQ(f.fs().xattrs.size(), 1U);
  f.hold_reclaims = true;
  ASSERT_TRUE(f.drop(id));
  EXPECT_EQ(f.fs().xattrs.size(), 0U);
  const InodeRow* dropped = f.fs().inodes.peek({id});
  ASSERT_NE(dropped, nullptr);
  EXPECT_TRUE(dropped->dropped());
  EXPECT_EQ(dropped->flags, 0U);
  f.let_reclaims_go();
  f.settle();
  EXPECT_EQ(f.fs().inodes.peek({id}), nullptr);
  f.verify();
}

// ------------------------------------------------------------------------------------------------- model

// Random operations against a map, with rows that fault, names that share hashes, checkpoints and restarts.
class XattrModel : public ::testing::TestWithParam<uint64_t> {
 protected:
  static FixtureOptions options() {
    FixtureOptions options;
    options.seed = GetParam();
    options.needs_io_percent = GetParam() % 3 == 0 ? 100 : 30;
    options.name_hash_bits = GetParam() % 2 == 0 ? 2 : 55;
    return options;
  }
  size_t below(size_t n) { return random_() % n; }
  std::string some_name() { return fmt::format("name {}", below(20)); }
  void change(InodeId id, std::map<std::string, std::string>& model);
  void look(InodeId id, const std::map<std::string, std::string>& model);

  std::mt19937_64 random_{GetParam()};
  FsFixture fx_{options()};
  Names names_{fx_};
  Caller user_{fx_};
};

void XattrModel::change(InodeId id, std::map<std::string, std::string>& model) {
  const std::string name = some_name();
  const bool there = model.contains(name);
  if (below(3) == 0) {
    ASSERT_EQ(user_.remove(id, name), there ? Status::ok : Status::no_xattr);
    model.erase(name);
    return;
  }
  const auto how = static_cast<SetXattr>(below(3));
  const std::string value(below(40), static_cast<char>('a' + below(26)));
  Status expected = Status::ok;
  if (how == SetXattr::create && there) expected = Status::exists;
  if (how == SetXattr::replace && !there) expected = Status::no_xattr;
  ASSERT_EQ(user_.set(id, name, value, how), expected);
  if (expected == Status::ok) model[name] = value;
}

void XattrModel::look(InodeId id, const std::map<std::string, std::string>& model) {
  const std::string name = some_name();
  const auto got = user_.get(id, name);
  ASSERT_EQ(got.has_value(), model.contains(name));
  if (got) {
    ASSERT_EQ(*got, model.at(name));
  }
  std::vector<std::string> listed = user_.list(id, 1 + below(25)), expected;
  for (const auto& [there, value] : model) expected.push_back(there);
  std::ranges::sort(listed);
  ASSERT_EQ(listed, expected);
}

TEST_P(XattrModel, random_operations) {
  std::map<InodeId, std::map<std::string, std::string>> objects;
  int made = 0;
  for (int i = 0; i < 2500 && !HasFatalFailure(); ++i) {
    SCOPED_TRACE(fmt::format("operation {}", i));
    if (objects.size() < 4)
      objects[below(2) == 0 ? names_.file(fx_.root(), fmt::format("{}", made++))
                            : names_.mkdir(fx_.root(), fmt::format("{}", made++))];
    auto object = std::next(objects.begin(), static_cast<ptrdiff_t>(below(objects.size())));
    switch (below(20)) {
      case 0:
        fx_.checkpoint();
        break;
      case 1:
        fx_.evict();
        break;
      case 2:
        if (below(4) != 0) break;
        fx_.checkpoint();
        fx_.restart();
        break;
      case 3:
        for (const std::string& name : names_.list(fx_.root()))
          if (names_.find(fx_.root(), name) == object->first && below(3) == 0) {
            ASSERT_EQ(names_.remove(fx_.root(), name), Status::ok);
            objects.erase(object);
            break;
          }
        break;
      default:
        if (below(3) == 0)
          look(object->first, object->second);
        else
          change(object->first, object->second);
    }
  }
  EXPECT_THAT(testing::check_names(fx_), IsEmpty());
  EXPECT_THAT(testing::check_all(fx_), IsEmpty());
}

INSTANTIATE_TEST_SUITE_P(Seeds, XattrModel, ::testing::Range<uint64_t>(1, 9));

}  // namespace
}  // namespace perdure::fs
