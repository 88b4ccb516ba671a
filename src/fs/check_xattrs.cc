// Extended attributes.
#include <algorithm>

#include "fs/check_inodes.h"
#include "fs/xattr.h"

namespace perdure::fs {

namespace {

class XattrsCheck {
 public:
  XattrsCheck(FileSystem& fs, CheckedInodes& inodes, state::Findings& findings, CheckFigures& figures)
      : fs_(fs), inodes_(inodes), findings_(findings), figures_(figures) {}

  Result<void> run();

 private:
  void enter(InodeId id);
  void check_row(const XattrRow::Key& key, const XattrRow& row);
  void check_position(const XattrRow::Key& key, const XattrRow& row);
  void leave();
  void tell(const XattrRow& row, std::string_view problem) {
    findings_.add_line(problem, fmt::format("extended attribute '{}' of {}: {}", printable(row.xattr_name),
                                            inodes_.describe(id_), problem));
  }

  FileSystem& fs_;
  CheckedInodes& inodes_;
  state::Findings& findings_;
  CheckFigures& figures_;
  InodeId id_;                     // whose rows are being read
  CheckedInode* inode_ = nullptr;  // null: nothing that could have any
  size_t count_ = 0, list_bytes_ = 0, total_bytes_ = 0;
  uint64_t last_position_ = 0;
  std::vector<std::string> chain_;  // names with the hash of the last one
};

Result<void> XattrsCheck::run() {
  state::RowReader<XattrRow> rows(fs_.xattrs, inodes_.damaged());
  while (TRY(rows.next())) {
    ++figures_.xattrs;
    if (rows.key().inode != id_) enter(rows.key().inode);
    check_row(rows.key(), rows.row());
  }
  leave();
  for (const CheckedInode& inode : inodes_.all())
    if (inode.has_xattrs && !inode.found_xattrs)
      findings_.add("{}: it is said to have extended attributes, but has none", inodes_.describe(inode.id));
  return {};
}

void XattrsCheck::enter(InodeId id) {
  leave();
  id_ = id;
  inode_ = inodes_.find(id);
  count_ = list_bytes_ = total_bytes_ = 0;
  last_position_ = 0;
  chain_.clear();
  if (inode_ == nullptr) {
    findings_.add("inode {} has extended attributes, but does not exist", id);
    return;
  }
  inode_->found_xattrs = true;
  if (inode_->dropped())
    findings_.add("{} has extended attributes, but was removed", inodes_.describe(id));
  else if (!inode_->has_xattrs)
    findings_.add("{} has extended attributes, but is said to have none", inodes_.describe(id));
  if (inode_->type != FileType::regular && !inode_->is_directory())
    findings_.add("{} has extended attributes, but is a {}", inodes_.describe(id), type_name(inode_->type));
}

void XattrsCheck::check_row(const XattrRow::Key& key, const XattrRow& row) {
  const std::string& name = row.xattr_name;
  if (name.empty() || name.size() > xattr_name_bytes_max || name.find('\0') != name.npos)
    tell(row, "no name may be like this");
  if (row.value.size() > xattr_value_bytes_max) tell(row, "its value is too large");
  if (inode_ != nullptr) check_position(key, row);
  ++count_;
  list_bytes_ += std::string_view("user.").size() + name.size() + 1;
  total_bytes_ += name.size() + row.value.size();
}

// As the positions of entries are.
void XattrsCheck::check_position(const XattrRow::Key& key, const XattrRow& row) {
  const bool same_hash = !chain_.empty() && key.position >> 8U == last_position_ >> 8U;
  if (!same_hash) chain_.clear();
  if (const uint64_t expected = same_hash ? last_position_ + 1 : key.position & ~uint64_t{0xff};
      key.position != expected)
    tell(row, "there is a gap among those with its hash; it cannot be found");
  const VolumeRow* volume = inodes_.volume(inode_->volume);
  if (volume != nullptr && fs_.position_of(*volume, row.xattr_name) >> 8U != key.position >> 8U)
    tell(row, "it is not where its name belongs, and cannot be found");
  if (std::ranges::find(chain_, row.xattr_name) != chain_.end()) tell(row, "there are two of this name");
  chain_.push_back(row.xattr_name);
  last_position_ = key.position;
}

void XattrsCheck::leave() {
  if (count_ > xattrs_max || list_bytes_ > xattr_list_bytes_max || total_bytes_ > xattr_total_bytes_max)
    findings_.add("{}: {} extended attributes, with names of {} bytes and {} bytes in all, are too many",
                  inodes_.describe(id_), count_, list_bytes_, total_bytes_);
}

}  // namespace

Result<void> check_xattrs(FileSystem& fs, CheckedInodes& inodes, const CheckSurroundings&,
                          state::Findings& findings, CheckFigures& figures) {
  return XattrsCheck(fs, inodes, findings, figures).run();
}

}  // namespace perdure::fs
