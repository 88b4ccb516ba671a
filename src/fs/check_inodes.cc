#include "fs/check_inodes.h"

#include <algorithm>

#include "fs/access.h"
#include "fs/volume.h"

namespace perdure::fs {

Result<CheckFigures> check(FileSystem& fs, const CheckSurroundings& surroundings, state::Findings& findings) {
  CheckFigures figures;
  CheckedInodes inodes(fs, findings);
  TRY(inodes.load());
  TRY(check_names(fs, inodes, surroundings, findings, figures));
  TRY(check_xattrs(fs, inodes, surroundings, findings, figures));
  TRY(check_acls(fs, inodes, findings));
  TRY(check_content(fs, inodes, surroundings, findings, figures));
  if (surroundings.read_blocks) TRY(check_data(fs, inodes, surroundings, findings, figures));
  return figures;
}

Result<void> CheckedInodes::load_volumes() {
  state::RowReader<VolumeRow> rows(fs_.volumes, damaged());
  while (TRY(rows.next())) {
    const VolumeId id = rows.key().volume;
    if (id.value == 0 || id.value > volume_id_max) findings_.add("volume {}: no valid number", id);
    for (const auto& [other, row] : volumes_)
      if (row.volume_name == rows.row().volume_name || row.uuid == rows.row().uuid)
        findings_.add("volumes {} and {} have the same name or uuid", other, id);
    volumes_.emplace(id, rows.row());
  }
  return {};
}

Result<void> CheckedInodes::load() {
  TRY(load_volumes());
  state::RowReader<InodeRow> rows(fs_.inodes, damaged());
  while (TRY(rows.next())) {
    const InodeRow& row = rows.row();
    check_row(rows.key().inode, row);
    CheckedInode& inode = inodes_.emplace_back();
    inode.id = rows.key().inode;
    inode.parent = row.parent;
    inode.size = row.size;
    inode.links = row.links;
    inode.volume = row.volume;
    inode.type = row.type;
    inode.has_xattrs = (row.flags & InodeRow::has_xattrs) != 0;
    inode.mode = static_cast<uint16_t>(row.mode);
    inode.says_acl = (row.flags & InodeRow::has_acl) != 0;
    if (inode.is_directory()) continue;
    inode.blocks = row.blocks;
    inode.extent_end = row.extent_end;
    inode.cut_from = row.cut_from;
    inode.cut_stamp = row.cut_stamp;
  }
  for (const auto& [id, volume] : volumes_) {
    CheckedInode* root = find(volume.root);
    if (root == nullptr)
      findings_.add("volume {}: its root, inode {}, does not exist", id, volume.root);
    else if (!root->is_directory())
      findings_.add("volume {}: its root, inode {}, is a {}", id, volume.root, type_name(root->type));
    else
      root->is_root = true;
  }
  return {};
}

// What can be said of a row without any other, but its volume's.
void CheckedInodes::check_row(InodeId id, const InodeRow& row) {
  const bool regular = row.type == FileType::regular;
  if (row.type < FileType::regular || row.type > FileType::fifo)
    findings_.add("inode {}: unknown type {}", id, static_cast<unsigned>(row.type));
  const VolumeRow* in = volume(row.volume);
  if (in == nullptr)
    findings_.add("inode {}: its volume {} does not exist", id, row.volume);
  else if ((id.value & ((uint64_t{1} << inode_counter_bits) - 1)) >= in->inode_limit)
    findings_.add("inode {}: its number has not been given yet; it would be given a second time", id);
  if ((id.value >> inode_counter_bits) + 1 != row.volume.value)
    findings_.add("inode {}: its number belongs to another volume than {}", id, row.volume);
  if ((row.mode & ~mode_bits) != 0) findings_.add("inode {}: impossible mode {:o}", id, row.mode);
  if (regular && row.size > file_bytes_max)
    findings_.add("inode {}: {} bytes are more than a file may have", id, row.size);
  if (in_future(row.change))
    findings_.add("inode {}: its change attribute belongs to a later start of the server", id);
  if (row.cut_stamp != 0 && row.cut_stamp != InodeRow::dropped_stamp && in_future(row.cut_stamp))
    findings_.add("inode {}: it was cut off by a later start of the server", id);
  if (!regular && (row.blocks != 0 || row.extent_end != 0 || row.cut_from != 0 || row.cut_stamp != 0))
    findings_.add("inode {}: a {} with data blocks", id, type_name(row.type));
  if (row.cut_stamp == 0 && row.cut_from != 0)
    findings_.add("inode {}: it says from where it is cut off, but not when", id);
}

CheckedInode* CheckedInodes::find(InodeId id) {
  auto it = std::lower_bound(inodes_.begin(), inodes_.end(), id,
                             [](const CheckedInode& inode, InodeId wanted) { return inode.id < wanted; });
  return it != inodes_.end() && it->id == id ? &*it : nullptr;
}

const VolumeRow* CheckedInodes::volume(VolumeId id) const {
  auto it = volumes_.find(id);
  return it == volumes_.end() ? nullptr : &it->second;
}

// The entry itself is read again: names are not kept.
std::string CheckedInodes::name_in(const CheckedInode& inode) {
  const DirentRow::Key key{inode.named_in, inode.position};
  state::RowReader<DirentRow> entry(fs_.dirents, [](const std::string&) {}, key, key);
  const Result<bool> found = entry.next();
  return found && *found ? printable(entry.row().entry_name) : "?";
}

std::string CheckedInodes::describe(InodeId id) {
  constexpr size_t depth_max = 256;
  const CheckedInode* inode = find(id);
  std::string path;
  size_t depth = 0;
  while (inode != nullptr && !inode->is_root && inode->names != 0 && ++depth < depth_max) {
    path.insert(0, '/' + name_in(*inode));
    inode = find(inode->named_in);
  }
  if (inode == nullptr || !inode->is_root) {
    return path.empty() ? fmt::format("inode {}", id) : fmt::format("...{} (inode {})", path, id);
  }
  const VolumeRow* in = volume(inode->volume);
  const std::string prefix = volumes_.size() > 1 && in != nullptr ? printable(in->volume_name) + ':' : "";
  return fmt::format("{}{} (inode {})", prefix, path.empty() ? "/" : path, id);
}

}  // namespace perdure::fs
