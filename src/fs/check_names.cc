// Entries, link counts and the tree.
#include <algorithm>

#include "fs/check_inodes.h"
#include "fs/directory.h"

namespace perdure::fs {

namespace {

class NamesCheck {
 public:
  NamesCheck(FileSystem& fs, CheckedInodes& inodes, const CheckSurroundings& surroundings,
             state::Findings& findings, CheckFigures& figures)
      : fs_(fs), inodes_(inodes), surroundings_(surroundings), findings_(findings), figures_(figures) {}

  Result<void> run() {
    TRY(check_entries());
    check_reachable();
    for (CheckedInode& inode : inodes_.all()) check_inode(inode);
    check_surroundings();
    return {};
  }

 private:
  Result<void> check_entries();
  void enter(InodeId directory);
  void check_position(const DirentRow::Key& key, const DirentRow& row);
  void check_target(const DirentRow::Key& key, const DirentRow& row);
  void check_reachable();
  void check_inode(CheckedInode& inode);
  void check_directory(CheckedInode& inode);
  void check_unnamed(const CheckedInode& inode);
  void check_surroundings();

  // Told when all names are known. `problem` lives for ever: it is the finding's kind, too.
  void entry_problem(const DirentRow& row, std::string_view problem, std::string details = "") {
    constexpr size_t deferred_max = 100'000;
    deferred_.push_back({directory_id_, row.entry_name, problem, std::move(details)});
    if (deferred_.size() == deferred_max) tell_deferred();
  }
  void tell_deferred();

  FileSystem& fs_;
  CheckedInodes& inodes_;
  const CheckSurroundings& surroundings_;
  state::Findings& findings_;
  CheckFigures& figures_;

  struct EntryProblem {
    InodeId directory;
    std::string name;
    std::string_view problem;
    std::string details;
  };
  std::vector<EntryProblem> deferred_;
  InodeId directory_id_;               // whose entries are being read
  CheckedInode* directory_ = nullptr;  // null: they belong to nothing that could have entries
  uint64_t last_position_ = 0;
  std::vector<std::string> chain_;  // names with the hash of the last one
};

Result<void> NamesCheck::check_entries() {
  state::RowReader<DirentRow> rows(fs_.dirents, inodes_.damaged());
  while (TRY(rows.next())) {
    ++figures_.entries;
    if (rows.key().directory != directory_id_) enter(rows.key().directory);
    if (const auto good = check_name(rows.row().entry_name); !good)
      entry_problem(rows.row(), "no name may be like this");
    if (directory_ != nullptr) check_position(rows.key(), rows.row());
    check_target(rows.key(), rows.row());
  }
  tell_deferred();
  return {};
}

void NamesCheck::tell_deferred() {
  for (const EntryProblem& p : deferred_)
    findings_.add_line(p.problem, fmt::format("entry '{}' of {}: {}{}", printable(p.name),
                                              inodes_.describe(p.directory), p.problem, p.details));
  deferred_.clear();
}

void NamesCheck::enter(InodeId directory) {
  directory_id_ = directory;
  directory_ = inodes_.find(directory);
  last_position_ = 0;
  chain_.clear();
  if (directory_ == nullptr) {
    findings_.add("inode {} has directory entries, but does not exist", directory);
  } else if (!directory_->is_directory()) {
    findings_.add("inode {} has directory entries, but is a {}", directory, type_name(directory_->type));
    directory_ = nullptr;
  }
}

// Positions are READDIR's cookies: the hash of the name, and which of the names with this hash.
void NamesCheck::check_position(const DirentRow::Key& key, const DirentRow& row) {
  const bool same_hash = !chain_.empty() && key.position >> 8U == last_position_ >> 8U;
  if (!same_hash) chain_.clear();
  if (const uint64_t expected = same_hash ? last_position_ + 1 : key.position & ~uint64_t{0xff};
      key.position != expected)
    entry_problem(row, "there is a gap among the names with its hash; it cannot be found");
  const VolumeRow* volume = inodes_.volume(directory_->volume);
  if (volume != nullptr && fs_.position_of(*volume, row.entry_name) >> 8U != key.position >> 8U)
    entry_problem(row, "it is not where its name belongs, and cannot be found");
  if (std::ranges::find(chain_, row.entry_name) != chain_.end())
    entry_problem(row, "there are two of this name");
  chain_.push_back(row.entry_name);
  last_position_ = key.position;
}

void NamesCheck::check_target(const DirentRow::Key& key, const DirentRow& row) {
  CheckedInode* target = inodes_.find(row.inode);
  if (directory_ != nullptr) {
    ++directory_->entries();
    if (row.type == FileType::directory) ++directory_->subdirectories();
  }
  if (target == nullptr)
    return entry_problem(row, "what it names does not exist", fmt::format(": inode {}", row.inode));
  if (target->dropped())
    entry_problem(row, "what it names was removed and is being freed", fmt::format(": inode {}", row.inode));
  if (target->type != row.type)
    entry_problem(
        row, "it has the wrong type",
        fmt::format(": {}, but inode {} is a {}", type_name(row.type), row.inode, type_name(target->type)));
  if (directory_ != nullptr && target->volume != directory_->volume)
    entry_problem(row, "what it names is in another volume", fmt::format(": inode {}", row.inode));
  ++target->names;
  const bool parent = target->is_directory() && target->parent == key.directory;
  if (target->names > 1 && !parent) return;
  target->named_in = key.directory;
  target->position = key.position;
}

// Each directory is followed up to a root, or to one whose way is known.
void NamesCheck::check_reachable() {
  using Reach = CheckedInode::Reach;
  std::vector<CheckedInode*> way;
  for (CheckedInode& start : inodes_.all()) {
    if (!start.is_directory()) continue;
    way.clear();
    CheckedInode* at = &start;
    while (at != nullptr && at->is_directory() && !at->is_root && at->reach == Reach::unknown) {
      at->reach = Reach::asked;
      way.push_back(at);
      at = at->names != 0 ? inodes_.find(at->named_in) : nullptr;
    }
    const bool root = at != nullptr && (at->is_root || at->reach == Reach::root);
    for (CheckedInode* inode : way) inode->reach = root ? Reach::root : Reach::nowhere;
  }
}

void NamesCheck::check_inode(CheckedInode& inode) {
  ++figures_.inodes;
  if (inode.is_directory()) return check_directory(inode);
  if (inode.names == 0) return check_unnamed(inode);
  if (inode.links != inode.names)
    findings_.add("{}: its link count is {}, but it has {} {}", inodes_.describe(inode.id), inode.links,
                  inode.names, inode.names == 1 ? "name" : "names");
}

void NamesCheck::check_directory(CheckedInode& inode) {
  ++figures_.directories;
  const auto name = [&] { return inodes_.describe(inode.id); };
  if (inode.is_root) {
    if (inode.names != 0) findings_.add("{}: the root of a volume, but an entry names it", name());
    if (inode.parent != inode.id)
      findings_.add("{}: the root of a volume, but its '..' is inode {}", name(), inode.parent);
  } else if (inode.names == 0) {
    findings_.add("inode {}: an orphan: a directory with {} entries, and no entry names it", inode.id,
                  inode.entries());
  } else {
    if (inode.names > 1) findings_.add("{}: a directory with {} names", name(), inode.names);
    if (inode.parent != inode.named_in)
      findings_.add("{}: its '..' is inode {} instead of {}", name(), inode.parent, inode.named_in);
    if (inode.reach != CheckedInode::Reach::root)
      findings_.add("{}: not reachable from the root of its volume", name());
  }
  if (inode.size != inode.entries())
    findings_.add("{}: it counts {} entries, but has {}", name(), inode.size, inode.entries());
  if (inode.links != 2 + inode.subdirectories())
    findings_.add("{}: its link count is {}, but with {} subdirectories it must be {}", name(), inode.links,
                  inode.subdirectories(), 2 + inode.subdirectories());
}

void NamesCheck::check_unnamed(const CheckedInode& inode) {
  const auto in = [&inode](const std::vector<InodeId>& ids) {
    return std::ranges::binary_search(ids, inode.id);
  };
  if (inode.links != 0)
    findings_.add("inode {}: an orphan: a {} of {} bytes with link count {}, and no entry names it", inode.id,
                  type_name(inode.type), inode.size, inode.links);
  else if (inode.dropped() && !in(surroundings_.reclaims))
    findings_.add("inode {}: removed, but no transaction is freeing it", inode.id);
  else if (!inode.dropped() && !in(surroundings_.open))
    findings_.add("inode {}: an orphan: a {} of {} bytes without a name, and nobody has it open", inode.id,
                  type_name(inode.type), inode.size);
}

void NamesCheck::check_surroundings() {
  for (const InodeId id : surroundings_.open) {
    const CheckedInode* inode = inodes_.find(id);
    if (inode == nullptr || inode->dropped())
      findings_.add("inode {}: a client has it open, but it does not exist", id);
    else if (inode->type != FileType::regular)
      findings_.add("{}: a client has it open, but it is a {}", inodes_.describe(id), type_name(inode->type));
  }
  for (const CheckedInode& inode : inodes_.all())
    if (!inode.is_directory() && !inode.dropped() && inode.cut_stamp != 0 &&
        !std::ranges::binary_search(surroundings_.reclaims, inode.id))
      findings_.add("{}: truncated, but no transaction is freeing what was cut off",
                    inodes_.describe(inode.id));
}

}  // namespace

Result<void> check_names(FileSystem& fs, CheckedInodes& inodes, const CheckSurroundings& surroundings,
                         state::Findings& findings, CheckFigures& figures) {
  return NamesCheck(fs, inodes, surroundings, findings, figures).run();
}

}  // namespace perdure::fs
