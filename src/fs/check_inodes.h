// What the checker remembers of every inode, in a compact form, and the names of inodes for people. Internal
// to check*.cc.
#pragma once

#include <deque>
#include <string>

#include "fs/check.h"
#include "fs/words.h"
#include "state/row_reader.h"

namespace perdure::fs {

struct CheckedInode {
  InodeId id, parent;
  uint64_t size = 0;
  uint64_t blocks = 0, extent_end = 0;  // of a directory: its subdirectories, its entries, as they are found
  uint64_t cut_from = 0, cut_stamp = 0;
  InodeId named_in;  // by an entry of this directory, at this position: the first one that is found
  uint64_t position = 0;
  uint32_t links = 0, names = 0;  // names: entries that point to it
  VolumeId volume;
  FileType type{};
  uint16_t mode = 0;                              // the lower 12 bits
  bool has_target = false;                        // a symlink row
  bool says_acl = false, has_acl = false;         // its row says so; an acl row
  bool has_xattrs = false, found_xattrs = false;  // its row says so; rows
  bool is_root = false;
  enum class Reach : uint8_t {
    unknown,
    asked,
    root,
    nowhere
  } reach{};  // of a directory: where its ".." leads

  bool is_directory() const { return type == FileType::directory; }
  bool dropped() const { return cut_stamp == InodeRow::dropped_stamp; }
  bool cut_off(FileBlock block, uint64_t stamp) const { return block.value >= cut_from && stamp < cut_stamp; }
  uint64_t& subdirectories() { return blocks; }
  uint64_t& entries() { return extent_end; }
};

class CheckedInodes {
 public:
  CheckedInodes(FileSystem& fs, state::Findings& findings) : fs_(fs), findings_(findings) {}

  // All inode rows, each checked by itself, and the volumes.
  Result<void> load();
  // nullptr: there is none.
  CheckedInode* find(InodeId id);
  std::deque<CheckedInode>& all() { return inodes_; }
  const VolumeRow* volume(VolumeId id) const;

  // "/a/b (inode 7)", as far as the names are known; "inode 7".
  std::string describe(InodeId id);
  // What a RowReader says of a row that is none.
  auto damaged() {
    return [this](const std::string& what) { findings_.add("{}", what); };
  }
  // A change number or stamp of a start that has not been yet.
  bool in_future(uint64_t change) const { return change >> change_counter_bits > fs_.epoch().value; }

 private:
  Result<void> load_volumes();
  void check_row(InodeId id, const InodeRow& row);
  std::string name_in(const CheckedInode& inode);

  FileSystem& fs_;
  state::Findings& findings_;
  std::deque<CheckedInode> inodes_;  // in the order of their ids
  absl::btree_map<VolumeId, VolumeRow> volumes_;
};

// The parts of check(), in the order in which they are called.
Result<void> check_acls(FileSystem& fs, CheckedInodes& inodes, state::Findings& findings);
Result<void> check_names(FileSystem& fs, CheckedInodes& inodes, const CheckSurroundings& surroundings,
                         state::Findings& findings, CheckFigures& figures);
Result<void> check_xattrs(FileSystem& fs, CheckedInodes& inodes, const CheckSurroundings& surroundings,
                          state::Findings& findings, CheckFigures& figures);
Result<void> check_content(FileSystem& fs, CheckedInodes& inodes, const CheckSurroundings& surroundings,
                           state::Findings& findings, CheckFigures& figures);
Result<void> check_data(FileSystem& fs, CheckedInodes& inodes, const CheckSurroundings& surroundings,
                        state::Findings& findings, CheckFigures& figures);

}  // namespace perdure::fs
