// The checker finds every kind of damage. Each is made by editing rows of a small tree that is good, and is
// looked for with the rows in memory and with all of them in the store.
#include "fs/check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/crc32c.h"
#include "fs/acl.h"
#include "fs/testing/consistency.h"
#include "fs/testing/names.h"

namespace perdure::fs {
namespace {

using ::testing::Contains;
using testing::FixtureOptions;
using testing::FsFixture;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::Names;

// /dir (with an access control list), /dir/sub, /file (also /dir/link), /symlink, and a file that is open and
// has no name. /file has blocks 10..12 at its file blocks 0..2, a page row at 4 and another one over block
// 11; block 20 is in a freed row.
class SmallTree {
 public:
  SmallTree() {
    dir = names.mkdir(fx.root(), "dir");
    sub = names.mkdir(dir, "sub");
    file = names.file(fx.root(), "file");
    CHECK(names.link(file, dir, "link") == Status::ok);
    symlink = names.symlink(fx.root(), "symlink", "somewhere");
    unnamed = names.file(fx.root(), "removed");
    fx.open.insert(unnamed);
    CHECK(names.remove(fx.root(), "removed") == Status::ok);
    CHECK(names.set(dir, {.acl = list()}) == Status::ok);
    add_content();
  }

  FileSystem& fs() { return fx.fs(); }
  template <class Table, class Edit>
  void edit(Table& table, const typename Table::Key& key, Edit change) {
    const auto edited = fx.run_to_end([&](Run& run) -> Outcome<void> {
      const auto* row = TRY(table.get(run, key));
      CHECK(row != nullptr);
      auto copy = *row;
      change(copy);
      table.put(run, key, std::move(copy));
      return {};
    });
    CHECK(edited);
  }
  template <class Table, class Row>
  void put(Table& table, const typename Table::Key& key, Row row) {
    CHECK(fx.run_to_end([&](Run& run) -> Outcome<void> {
      table.put(run, key, row);
      return {};
    }));
  }
  template <class Table>
  void erase(Table& table, const typename Table::Key& key) {
    CHECK(fx.run_to_end([&](Run& run) -> Outcome<void> {
      table.erase(run, key);
      return {};
    }));
  }
  template <class Edit>
  void edit_inode(InodeId id, Edit change) {
    edit(fs().inodes, {id}, change);
  }
  DirentRow::Key entry(InodeId directory, std::string_view name) {
    return {directory, fs().position_of(fx.volume(), name)};
  }
  XattrRow::Key xattr(InodeId inode, std::string_view xattr_name) {
    return {inode, fs().position_of(fx.volume(), xattr_name)};
  }
  ExtentRow extent(uint64_t first_block, uint64_t block, uint64_t count) {
    ExtentRow row;
    row.first_block = FileBlock(first_block);
    row.block = BlockNo(block);
    row.stamp = fs().new_change();
    for (uint64_t i = 0; i < count; ++i) row.crcs.push_back(crc32c(content(block + i)));
    return row;
  }
  static Bytes content(uint64_t block) {
    static std::vector<std::byte> bytes;
    bytes.assign(block_bytes, static_cast<std::byte>(block));
    return bytes;
  }
  static AclRow list() {
    const uint32_t all = may_read | may_write | may_append | may_execute;
    return {.flags = 0,
            .entries = {{.who = AclRow::Who::owner, .mask = all},
                        {.who = AclRow::Who::user, .id = 7, .mask = may_read}}};
  }
  PageRow page() { return {fs().new_change(), zero_page()}; }

  std::vector<std::string> findings() { return testing::check_all(fx); }

  FsFixture fx{FixtureOptions{}};
  Names names{fx};
  InodeId dir, sub, file, symlink, unnamed;

 private:
  void add_content() {
    put(fs().extents, {file, FileBlock(2)}, extent(0, 10, 3));
    put(fs().pages, {file, FileBlock(4)}, page());
    put(fs().pages, {file, FileBlock(1)}, page());
    edit_inode(file, [](InodeRow& row) { row.blocks = 4, row.extent_end = 3, row.size = 5 * block_bytes; });
    put(fs().xattrs, xattr(file, "attribute"), XattrRow{"attribute", ByteVector(5)});
    edit_inode(file, [](InodeRow& row) { row.flags = InodeRow::has_xattrs; });
    AllocationRow used;
    used.used[0] = 7U << 10U | 1U << 20U;
    put(fs().allocations, {0}, used);
    put(fs().freed, {fs().new_change()}, FreedRow{{{BlockNo(20), 1}}});
  }
};

struct Damage {
  const char* name;
  void (*make)(SmallTree& tree);
  const char* finding;  // part of it
};

const Damage damages[] = {
    {"LinkCount", [](SmallTree& t) { t.edit_inode(t.file, [](InodeRow& r) { ++r.links; }); },
     "/file (inode 4): its link count is 3, but it has 2 names"},
    {"SubdirectoryCount", [](SmallTree& t) { t.edit_inode(t.dir, [](InodeRow& r) { ++r.links; }); },
     "/dir (inode 2): its link count is 4, but with 1 subdirectories it must be 3"},
    {"EntryCount", [](SmallTree& t) { t.edit_inode(t.dir, [](InodeRow& r) { ++r.size; }); },
     "it counts 3 entries, but has 2"},
    {"EntryWithoutInode", [](SmallTree& t) { t.erase(t.fs().inodes, {t.file}); },
     "entry 'file' of / (inode 1): what it names does not exist"},
    {"EntryGone", [](SmallTree& t) { t.erase(t.fs().dirents, t.entry(t.dir, "link")); },
     "its link count is 2, but it has 1 name"},
    {"DirectoryOrphan", [](SmallTree& t) { t.erase(t.fs().dirents, t.entry(t.dir, "sub")); },
     "an orphan: a directory with 0 entries"},
    {"FileOrphan",
     [](SmallTree& t) {
       t.erase(t.fs().dirents, t.entry(t.dir, "link"));
       t.erase(t.fs().dirents, t.entry(t.fx.root(), "file"));
     },
     "an orphan: a file of 20480 bytes with link count 2"},
    {"UnlinkedButNotOpen", [](SmallTree& t) { t.fx.open.clear(); }, "without a name, and nobody has it open"},
    {"OpenButGone", [](SmallTree& t) { t.erase(t.fs().inodes, {t.unnamed}); },
     "a client has it open, but it does not exist"},
    {"OpenDirectory", [](SmallTree& t) { t.fx.open.insert(t.dir); },
     "a client has it open, but it is a directory"},
    {"Parent", [](SmallTree& t) { t.edit_inode(t.sub, [&](InodeRow& r) { r.parent = t.fx.root(); }); },
     "its '..' is inode 1 instead of 2"},
    {"RootParent", [](SmallTree& t) { t.edit_inode(t.fx.root(), [&](InodeRow& r) { r.parent = t.dir; }); },
     "the root of a volume, but its '..' is"},
    {"SecondNameOfDirectory",
     [](SmallTree& t) {
       t.put(t.fs().dirents, t.entry(t.fx.root(), "again"), DirentRow{t.sub, FileType::directory, "again"});
     },
     "a directory with 2 names"},
    {"Cycle",
     [](SmallTree& t) {
       t.erase(t.fs().dirents, t.entry(t.fx.root(), "dir"));
       t.put(t.fs().dirents, t.entry(t.sub, "dir"), DirentRow{t.dir, FileType::directory, "dir"});
       t.edit_inode(t.dir, [&](InodeRow& r) { r.parent = t.sub; });
     },
     "not reachable from the root of its volume"},
    {"EntriesOfNothing",
     [](SmallTree& t) {
       const InodeId nothing(t.file.value + 500);
       t.put(t.fs().dirents, t.entry(nothing, "x"), DirentRow{t.file, FileType::regular, "x"});
     },
     "has directory entries, but does not exist"},
    {"EntriesOfFile",
     [](SmallTree& t) {
       t.put(t.fs().dirents, t.entry(t.file, "x"), DirentRow{t.file, FileType::regular, "x"});
     },
     "has directory entries, but is a file"},
    {"EntryType",
     [](SmallTree& t) {
       t.edit(t.fs().dirents, t.entry(t.dir, "link"), [](DirentRow& r) { r.type = FileType::fifo; });
     },
     "entry 'link' of /dir (inode 2): it has the wrong type: FIFO"},
    {"EntryMisplaced",
     [](SmallTree& t) {
       t.edit(t.fs().dirents, t.entry(t.dir, "link"), [](DirentRow& r) { r.entry_name = "other"; });
     },
     "it is not where its name belongs"},
    {"EntryNotFirstOfChain",
     [](SmallTree& t) {
       DirentRow::Key key = t.entry(t.dir, "link");
       t.erase(t.fs().dirents, key);
       ++key.position;
       t.put(t.fs().dirents, key, DirentRow{t.file, FileType::regular, "link"});
     },
     "there is a gap among the names with its hash"},
    {"NameTwice",
     [](SmallTree& t) {
       DirentRow::Key key = t.entry(t.dir, "link");
       ++key.position;
       t.put(t.fs().dirents, key, DirentRow{t.file, FileType::regular, "link"});
     },
     "there are two of this name"},
    {"BadName",
     [](SmallTree& t) {
       t.put(t.fs().dirents, t.entry(t.dir, ".."), DirentRow{t.file, FileType::regular, ".."});
     },
     "no name may be like this"},
    {"EntryOfDropped",
     [](SmallTree& t) { t.edit_inode(t.file, [](InodeRow& r) { r.cut_stamp = InodeRow::dropped_stamp; }); },
     "what it names was removed and is being freed"},
    {"VolumeGone", [](SmallTree& t) { t.edit_inode(t.file, [](InodeRow& r) { r.volume = VolumeId(9); }); },
     "its volume 9 does not exist"},
    {"RootGone", [](SmallTree& t) { t.erase(t.fs().inodes, {t.fx.root()}); }, "its root, inode"},
    {"NumberNotGiven",
     [](SmallTree& t) { t.edit(t.fs().volumes, {t.fx.volume()}, [&](VolumeRow& r) { r.inode_limit = 3; }); },
     "its number has not been given yet"},
    {"ChangeOfTheFuture",
     [](SmallTree& t) {
       t.edit_inode(t.file, [](InodeRow& r) { r.change += uint64_t{9} << change_counter_bits; });
     },
     "its change attribute belongs to a later start"},
    {"Type",
     [](SmallTree& t) { t.edit_inode(t.symlink, [](InodeRow& r) { r.type = static_cast<FileType>(9); }); },
     "unknown type 9"},
    {"Mode", [](SmallTree& t) { t.edit_inode(t.file, [](InodeRow& r) { r.mode = 0100644; }); },
     "impossible mode 100644"},
    {"HugeFile", [](SmallTree& t) { t.edit_inode(t.file, [](InodeRow& r) { r.size = file_bytes_max + 1; }); },
     "bytes are more than a file may have"},
    {"ListWithoutFlag", [](SmallTree& t) { t.edit_inode(t.dir, [](InodeRow& r) { r.flags = 0; }); },
     "/dir (inode 2): it has an access control list, but its flags say that it has none"},
    {"FlagWithoutList", [](SmallTree& t) { t.erase(t.fs().acls, {t.dir}); },
     "/dir (inode 2): its flags say that it has an access control list, but it has none"},
    {"ListOfNothing", [](SmallTree& t) { t.put(t.fs().acls, {InodeId(t.file.value + 500)}, AclRow{}); },
     "has an access control list, but does not exist"},
    {"ListOfSymlink", [](SmallTree& t) { t.put(t.fs().acls, {t.symlink}, AclRow{}); },
     "a symbolic link with an access control list"},
    {"ListAndMode", [](SmallTree& t) { t.edit_inode(t.dir, [](InodeRow& r) { r.mode = 01750; }); },
     "its mode is 1750, but its access control list makes it 700"},
    {"ListOfAMode",
     [](SmallTree& t) {
       t.edit_inode(t.file, [](InodeRow& r) { r.flags = InodeRow::has_acl; });
       t.put(t.fs().acls, {t.file}, acl_of_mode(FileType::regular, 0644));
     },
     "its access control list says nothing that its mode does not say"},
    {"ListTooLong",
     [](SmallTree& t) {
       t.edit(t.fs().acls, {t.dir}, [](AclRow& r) { r.entries.resize(acl_entries_kept_max + 1); });
     },
     "its access control list has 521 entries"},
    {"EntryOfAnotherType",
     [](SmallTree& t) {
       t.edit_inode(t.file, [](InodeRow& r) { r.flags = InodeRow::has_acl, r.mode = 0; });
       t.put(t.fs().acls, {t.file},
             AclRow{.flags = 0, .entries = {{.flags = inherit_to_files, .mask = 0x80}}});
     },
     "its access control list has an entry that is none"},
    {"EntryMask",
     [](SmallTree& t) { t.edit(t.fs().acls, {t.dir}, [](AclRow& r) { r.entries[0].mask |= 1U << 31U; }); },
     "its access control list has an entry that is none"},
    {"TargetGone", [](SmallTree& t) { t.erase(t.fs().symlinks, {t.symlink}); },
     "a symbolic link without a target"},
    {"TargetSize", [](SmallTree& t) { t.edit_inode(t.symlink, [](InodeRow& r) { r.size = 3; }); },
     "its size is 3, but its target has 9 bytes"},
    {"TargetOfFile", [](SmallTree& t) { t.put(t.fs().symlinks, {t.file}, SymlinkRow{"x"}); },
     "has the target of a symbolic link, but is none"},
    {"XattrGone",
     [](SmallTree& t) { t.edit_inode(t.dir, [](InodeRow& r) { r.flags = InodeRow::has_xattrs; }); },
     "/dir (inode 2): it is said to have extended attributes, but has none"},
    {"XattrWithoutFlag", [](SmallTree& t) { t.edit_inode(t.file, [](InodeRow& r) { r.flags = 0; }); },
     "/file (inode 4) has extended attributes, but is said to have none"},
    {"XattrOfNothing",
     [](SmallTree& t) { t.put(t.fs().xattrs, t.xattr(InodeId(t.file.value + 500), "x"), XattrRow{"x", {}}); },
     "has extended attributes, but does not exist"},
    {"XattrOfSymlink",
     [](SmallTree& t) {
       t.put(t.fs().xattrs, t.xattr(t.symlink, "x"), XattrRow{"x", {}});
       t.edit_inode(t.symlink, [](InodeRow& r) { r.flags = InodeRow::has_xattrs; });
     },
     "has extended attributes, but is a symbolic link"},
    {"XattrMisplaced", [](SmallTree& t) { t.put(t.fs().xattrs, t.xattr(t.file, "x"), XattrRow{"y", {}}); },
     "extended attribute 'y' of /file (inode 4): it is not where its name belongs"},
    {"XattrNotFirstOfChain",
     [](SmallTree& t) {
       XattrRow::Key key = t.xattr(t.file, "x");
       ++key.position;
       t.put(t.fs().xattrs, key, XattrRow{"x", {}});
     },
     "there is a gap among those with its hash"},
    {"XattrTwice",
     [](SmallTree& t) {
       XattrRow::Key key = t.xattr(t.file, "attribute");
       ++key.position;
       t.put(t.fs().xattrs, key, XattrRow{"attribute", {}});
     },
     "there are two of this name"},
    {"XattrName",
     [](SmallTree& t) {
       const std::string name(251, 'x');
       t.put(t.fs().xattrs, t.xattr(t.file, name), XattrRow{name, {}});
     },
     "no name may be like this"},
    {"XattrValue",
     [](SmallTree& t) { t.put(t.fs().xattrs, t.xattr(t.file, "x"), XattrRow{"x", ByteVector(65537)}); },
     "its value is too large"},
    {"XattrsTooMuch",
     [](SmallTree& t) {
       for (const char* name : {"a", "b", "c", "d"})
         t.put(t.fs().xattrs, t.xattr(t.file, name), XattrRow{name, ByteVector(65536)});
     },
     "are too many"},
    {"XattrOfDropped",
     [](SmallTree& t) { t.edit_inode(t.file, [](InodeRow& r) { r.cut_stamp = InodeRow::dropped_stamp; }); },
     "has extended attributes, but was removed"},
    {"BlockCount", [](SmallTree& t) { t.edit_inode(t.file, [](InodeRow& r) { ++r.blocks; }); },
     "it counts 5 blocks, but has 4"},
    {"BlocksOfEmptyFile", [](SmallTree& t) { t.edit_inode(t.unnamed, [](InodeRow& r) { r.blocks = 1; }); },
     "it counts 1 blocks, but has 0"},
    {"ExtentEnd", [](SmallTree& t) { t.edit_inode(t.file, [](InodeRow& r) { r.extent_end = 2; }); },
     "the inode says that there are none behind file block 2"},
    {"BehindTheEnd", [](SmallTree& t) { t.edit_inode(t.file, [](InodeRow& r) { r.size = 1; }); },
     "1 bytes long, but a page row has content at file block 1"},
    {"ExtentBehindTheEnd",
     [](SmallTree& t) {
       t.erase(t.fs().pages, {t.file, FileBlock(1)});
       t.edit_inode(t.file, [](InodeRow& r) { r.size = block_bytes; });
     },
     "4096 bytes long, but an extent has content at file block 2"},
    {"PageBehindTheEnd",
     [](SmallTree& t) { t.edit_inode(t.file, [](InodeRow& r) { r.size = 4 * block_bytes; }); },
     "16384 bytes long, but a page row has content at file block 4"},
    {"PageTail",
     [](SmallTree& t) {
       t.edit_inode(t.file, [](InodeRow& r) { r.size = 4 * block_bytes + 5; });
       PageRow row{t.fs().new_change(), make_page()};
       std::ranges::fill(row.page.mutable_bytes(), std::byte{1});
       t.put(t.fs().pages, {t.file, FileBlock(4)}, row);
     },
     "not zero behind the end of the file"},
    {"ExtentOfDirectory",
     [](SmallTree& t) {
       t.edit(t.fs().allocations, {0}, [](AllocationRow& r) { r.used[0] |= 1U << 30U; });
       t.put(t.fs().extents, {t.dir, FileBlock(0)}, t.extent(0, 30, 1));
     },
     "has data, but is a directory"},
    {"ExtentOfNothing",
     [](SmallTree& t) {
       t.put(t.fs().extents, {InodeId(t.file.value + 500), FileBlock(0)}, t.extent(0, 30, 1));
     },
     "has data, but does not exist"},
    {"ExtentLength",
     [](SmallTree& t) {
       t.edit(t.fs().extents, {t.file, FileBlock(2)}, [](ExtentRow& r) { r.crcs.pop_back(); });
     },
     "it has 2 checksums"},
    {"ExtentOverlap", [](SmallTree& t) { t.put(t.fs().extents, {t.file, FileBlock(3)}, t.extent(2, 30, 2)); },
     "it overlaps the one before"},
    {"BlockTwice", [](SmallTree& t) { t.put(t.fs().extents, {t.unnamed, FileBlock(0)}, t.extent(0, 11, 1)); },
     "block 11: used twice, by /file (inode 4) file block 1, inode 6 file block "
     "0"},
    {"FreedAndUsed", [](SmallTree& t) { t.put(t.fs().freed, {1}, FreedRow{{{BlockNo(12), 1}}}); },
     "block 12: used twice, by /file (inode 4) file block 2, freed row 1"},
    {"FreedNothing", [](SmallTree& t) { t.put(t.fs().freed, {1}, FreedRow{}); }, "it frees nothing"},
    {"FreedOutside", [](SmallTree& t) { t.put(t.fs().freed, {1}, FreedRow{{{BlockNo(1U << 30U), 5}}}); },
     "but the block store has"},
    {"Leak", [](SmallTree& t) { t.edit(t.fs().allocations, {0}, [](AllocationRow& r) { r.used[1] = 6; }); },
     "blocks 65..66: marked as in use, but nothing uses them"},
    {"MarkedFree",
     [](SmallTree& t) {
       t.edit(t.fs().allocations, {0}, [](AllocationRow& r) { r.used[0] &= ~(1U << 11U); });
     },
     "block 11: used, but marked as free, by /file (inode 4) file block 1"},
    {"AllocationGone", [](SmallTree& t) { t.erase(t.fs().allocations, {0}); },
     "blocks 10..12: used, but marked as free"},
    {"OutsideTheStore",
     [](SmallTree& t) {
       t.edit(t.fs().extents, {t.file, FileBlock(2)}, [](ExtentRow& r) { r.block = BlockNo(1U << 30U); });
     },
     "but the block store has"},
    {"BlockZero",
     [](SmallTree& t) {
       t.edit(t.fs().extents, {t.file, FileBlock(2)}, [](ExtentRow& r) { r.block = BlockNo(0); });
     },
     "but the block store has"},
    {"CutWithoutReclaim",
     [](SmallTree& t) {
       t.edit_inode(t.file, [&](InodeRow& r) { r.cut_from = 2, r.cut_stamp = t.fs().new_change(); });
     },
     "truncated, but no transaction is freeing what was cut off"},
    {"DroppedWithoutReclaim",
     [](SmallTree& t) {
       t.fx.open.clear();
       t.edit_inode(t.unnamed, [&](InodeRow& r) { r.cut_stamp = InodeRow::dropped_stamp; });
     },
     "removed, but no transaction is freeing it"},
    {"StampOfTheFuture",
     [](SmallTree& t) {
       t.edit(t.fs().extents, {t.file, FileBlock(2)}, [](ExtentRow& r) { r.stamp = UINT64_MAX - 1; });
     },
     "of a later start of the server"},
};

class CheckTest : public ::testing::TestWithParam<Damage> {};

TEST_P(CheckTest, IsFoundInMemoryAndInTheStore) {
  SmallTree tree;
  ASSERT_THAT(tree.findings(), IsEmpty());
  tree.fx.checkpoint();
  GetParam().make(tree);
  EXPECT_THAT(tree.findings(), Contains(HasSubstr(GetParam().finding)));
  tree.fx.checkpoint();
  tree.fx.evict();
  EXPECT_THAT(tree.findings(), Contains(HasSubstr(GetParam().finding)));
}

INSTANTIATE_TEST_SUITE_P(Damages, CheckTest, ::testing::ValuesIn(damages),
                         [](const ::testing::TestParamInfo<Damage>& damage) { return damage.param.name; });

TEST(Check, ReclaimsInFlightExcuseWhatTheyFree) {
  SmallTree tree;
  tree.edit_inode(tree.file, [&](InodeRow& r) {
    r.size = 2 * block_bytes, r.cut_from = 2, r.cut_stamp = tree.fs().new_change();
  });
  tree.fx.reclaims.push_back(tree.file);
  EXPECT_THAT(tree.findings(), IsEmpty());
}

TEST(Check, DamagedRowsAreToldAndLeftOut) {
  SmallTree tree;
  tree.fx.checkpoint();
  tree.fx.evict();
  Encoder key;
  key.put(static_cast<uint8_t>(state::TableId::inode));
  state::encode_key(key, InodeKey{tree.symlink});
  bool done = false;
  tree.fx.kv().apply({{key.copy(), ByteVector(3)}}, std::nullopt,
                     [&](Result<void> r) { done = r.has_value(); });
  tree.fx.env().run_until_idle();
  ASSERT_TRUE(done);
  const auto found = tree.findings();
  EXPECT_THAT(found, Contains(HasSubstr("the inode row of inode=5 cannot be read")));
  EXPECT_THAT(found, Contains(HasSubstr("entry 'symlink' of / (inode 1): what it names")));
}

TEST(Check, DataIsComparedWithItsChecksums) {
  SmallTree tree;
  uint64_t damaged = 0;
  std::vector<std::string> found;
  CheckSurroundings surroundings{.open = {tree.unnamed},
                                 .reclaims = {},
                                 .blocks = tree.fx.blocks().capacity(),
                                 .read_blocks = [&](BlockNo first, MutableBytes into) -> Result<void> {
                                   for (size_t i = 0; i < into.size() / block_bytes; ++i) {
                                     const Bytes block = SmallTree::content(first.value + i);
                                     std::ranges::copy(
                                         block, into.begin() + static_cast<ptrdiff_t>(i * block_bytes));
                                     if (first.value + i == damaged) into[i * block_bytes] ^= std::byte{1};
                                   }
                                   return {};
                                 }};
  EXPECT_THAT(testing::findings_in(tree.fs(), surroundings), IsEmpty());
  damaged = 12;
  EXPECT_THAT(
      testing::findings_in(tree.fs(), surroundings),
      ::testing::ElementsAre(HasSubstr("block 12, file block 2 of /file (inode 4): its checksum is wrong")));
  damaged = 0;
  tree.edit_inode(tree.file, [](InodeRow& r) { r.size = 2 * block_bytes + 7; });
  tree.erase(tree.fs().pages, {tree.file, FileBlock(4)});
  tree.edit_inode(tree.file, [](InodeRow& r) { r.blocks = 3; });
  EXPECT_THAT(testing::findings_in(tree.fs(), surroundings),
              ::testing::ElementsAre(HasSubstr("not zero behind the end of the file")));
}

TEST(Check, ManyFindingsOfOneKindAreCounted) {
  size_t lines = 0;
  state::Findings findings([&lines](const std::string&) { ++lines; }, 3);
  for (int i = 0; i < 10; ++i) findings.add("a {}", i);
  for (int i = 0; i < 2; ++i) findings.add("b {}", i);
  EXPECT_EQ(findings.count(), 12U);
  EXPECT_EQ(lines, 3U + 1U + 2U);
}

}  // namespace
}  // namespace perdure::fs
