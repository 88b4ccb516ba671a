#include "fs/testing/names.h"

#include <algorithm>

#include "fs/link.h"
#include "fs/readdir.h"
#include "fs/readlink.h"
#include "fs/testing/consistency.h"

namespace perdure::fs::testing {

Outcome<Created> Names::create(InodeId directory, std::string_view name, const CreateRequest& request) {
  return fx_.run_to_end([&](Run& run) { return fs::create(fx_.fs(), run, who_, directory, name, request); });
}

InodeId Names::make(FileType type, InodeId directory, std::string_view name, uint32_t mode) {
  CreateRequest request;
  request.type = type;
  request.attributes.mode = mode;
  const auto created = create(directory, name, request);
  CHECK(created && created->created);
  return created->inode;
}

InodeId Names::file(InodeId directory, std::string_view name, uint32_t mode) {
  return make(FileType::regular, directory, name, mode);
}

InodeId Names::mkdir(InodeId directory, std::string_view name, uint32_t mode) {
  return make(FileType::directory, directory, name, mode);
}

InodeId Names::symlink(InodeId directory, std::string_view name, std::string_view target) {
  CreateRequest request;
  request.type = FileType::symlink;
  request.target = target;
  const auto created = create(directory, name, request);
  CHECK(created && created->created);
  return created->inode;
}

Status Names::link(InodeId object, InodeId directory, std::string_view name) {
  return status_of(
      fx_.run_to_end([&](Run& run) { return fs::link(fx_.fs(), run, who_, object, directory, name); }));
}

Status Names::remove(InodeId directory, std::string_view name, RemoveKind kind) {
  return status_of(
      fx_.run_to_end([&](Run& run) { return fs::remove(fx_.fs(), run, who_, directory, name, kind); }));
}

Outcome<Renamed> Names::rename_outcome(InodeId from_directory, std::string_view from, InodeId to_directory,
                                       std::string_view to) {
  return fx_.run_to_end(
      [&](Run& run) { return fs::rename(fx_.fs(), run, who_, from_directory, from, to_directory, to); });
}

Status Names::rename(InodeId from_directory, std::string_view from, InodeId to_directory,
                     std::string_view to) {
  return status_of(rename_outcome(from_directory, from, to_directory, to));
}

Status Names::set(InodeId id, const SetAttributes& set, SizeRight right) {
  return status_of(
      fx_.run_to_end([&](Run& run) { return set_attributes(fx_.fs(), run, who_, id, set, right); }));
}

Status Names::release(InodeId id) {
  return status_of(fx_.run_to_end([&](Run& run) { return released(fx_.fs(), run, id); }));
}

Status Names::lookup_status(InodeId directory, std::string_view name) {
  return status_of(fx_.run_to_end([&](Run& run) { return lookup(fx_.fs(), run, who_, directory, name); }));
}

InodeId Names::find(InodeId directory, std::string_view name) {
  const auto found = fx_.run_to_end([&](Run& run) { return lookup(fx_.fs(), run, who_, directory, name); });
  CHECK(found || found.error().status() == Status::no_entry);
  return found ? found->inode : InodeId(0);
}

bool Names::exists(InodeId id) {
  const auto loaded = fx_.run_to_end([&](Run& run) { return fx_.fs().load(run, id); });
  CHECK(loaded || loaded.error().status() == Status::stale);
  return loaded.has_value();
}

InodeRow Names::row(InodeId id) {
  return fx_.run_to_end([&](Run& run) { return fx_.fs().load(run, id); }).value();
}

std::string Names::target(InodeId id) {
  return fx_
      .run_to_end(
          [&](Run& run) -> Outcome<std::string> { return std::string(TRY(readlink(fx_.fs(), run, id))); })
      .value();
}

Access Names::access(InodeId id, uint32_t wanted) {
  return fx_.run_to_end([&](Run& run) { return fs::access(fx_.fs(), run, who_, id, wanted); }).value();
}

std::vector<std::string> Names::list(InodeId directory, size_t at_a_time) {
  std::vector<std::string> names;
  uint64_t cookie = 0;
  for (bool end = false; !end;) {
    std::vector<std::string> part;
    uint64_t last = cookie;
    const auto outcome = fx_.run_to_end([&](Run& run) {
      part.clear();
      return readdir(fx_.fs(), run, who_, directory, cookie, Ahead::inodes, at_a_time,
                     [&](const ListedEntry& entry) -> Outcome<bool> {
                       if (part.size() == at_a_time) return false;
                       part.emplace_back(entry.name);
                       last = entry.cookie;
                       return true;
                     });
    });
    end = outcome.value();
    cookie = last;
    names.insert(names.end(), part.begin(), part.end());
  }
  return names;
}

namespace {

// All rows of a table, whether in memory or not.
template <class Row>
std::map<typename Row::Key, Row> all_rows(FsFixture& fx, state::Table<Row>& table,
                                          const typename Row::Key& last) {
  std::map<typename Row::Key, Row> rows;
  typename Row::Key after{};
  for (bool more = true; more;) {
    more = fx.run_to_end([&](Run& run) -> Outcome<bool> {
               const auto found = TRY(table.next(run, after, last));
               if (!found) return false;
               rows.emplace(found.key, *found.row);
               after = found.key;
               return true;
             }).value();
  }
  return rows;
}

class NamesChecker {
 public:
  explicit NamesChecker(FsFixture& fixture)
      : fx_(fixture),
        inodes_(all_rows(fx_, fx_.fs().inodes, {InodeId(~uint64_t{0})})),
        entries_(all_rows(fx_, fx_.fs().dirents, {InodeId(~uint64_t{0}), ~uint64_t{0}})),
        symlinks_(all_rows(fx_, fx_.fs().symlinks, {InodeId(~uint64_t{0})})),
        xattrs_(all_rows(fx_, fx_.fs().xattrs, {InodeId(~uint64_t{0}), ~uint64_t{0}})),
        acls_(all_rows(fx_, fx_.fs().acls, {InodeId(~uint64_t{0})})) {}

  std::vector<std::string> check() {
    for (const auto& [key, entry] : entries_) check_entry(key, entry);
    for (const auto& [key, inode] : inodes_) check_inode(key.inode, inode);
    for (const auto& [key, row] : symlinks_)
      if (!inodes_.contains(key)) wrong("a target without a symlink", key.inode);
    for (const auto& [key, row] : xattrs_)
      if (!inodes_.contains({key.inode})) wrong("an extended attribute of nothing", key.inode);
    for (const auto& [key, row] : acls_)
      if (!inodes_.contains(key)) wrong("a list of nothing", key.inode);
    return std::move(problems_);
  }

 private:
  struct Count {
    uint32_t names = 0, subdirectories = 0;
    uint64_t entries = 0;
    InodeId parent;
  };

  void wrong(const char* what, InodeId inode) {
    problems_.push_back(fmt::format("{}: inode {:x}", what, inode.value));
  }

  void check_entry(const DirentRow::Key& key, const DirentRow& entry) {
    Count& directory = counts_[key.directory];
    ++directory.entries;
    Count& object = counts_[entry.inode];
    ++object.names;
    object.parent = key.directory;
    auto inode = inodes_.find({entry.inode});
    if (inode == inodes_.end()) return wrong("an entry without an inode", entry.inode);
    if (inode->second.type != entry.type) wrong("an entry of another type", entry.inode);
    if (entry.type == FileType::directory) ++directory.subdirectories;
    auto in = inodes_.find({key.directory});
    if (in == inodes_.end() || in->second.type != FileType::directory)
      return wrong("an entry in no directory", key.directory);
    const uint64_t begin = fx_.fs().position_of(in->second.volume, entry.entry_name);
    if (key.position < begin || key.position > begin + 255) wrong("a misplaced entry", entry.inode);
    if (key.position > begin && !entries_.contains({key.directory, key.position - 1}))
      wrong("a gap in a chain", entry.inode);
    if (!seen_.insert({key.directory, entry.entry_name}).second) wrong("a name twice", entry.inode);
  }

  void check_inode(InodeId id, const InodeRow& inode) {
    const Count& count = counts_[id];
    if (inode.type == FileType::directory) {
      const VolumeRow* volume = fx_.fs().volumes.peek({inode.volume});
      const bool root = volume != nullptr && id == volume->root;
      if (count.names != (root ? 0U : 1U)) wrong("a directory with several names, or none", id);
      if (inode.parent != (root ? id : count.parent)) wrong("a wrong parent", id);
      if (inode.links != 2 + count.subdirectories) wrong("a wrong number of subdirectories", id);
      if (inode.size != count.entries) wrong("a wrong number of entries", id);
    } else {
      if (inode.links != count.names) wrong("a wrong number of links", id);
      if (inode.links == 0 && !fx_.open.contains(id)) wrong("an orphan", id);
      if (count.entries != 0) wrong("entries in a file", id);
    }
    if ((inode.type == FileType::symlink) != symlinks_.contains({id})) wrong("no target", id);
    const auto xattr = xattrs_.lower_bound({id, 0});
    const bool has_xattrs = xattr != xattrs_.end() && xattr->first.inode == id;
    if (((inode.flags & InodeRow::has_xattrs) != 0) != has_xattrs) wrong("a wrong flag for xattrs", id);
    if (((inode.flags & InodeRow::has_acl) != 0) != acls_.contains({id})) wrong("a list, or none", id);
  }

  FsFixture& fx_;
  std::map<InodeKey, InodeRow> inodes_;
  std::map<DirentRow::Key, DirentRow> entries_;
  std::map<InodeKey, SymlinkRow> symlinks_;
  std::map<XattrRow::Key, XattrRow> xattrs_;
  std::map<InodeKey, AclRow> acls_;
  std::map<InodeId, Count> counts_;
  std::set<std::pair<InodeId, std::string>> seen_;
  std::vector<std::string> problems_;
};

}  // namespace

std::vector<std::string> check_names(FsFixture& fixture) {
  const FsFixture::Looking looking(fixture);
  return NamesChecker(fixture).check();
}

std::vector<std::string> check_all(FsFixture& fixture) {
  std::vector<InodeId> reclaims = fixture.reclaims;
  std::ranges::sort(reclaims);
  return findings_in(fixture.fs(), {.open = {fixture.open.begin(), fixture.open.end()},
                                    .reclaims = std::move(reclaims),
                                    .blocks = fixture.blocks().capacity(),
                                    .read_blocks = {}});
}

}  // namespace perdure::fs::testing
