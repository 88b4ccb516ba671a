#include "fs/acl.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fs/access.h"
#include "fs/words.h"

namespace perdure::fs {
namespace {

using Who = AclRow::Who;

// "A:fd:1000:rw D::OWNER@:x", as acl_words() writes it: an independent reading, for tests.
AclEntry entry_of(std::string_view text) {
  const auto part = [&] {
    const size_t end = std::min(text.find(':'), text.size());
    const std::string_view result = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    return result;
  };
  AclEntry entry{.deny = part() == "D"};
  bool group = false;
  for (const char c : part()) {
    group |= c == 'g';
    entry.flags |= c == 'f' ? 1U : c == 'd' ? 2U : c == 'n' ? 4U : c == 'i' ? 8U : c == 'I' ? 128U : 0U;
  }
  const std::string_view who = part();
  if (who == "OWNER@") entry.who = Who::owner;
  if (who == "GROUP@") entry.who = Who::owner_group;
  if (who == "EVERYONE@") entry.who = Who::everyone;
  if (!who.ends_with('@')) {
    entry.who = group ? Who::group : Who::user;
    entry.id = static_cast<uint32_t>(std::stoul(std::string(who)));
  }
  for (const char c : part()) {
    constexpr std::string_view letters = "rwanNxDtT.......dcCoy";
    entry.mask |= 1U << letters.find(c);
  }
  return entry;
}

Acl acl_of(std::string_view text, uint32_t flags = 0) {
  Acl acl{.flags = flags, .entries = {}};
  while (!text.empty()) {
    const size_t end = std::min(text.find(' '), text.size());
    acl.entries.push_back(entry_of(text.substr(0, end)));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return acl;
}

InodeRow object(FileType type = FileType::regular, uint32_t mode = 0) {
  InodeRow inode;
  inode.type = type;
  inode.mode = mode;
  inode.uid = 1;
  inode.gid = 10;
  return inode;
}

const Principal people[] = {{.uid = 1, .gid = 99, .groups = {}},    // the owner
                            {.uid = 1, .gid = 10, .groups = {20}},  // the owner, in the group and another one
                            {.uid = 2, .gid = 10, .groups = {}},    // of the group
                            {.uid = 3, .gid = 99, .groups = {}},    // named
                            {.uid = 3, .gid = 7, .groups = {10}},   // named, and of the group
                            {.uid = 4, .gid = 20, .groups = {}},    // of a named group
                            {.uid = 5, .gid = 99, .groups = {8}}};  // somebody else

// Entries of every kind, with some masks and flags.
std::vector<AclEntry> alphabet(const std::vector<uint32_t>& masks, const std::vector<uint32_t>& flags) {
  std::vector<AclEntry> entries;
  for (const bool deny : {false, true})
    for (const Who who : {Who::owner, Who::owner_group, Who::everyone, Who::user, Who::group})
      for (const uint32_t mask : masks)
        for (const uint32_t flag : flags)
          entries.push_back({deny, who, who == Who::user ? 3U : who == Who::group ? 20U : 0U, flag, mask});
  return entries;
}

// RFC 8881 §6.2.1 ¶2 word by word, for one request.
bool allowed(const Acl& acl, const InodeRow& inode, const Principal& who, uint32_t wanted) {
  uint32_t left = wanted;
  for (const AclEntry& entry : acl.entries) {
    if (left == 0) return true;
    if ((entry.flags & 8U) != 0) continue;
    bool matches = entry.who == Who::everyone;
    matches |= entry.who == Who::owner && who.uid == inode.uid;
    matches |= entry.who == Who::owner_group && who.in_group(inode.gid);
    matches |= entry.who == Who::user && who.uid == entry.id;
    matches |= entry.who == Who::group && who.in_group(entry.id);
    if (!matches) continue;
    if (!entry.deny)
      left &= ~entry.mask;
    else if ((entry.mask & left) != 0)
      return false;
  }
  return left == 0;
}

TEST(AclEvaluation, IsTheAlgorithmOfTheRfcForEveryShortList) {
  const auto entries = alphabet({may_read, may_write, may_read | may_write}, {0});
  const InodeRow inode = object();
  for (const AclEntry& a : entries)
    for (const AclEntry& b : entries)
      for (const AclEntry& c : entries) {
        const Acl acl{.flags = 0, .entries = {a, b, c}};
        for (const Principal& who : people) {
          const Rights rights = evaluate(acl, inode, who);
          ASSERT_EQ(rights.allowed & rights.denied, 0U);
          for (const uint32_t wanted : {may_read, may_write, may_read | may_write})
            ASSERT_EQ(rights.allow(wanted), allowed(acl, inode, who, wanted)) << acl_words(acl);
        }
      }
}

TEST(AclEvaluation, AnEntryThatIsOnlyInheritedHasNoEffect) {
  const Acl acl = acl_of("D:fdi:EVERYONE@:r A::EVERYONE@:r A:fdi:3:w");
  EXPECT_TRUE(evaluate(acl, object(), people[3]).allow(may_read));
  EXPECT_FALSE(evaluate(acl, object(), people[3]).allow(may_write));
  EXPECT_FALSE(somebody_executes(acl_of("A:fi:EVERYONE@:x D::OWNER@:x A::3:r")));
  EXPECT_TRUE(somebody_executes(acl_of("A::3:x")));
}

TEST(AclMode, OfAList) {
  const struct {
    const char* acl;
    uint32_t mode;
  } cases[] = {
      {"", 0},
      {"A::OWNER@:rwax A::GROUP@:rx A::EVERYONE@:r", 0754},
      {"A::OWNER@:rw A::GROUP@:a", 0400},  // writes need both
      {"A::OWNER@:rw A::EVERYONE@:a", 0600},
      {"A::EVERYONE@:r", 0444},  // everyone is also the owner and his group
      {"D::GROUP@:r A::EVERYONE@:rwax", 0737},
      {"A::EVERYONE@:rwax D::GROUP@:r", 0777},  // too late
      {"A::1000:rwax A:g:10:rwax", 0},          // names do not count
      {"A:fdi:EVERYONE@:rwax", 0},              // nor does what is only inherited
      {"D::EVERYONE@:x A::OWNER@:rwax", 0600},
  };
  for (const auto& c : cases) EXPECT_EQ(mode_of(acl_of(c.acl)), c.mode) << c.acl;
}

TEST(AclMode, TheDerivedListAllowsWhatTheModeAllows) {
  for (const FileType type : {FileType::regular, FileType::directory})
    for (uint32_t mode = 0; mode < 01000; ++mode) {
      const Acl acl = acl_of_mode(type, mode);
      ASSERT_EQ(mode_of(acl), mode);
      ASSERT_TRUE(says_only_mode(acl, type));
      const InodeRow inode = object(type, mode);
      for (const Principal& who : people)
        ASSERT_EQ(evaluate(acl, inode, who).allowed, rights_by_mode(inode, who).allowed)
            << std::oct << mode << ' ' << acl_words(acl);
    }
}

TEST(AclMode, TheDerivedListInWords) {
  EXPECT_EQ(acl_words(acl_of_mode(FileType::regular, 0644)),
            "A::OWNER@:rwanNtTcCy A::GROUP@:rntcy A::EVERYONE@:rntcy");
  EXPECT_EQ(acl_words(acl_of_mode(FileType::directory, 0750)),
            "A::OWNER@:rwanNxDtTcCy A::GROUP@:rnxtcy A::EVERYONE@:tcy");
  EXPECT_EQ(acl_words(acl_of_mode(FileType::regular, 0604)),
            "A::OWNER@:rwanNtTcCy A::GROUP@:tcy D::GROUP@:rn A::EVERYONE@:rntcy");
  EXPECT_EQ(acl_words(acl_of_mode(FileType::regular, 0060)),
            "D::OWNER@:rwanN A::OWNER@:tTcCy A::GROUP@:rwanNtcy A::EVERYONE@:tcy");
}

TEST(AclMode, OneModeAfterAnotherLeavesTheLastOne) {
  for (const FileType type : {FileType::regular, FileType::directory})
    for (uint32_t before = 0; before < 01000; before += 3)
      for (uint32_t after = 0; after < 01000; after += 5)
        ASSERT_EQ(with_mode(acl_of_mode(type, before), type, after, after >> 3U & 7U),
                  acl_of_mode(type, after));
}

// What must hold of every list and mode (§6.4.1.1).
void expect_moded(const Acl& acl, FileType type, uint32_t mode) {
  const uint32_t governed = rights_of_bits(type, 7), group = mode >> 3U & 7U;
  const Acl moded = with_mode(acl, type, mode, group);
  const auto where = [&] {
    return ::testing::Message() << std::oct << mode << ": " << acl_words(acl) << " -> " << acl_words(moded);
  };
  ASSERT_EQ(mode_of(moded), mode) << where();
  ASSERT_EQ(inherited(moded, type), inherited(acl, type)) << "what is inherited stays: " << where();
  ASSERT_EQ(with_mode(moded, type, mode, group), moded) << where();
  ASSERT_LE(moded.entries.size(), 2 * acl.entries.size() + 5);
  const InodeRow inode = object(type);
  for (const Principal& who : people) {
    const uint32_t before = evaluate(acl, inode, who).allowed, after = evaluate(moded, inode, who).allowed;
    ASSERT_EQ(before & ~governed, after & ~governed) << "what a mode knows nothing of: " << where();
    uint32_t limit = rights_of_bits(type, who.in_group(inode.gid) || who.uid != 5 ? group | mode : mode);
    if (who.uid == inode.uid) {
      limit = rights_of_bits(type, mode >> 6U);
      ASSERT_EQ(after & governed, limit) << "the owner has what the mode says: " << where();
    }
    ASSERT_EQ(after & governed & ~limit, 0U) << where();
  }
}

TEST(AclMode, AppliedToEveryShortList) {
  const auto entries =
      alphabet({may_read | may_read_acl, may_write | may_append, may_execute | may_delete,
                may_read_acl | may_write_acl},
               {0, inherit_to_files | inherit_to_directories, inherit_to_files | inherit_only});
  for (const AclEntry& a : entries)
    for (const AclEntry& b : entries)
      for (const uint32_t mode : {0U, 0644U, 0750U, 0027U, 0606U, 0070U, 0777U})
        expect_moded({.flags = 0, .entries = {a, b}}, FileType::directory, mode);
}

TEST(AclMode, AppliedToLongerLists) {
  const char* lists[] = {
      "A::OWNER@:rwaxtTcCy A::3:rwax A:g:20:rx A::GROUP@:rxtcy A::EVERYONE@:tcy",
      "A:fd:3: D::20: A::OWNER@:rwa A::EVERYONE@:",
      "D::3:w A:fd:3:rwaxD D:g:20:r A::EVERYONE@:rwaxd D::EVERYONE@:C A::OWNER@:C",
      "A:fd:OWNER@:rwaxDtTcC D:fdn:GROUP@:w A:fdn:GROUP@:rwax A:fi:EVERYONE@:r A:di:EVERYONE@:rx",
  };
  for (const char* list : lists)
    for (uint32_t mode = 0; mode < 01000; ++mode) expect_moded(acl_of(list), FileType::directory, mode);
}

TEST(AclMode, TakesFromNamesWhatTheGroupDoesNotHave) {
  const Acl acl = acl_of("A::OWNER@:rwaxtTcCy A::3:rwaxtcy A:g:20:rxtcy A::GROUP@:rxtcy A::EVERYONE@:tcy");
  EXPECT_EQ(acl_words(with_mode(acl, FileType::regular, 0640, 4)),
            "A::OWNER@:rwanNtTcCy A::3:rtcy A:g:20:rtcy A::GROUP@:rntcy A::EVERYONE@:tcy");
  EXPECT_EQ(acl_words(with_mode(acl, FileType::regular, 0700, 0)),
            "A::OWNER@:rwanNxtTcCy A::3:tcy A:g:20:tcy A::GROUP@:tcy A::EVERYONE@:tcy");
}

TEST(AclMode, SplitsWhatIsInheritedAndHasEffect) {
  EXPECT_EQ(acl_words(with_mode(acl_of("A:fd:3:rwax"), FileType::directory, 0750, 5)),
            "A::OWNER@:rwanNxD A:fdi:3:rwax A::3:rx A::GROUP@:rnx");
  EXPECT_EQ(acl_words(with_mode(acl_of("A:fd:3:rx"), FileType::directory, 0750, 5)),
            "A::OWNER@:rwanNxD A:fd:3:rx A::GROUP@:rnx");
}

TEST(AclInheritance, ByTypeAndFlags) {
  const struct {
    const char *parent, *file, *directory;
  } cases[] = {
      {"A::3:r", "", ""},
      {"A:f:3:r", "A:I:3:r", "A:fiI:3:r"},
      {"A:d:3:r", "", "A:dI:3:r"},
      {"A:fd:3:r", "A:I:3:r", "A:fdI:3:r"},
      {"A:fdi:3:r", "A:I:3:r", "A:fdI:3:r"},
      {"A:fi:3:r", "A:I:3:r", "A:fiI:3:r"},
      {"A:di:3:r", "", "A:dI:3:r"},
      {"A:fn:3:r", "A:I:3:r", ""},
      {"A:dn:3:r", "", "A:I:3:r"},
      {"A:fdn:3:r", "A:I:3:r", "A:I:3:r"},
      {"A:fdni:3:r", "A:I:3:r", "A:I:3:r"},
      {"A:ni:3:r", "", ""},
      {"A:fdI:3:r", "A:I:3:r", "A:fdI:3:r"},
  };
  for (const auto& c : cases) {
    EXPECT_EQ(inherited(acl_of(c.parent), FileType::regular), acl_of(c.file)) << c.parent;
    EXPECT_EQ(inherited(acl_of(c.parent), FileType::fifo), acl_of(c.file)) << c.parent;
    EXPECT_EQ(inherited(acl_of(c.parent), FileType::directory), acl_of(c.directory)) << c.parent;
  }
  EXPECT_EQ(inherited(acl_of("A:f:3:r", acl_auto_inherit | acl_protected), FileType::regular).flags,
            acl_auto_inherit);
}

TEST(AclInheritance, TheListOfAFileHasNoFlagsOfInheritance) {
  EXPECT_EQ(effective_for(acl_of("A:fd:3:r A:fdi:4:r D:I:5:w"), FileType::regular), acl_of("A::3:r D:I:5:w"));
  EXPECT_EQ(effective_for(acl_of("A:fdi:4:r"), FileType::directory), acl_of("A:fdi:4:r"));
}

TEST(AclInheritance, WithTheModeOfTheCreator) {
  const struct {
    const char* inherited;
    uint32_t mode;
    std::optional<uint32_t> umask;
    const char* result;
  } cases[] = {
      // A mode is applied as it is (§6.4.3 no. 1).
      {"A:I:3:rwa", 0644, {}, "A::OWNER@:rwanNtTcCy A:I:3:r A::GROUP@:rntcy A::EVERYONE@:rntcy"},
      {"A:I:3:rwa", 0660, {}, "A::OWNER@:rwanNtTcCy A:I:3:rwa A::GROUP@:rwanNtcy A::EVERYONE@:tcy"},
      // A umask does not take from names, but keeps the object from everybody else.
      {"A:I:3:rwa", 0666, 022, "A::OWNER@:rwanNtTcCy A:I:3:rwa A::GROUP@:rntcy A::EVERYONE@:rntcy"},
      {"A:I:3:rwa", 0600, 022, "A::OWNER@:rwanNtTcCy A::GROUP@:tcy A::EVERYONE@:tcy"},
      // Nor from those of whom something inherited speaks; it is the limit.
      {"A:I:OWNER@:rwax A:I:GROUP@:rwax A:I:EVERYONE@:r", 0666, 077,
       "A::OWNER@:rwanN A::GROUP@:rwanN A::EVERYONE@:rn"},
      {"A:I:GROUP@:rwa", 0666, 0, "A::OWNER@:rwanNtTcCy A::GROUP@:rwanN A::EVERYONE@:rwanNtcy"},
      // What is denied is not allowed by a mode either.
      {"D:I:EVERYONE@:w A:I:3:r", 0666, 0, "A::OWNER@:rntTcCy A:I:3:r A::GROUP@:rntcy A::EVERYONE@:rn"},
  };
  for (const auto& c : cases)
    EXPECT_EQ(acl_words(inherited_with_mode(acl_of(c.inherited), FileType::regular, c.mode, c.umask)),
              c.result)
        << c.inherited << ' ' << std::oct << c.mode;
}

TEST(AclInheritance, NeverHasMoreEntriesThanAreKept) {
  Acl parent;
  for (uint32_t i = 0; i < acl_entries_max; ++i)
    parent.entries.push_back(entry_of(i % 2 == 0 ? "A:fd:3:rwaxC" : "D:fd:EVERYONE@:rwC"));
  Acl acl = parent;
  for (int generation = 0; generation < 4; ++generation) {
    for (const uint32_t mode : {0777U, 0U, 0750U, 0700U}) {
      acl = with_mode(acl, FileType::directory, mode, mode >> 3U & 7U);
      ASSERT_LE(acl.entries.size(), acl_entries_kept_max);
    }
    acl = inherited_with_mode(inherited(acl, FileType::directory), FileType::directory, 0700, 022);
    ASSERT_LE(acl.entries.size(), acl_entries_kept_max);
  }
}

}  // namespace
}  // namespace perdure::fs
