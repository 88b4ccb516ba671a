#include "fs/directory.h"

#include <random>

#include "fs/testing/names_test_base.h"

namespace perdure::fs {
namespace {

using ::testing::ElementsAre;
using testing::FsFixture;
using ::testing::IsEmpty;
using testing::Memory;
using testing::Names;
using ::testing::UnorderedElementsAreArray;

TEST(CheckName, bounds_and_characters) {
  const auto status = [](std::string_view name) { return testing::status_of(check_name(name)); };
  EXPECT_EQ(status("a"), Status::ok);
  EXPECT_EQ(status(std::string(255, 'x')), Status::ok);
  EXPECT_EQ(status("..."), Status::ok);
  EXPECT_EQ(status(".hidden"), Status::ok);
  EXPECT_EQ(status("\xff\x80 not UTF-8"), Status::ok);
  EXPECT_EQ(status(""), Status::invalid_argument);
  EXPECT_EQ(status(std::string(256, 'x')), Status::name_too_long);
  EXPECT_EQ(status("."), Status::bad_name);
  EXPECT_EQ(status(".."), Status::bad_name);
  EXPECT_EQ(status("a/b"), Status::bad_character);
  EXPECT_EQ(status("/"), Status::bad_character);
  EXPECT_EQ(status(std::string_view("a\0b", 3)), Status::bad_character);
}

TEST(Position, is_a_positive_cookie_and_depends_on_the_volume) {
  FsFixture fx;
  for (int i = 0; i < 1000; ++i) {
    const uint64_t position = fx.fs().position_of(fx.volume(), "name" + std::to_string(i));
    EXPECT_GE(position, 256U);
    EXPECT_EQ(position & 0xffU, 0U);
    EXPECT_GT(static_cast<int64_t>(position), 0);
  }
  FsFixture other({.seed = 2});
  EXPECT_NE(fx.fs().position_of(fx.volume(), "a"), other.fs().position_of(other.volume(), "a"));
}

// With one bit every name has the same hash.
class OneChain : public ::testing::TestWithParam<Memory> {
 protected:
  void TearDown() override { EXPECT_THAT(testing::check_names(fx_), IsEmpty()); }
  FsFixture fx_{testing::options_of(GetParam(), 1)};
  Names names_{fx_};
};

TEST_P(OneChain, names_stand_in_the_order_in_which_they_came) {
  for (const char* name : {"c", "a", "b"}) names_.file(fx_.root(), name);
  EXPECT_THAT(names_.list(fx_.root()), ElementsAre("c", "a", "b"));
  EXPECT_NE(names_.find(fx_.root(), "a"), names_.find(fx_.root(), "b"));
  EXPECT_EQ(names_.lookup_status(fx_.root(), "d"), Status::no_entry);
}

TEST_P(OneChain, the_last_moves_into_the_hole) {
  std::map<std::string, InodeId> made;
  for (const char* name : {"a", "b", "c", "d"}) made[name] = names_.file(fx_.root(), name);
  EXPECT_EQ(names_.remove(fx_.root(), "b"), Status::ok);
  EXPECT_THAT(names_.list(fx_.root()), ElementsAre("a", "d", "c"));
  EXPECT_EQ(names_.remove(fx_.root(), "c"), Status::ok);
  EXPECT_EQ(names_.remove(fx_.root(), "a"), Status::ok);
  EXPECT_THAT(names_.list(fx_.root()), ElementsAre("d"));
  EXPECT_EQ(names_.find(fx_.root(), "d"), made["d"]);
  EXPECT_EQ(names_.remove(fx_.root(), "d"), Status::ok);
  EXPECT_THAT(names_.list(fx_.root()), IsEmpty());
}

TEST_P(OneChain, rename_within_it) {
  std::map<std::string, InodeId> made;
  for (const char* name : {"a", "b", "c"}) made[name] = names_.file(fx_.root(), name);
  EXPECT_EQ(names_.rename(fx_.root(), "a", fx_.root(), "x"), Status::ok);
  EXPECT_THAT(names_.list(fx_.root()), ElementsAre("x", "b", "c"));
  EXPECT_EQ(names_.find(fx_.root(), "x"), made["a"]);
  EXPECT_EQ(names_.rename(fx_.root(), "c", fx_.root(), "x"), Status::ok);
  EXPECT_THAT(names_.list(fx_.root()), ElementsAre("x", "b"));
  EXPECT_EQ(names_.find(fx_.root(), "x"), made["c"]);
  EXPECT_FALSE(names_.exists(made["a"]));
  EXPECT_EQ(names_.rename(fx_.root(), "x", fx_.root(), "b"), Status::ok);
  EXPECT_THAT(names_.list(fx_.root()), ElementsAre("b"));
  EXPECT_EQ(names_.find(fx_.root(), "b"), made["c"]);
}

INSTANTIATE_TEST_SUITE_P(Memory, OneChain,
                         ::testing::Values(Memory::warm, Memory::store_inline, Memory::faulting),
                         testing::name_of);

TEST(Chain, is_full_at_256) {
  FsFixture fx({.name_hash_bits = 1});
  Names names(fx);
  for (int i = 0; i < 256; ++i) names.file(fx.root(), std::to_string(i));
  EXPECT_EQ(testing::status_of(names.create(fx.root(), "one more", {})), Status::no_space);
  EXPECT_EQ(names.link(names.find(fx.root(), "7"), fx.root(), "one more"), Status::no_space);
  const std::vector<std::string> before = fx.dump();
  EXPECT_EQ(names.rename(fx.root(), "0", fx.root(), "one more"), Status::no_space);
  EXPECT_EQ(fx.dump(), before);
  EXPECT_EQ(names.lookup_status(fx.root(), "one more"), Status::no_entry);
  EXPECT_EQ(names.rename(fx.root(), "255", fx.root(), "0"), Status::ok);
  names.file(fx.root(), "one more");
  EXPECT_THAT(testing::check_names(fx), IsEmpty());
}

TEST(Chain, random_names_with_few_hashes) {
  for (const unsigned bits : {1U, 2U, 4U}) {
    FsFixture fx({.needs_io_percent = 50, .name_hash_bits = bits});
    Names names(fx);
    std::mt19937 random(bits);
    std::map<std::string, InodeId> model;
    for (int i = 0; i < 1500; ++i) {
      const std::string name = std::to_string(random() % 150);
      const bool there = model.contains(name);
      switch (random() % 3) {
        case 0:
          if (!there) model[name] = names.file(fx.root(), name);
          break;
        case 1:
          EXPECT_EQ(names.remove(fx.root(), name), there ? Status::ok : Status::no_entry);
          model.erase(name);
          break;
        case 2:
          EXPECT_EQ(names.find(fx.root(), name), there ? model[name] : InodeId(0));
          break;
      }
      if (i % 100 == 0) fx.checkpoint();
      if (i % 50 == 0) fx.evict();
    }
    std::vector<std::string> expected;
    for (const auto& [name, id] : model) expected.push_back(name);
    EXPECT_THAT(names.list(fx.root(), 7), UnorderedElementsAreArray(expected));
    EXPECT_THAT(testing::check_names(fx), IsEmpty());
  }
}

}  // namespace
}  // namespace perdure::fs
