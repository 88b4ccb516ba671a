// The crash test's own memory: actions, model, journal, and the comparison that must find every planted
// difference.
#include <gtest/gtest.h>

#include <cstdio>
#include <fstream>

#include "bench/crash/compare.h"
#include "bench/crash/journal.h"
#include "bench/pattern.h"

namespace perdure::bench {
namespace {

using Kind = Action::Kind;

Action action(Kind kind, std::string path, std::string other = "", uint64_t first = 0, uint64_t count = 0,
              uint64_t version = 0) {
  return {kind, std::move(path), std::move(other), first, count, version};
}

// a/f (3 blocks, the middle one a hole) = b/g, b/link -> x, and an empty directory b/c.
Model example() {
  Model m;
  m.apply(action(Kind::mkdir, "a"));
  m.apply(action(Kind::mkdir, "b"));
  m.apply(action(Kind::mkdir, "b/c"));
  m.apply(action(Kind::create, "a/f", "", 5));
  m.apply(action(Kind::write, "a/f", "", 0, 1, 10));
  m.apply(action(Kind::write, "a/f", "", 2, 1, 11));
  m.apply(action(Kind::link, "a/f", "b/g"));
  m.apply(action(Kind::symlink, "b/link", "x"));
  return m;
}

// The tree of a server that has done all of it.
FoundTree tree_of(const Model& model) {
  FoundTree tree;
  std::map<const Node*, uint64_t> fileids;
  for (const auto& [path, node] : model.nodes()) {
    FoundNode& f = tree[path];
    f.type = node->type;
    f.fileid = fileids.emplace(node.get(), 100 + fileids.size()).first->second;
    f.links = node->links;
    f.size = node->versions.size() * test_block_bytes;
    f.target = node->target;
    for (size_t i = 0; i < node->versions.size(); ++i) {
      const uint64_t v = node->versions[i];
      f.blocks.push_back(v == 0 ? BlockLabel{} : BlockLabel{BlockLabel::Kind::whole, node->id, v, i});
    }
  }
  return tree;
}

using Differences = std::vector<std::pair<Difference::Kind, std::string>>;
Differences differences(const Model& model, const FoundTree& found,
                        const std::optional<Action>& pending = {}) {
  Differences all;
  for (const Difference& d : compare(model, pending, found))
    all.emplace_back(d.kind, d.what.substr(0, d.what.find(':')));
  return all;
}

TEST(CrashModel, SaysWhatIsPossible) {
  const Model m = example();
  EXPECT_FALSE(m.possible(action(Kind::create, "a/f")));
  EXPECT_FALSE(m.possible(action(Kind::create, "no/f")));
  EXPECT_FALSE(m.possible(action(Kind::create, "a/f/x")));
  EXPECT_FALSE(m.possible(action(Kind::create, "")));
  EXPECT_TRUE(m.possible(action(Kind::create, "a/new")));
  EXPECT_FALSE(m.possible(action(Kind::rmdir, "b")));
  EXPECT_FALSE(m.possible(action(Kind::rmdir, "")));
  EXPECT_TRUE(m.possible(action(Kind::rmdir, "b/c")));
  EXPECT_FALSE(m.possible(action(Kind::rename, "b", "b/c/d")));
  EXPECT_FALSE(m.possible(action(Kind::rename, "a/f", "b/g")));  // two names of one file
  EXPECT_FALSE(m.possible(action(Kind::rename, "b/link", "a/f")));
  EXPECT_TRUE(m.possible(action(Kind::rename, "b", "a/b")));
  EXPECT_FALSE(m.possible(action(Kind::remove, "b/c")));
  EXPECT_FALSE(m.possible(action(Kind::write, "b/link")));
  EXPECT_FALSE(m.possible(action(Kind::link, "b", "z")));
}

TEST(CrashModel, RenameMovesWhatIsBelow) {
  Model m = example();
  m.apply(action(Kind::rename, "b", "a/moved"));
  EXPECT_EQ(m.find("b"), nullptr);
  EXPECT_EQ(m.find("b/g"), nullptr);
  EXPECT_NE(m.find("a/moved/c"), nullptr);
  EXPECT_EQ(m.find("a/moved/g"), m.find("a/f"));
  m.apply(action(Kind::create, "n", "", 6));
  m.apply(action(Kind::rename, "n", "a/f"));
  EXPECT_EQ(m.find("a/f")->id, 6U);
  EXPECT_EQ(m.find("a/moved/g")->links, 1U);
}

TEST(CrashModel, ACopyHasNodesOfItsOwn) {
  const Model m = example();
  Model copy = m.copy();
  copy.apply(action(Kind::truncate, "a/f", "", 1));
  EXPECT_EQ(m.find("a/f")->versions.size(), 3U);
  EXPECT_EQ(copy.find("b/g")->versions.size(), 1U);
}

TEST(CrashCompare, NothingToFind) {
  EXPECT_EQ(differences(example(), tree_of(example())), Differences{});
}

TEST(CrashCompare, FindsEachPlantedDifference) {
  using D = Difference::Kind;
  const Model m = example();
  struct Case {
    const char* name;
    void (*plant)(FoundTree&);
    Differences expected;
  };
  const Case cases[] = {
      {"a name is gone", [](FoundTree& t) { t.erase("b/c"); }, {{D::lost, "b/c"}}},
      {"a name came back",
       [](FoundTree& t) { t["a/old"].type = FileType::NF4REG; },
       {{D::resurrected, "a/old"}}},
      {"another type", [](FoundTree& t) { t["b/c"].type = FileType::NF4REG; }, {{D::wrong, "b/c"}}},
      {"another target", [](FoundTree& t) { t["b/link"].target = "y"; }, {{D::wrong, "b/link"}}},
      {"a link count", [](FoundTree& t) { t["a/f"].links = 3; }, {{D::wrong, "a/f"}}},
      {"shorter", [](FoundTree& t) { t["a/f"].size -= test_block_bytes; }, {{D::lost, "a/f"}}},
      {"longer", [](FoundTree& t) { t["a/f"].size += 1; }, {{D::wrong, "a/f"}}},
      {"an older version", [](FoundTree& t) { t["a/f"].blocks[2].version = 9; }, {{D::lost, "a/f"}}},
      {"a newer version", [](FoundTree& t) { t["a/f"].blocks[2].version = 12; }, {{D::wrong, "a/f"}}},
      {"data gone", [](FoundTree& t) { t["a/f"].blocks[0] = {}; }, {{D::lost, "a/f"}}},
      {"damaged",
       [](FoundTree& t) { t["a/f"].blocks[0].kind = BlockLabel::Kind::broken; },
       {{D::wrong, "a/f"}}},
      {"a hole filled", [](FoundTree& t) { t["a/f"].blocks[1] = t["a/f"].blocks[0]; }, {{D::wrong, "a/f"}}},
      {"another file's data", [](FoundTree& t) { t["a/f"].blocks[0].file = 4; }, {{D::wrong, "a/f"}}},
      {"another block", [](FoundTree& t) { t["a/f"].blocks[0].block = 1; }, {{D::wrong, "a/f"}}},
      {"a link is a copy", [](FoundTree& t) { t["b/g"].fileid = 999; }, {{D::wrong, "b/g"}}},
      {"two are one", [](FoundTree& t) { t["b/link"].fileid = t["a/f"].fileid; }, {{D::wrong, "b/link"}}},
  };
  for (const Case& c : cases) {
    FoundTree tree = tree_of(m);
    c.plant(tree);
    EXPECT_EQ(differences(m, tree), c.expected) << c.name;
  }
}

TEST(CrashCompare, APendingActionMayHaveHappenedOrNot) {
  const Model m = example();
  for (const Action& pending :
       {action(Kind::create, "new", "", 9), action(Kind::rmdir, "b/c"), action(Kind::rename, "a/f", "z"),
        action(Kind::remove, "b/g"), action(Kind::link, "a/f", "z"), action(Kind::truncate, "a/f", "", 1),
        action(Kind::mkdir, "b/c/d"), action(Kind::symlink, "s", "t")}) {
    Model after = m.copy();
    after.apply(pending);
    EXPECT_EQ(differences(m, tree_of(m), pending), Differences{}) << to_text(pending);
    EXPECT_EQ(differences(m, tree_of(after), pending), Differences{}) << to_text(pending);
    EXPECT_NE(differences(m, tree_of(after)), Differences{}) << to_text(pending);
    FoundTree half = tree_of(after);
    half.erase("b/link");
    EXPECT_EQ(differences(m, half, pending), (Differences{{Difference::Kind::lost, "b/link"}}))
        << to_text(pending);
  }
}

TEST(CrashCompare, OfAPendingWriteEachBlockMayBeOldOrNew) {
  const Model m = example();
  const Action pending =
      action(Kind::write, "b/g", "", 1, 3, 20);  // by another name of the file, and beyond its end
  Model after = m.copy();
  after.apply(pending);
  EXPECT_EQ(differences(m, tree_of(m), pending), Differences{});
  EXPECT_EQ(differences(m, tree_of(after), pending), Differences{});
  FoundTree half = tree_of(after);
  for (const char* path : {"a/f", "b/g"}) half[path].blocks[2].version = 11;
  EXPECT_EQ(differences(m, half, pending), Differences{});
  half["a/f"].blocks[0].version = 20;  // outside of what was asked for
  EXPECT_EQ(differences(m, half, pending), (Differences{{Difference::Kind::wrong, "a/f"}}));
}

TEST(CrashCompare, Counters) {
  EXPECT_FALSE(compare_counter(0, 5, 0, 5));
  EXPECT_FALSE(compare_counter(0, 5, 2, 7));
  EXPECT_EQ(compare_counter(0, 5, 2, 4)->kind, Difference::Kind::lost);
  EXPECT_EQ(compare_counter(0, 5, 2, 8)->kind, Difference::Kind::wrong);
}

TEST(CrashBlock, SaysWhatItIs) {
  std::vector<std::byte> data(test_block_bytes);
  EXPECT_EQ(read_test_block(data).kind, BlockLabel::Kind::zeros);
  fill_test_block(data, 7, 8, 9);
  EXPECT_EQ(read_test_block(data), (BlockLabel{BlockLabel::Kind::whole, 7, 8, 9}));
  data[4000] ^= std::byte{4};
  EXPECT_EQ(read_test_block(data).kind, BlockLabel::Kind::broken);
  EXPECT_EQ(read_test_block(std::span(data).first(100)).kind, BlockLabel::Kind::broken);
}

TEST(CrashAction, ToTextAndBack) {
  for (const Action& a : {action(Kind::create, "a/b", "", 1ULL << 40), action(Kind::rename, "a", "b/c"),
                          action(Kind::increment, "", "", 3), action(Kind::write, "x", "", 1, 2, UINT64_MAX)})
    EXPECT_EQ(action_from_text(to_text(a)), a);
  EXPECT_FALSE(action_from_text("create a"));
  EXPECT_FALSE(action_from_text("destroy a - 0 0 0"));
  EXPECT_FALSE(action_from_text(""));
}

class JournalTest : public testing::Test {
 protected:
  void TearDown() override { std::remove(name_.c_str()); }
  void append(const std::string& text) { std::ofstream(name_, std::ios::app) << text; }

  const std::string name_ = testing::TempDir() + "perdure-journal-test";
};

TEST_F(JournalTest, ReadsBackWhatWasWritten) {
  {
    auto journal = Journal::create(name_, "dir", 2, 1);
    ASSERT_TRUE(journal);
    journal->asked(0, action(Kind::mkdir, "a"));
    journal->asked(1, action(Kind::increment, "", "", 0));
    journal->acknowledged(0);
    journal->asked(0, action(Kind::create, "a/f", "", 1));
    journal->acknowledged(1);
    journal->asked(1, action(Kind::increment, "", "", 0));
  }
  const auto e = read_journal(name_);
  ASSERT_TRUE(e) << e.error().message;
  EXPECT_EQ(e->directory, "dir");
  EXPECT_NE(e->models[0].find("a"), nullptr);
  EXPECT_EQ(e->models[0].find("a/f"), nullptr);
  EXPECT_EQ(e->pending[0], action(Kind::create, "a/f", "", 1));
  EXPECT_EQ(e->acknowledged_increments(0), 1U);
  EXPECT_EQ(e->pending_increments(0), 1U);
}

TEST_F(JournalTest, IgnoresALastLineThatWasCutOff) {
  ASSERT_TRUE(Journal::create(name_, "dir", 1, 0));
  append("> 0 mkdir a - 0 0 0\n< 0\n> 0 mkd");
  const auto e = read_journal(name_);
  ASSERT_TRUE(e) << e.error().message;
  EXPECT_NE(e->models[0].find("a"), nullptr);
  EXPECT_FALSE(e->pending[0]);
}

TEST_F(JournalTest, RefusesWhatCannotBe) {
  EXPECT_FALSE(read_journal(name_));
  append("something else\n");
  EXPECT_FALSE(read_journal(name_));
  for (const char* bad : {"< 0\n", "> 1 mkdir a - 0 0 0\n", "> 0 rmdir a - 0 0 0\n", "? 0\n", "> 0 nothing\n",
                          "> 0 mkdir a - 0 0 0\n> 0 mkdir b - 0 0 0\n"}) {
    ASSERT_TRUE(Journal::create(name_, "dir", 1, 0));
    append(bad);
    EXPECT_FALSE(read_journal(name_)) << bad;
  }
}

}  // namespace
}  // namespace perdure::bench
