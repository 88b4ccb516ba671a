// FileSystem: what every file operation works on: the tables, ids, change numbers, and the inode as its
// readers see it. The operations are free functions over it, one file each: lookup.h, create.h, rename.h,
// write.h, ... A file tree that knows no protocol: who asks is a Principal, answers are Status or values.
// Thread: the vserver's loop. All functions that take a Run are called inside it and may fault.
#pragma once

#include <absl/container/inlined_vector.h>

#include <functional>
#include <memory>

#include "base/planted_bug.h"
#include "base/siphash.h"
#include "fs/data_options.h"
#include "fs/dirty_pages.h"
#include "fs/rows.h"
#include "state/table.h"
#include "store/block_store.h"

namespace perdure::fs {

using state::Run;

// Who asks, after the export's squash rules.
struct Principal {
  uint32_t uid = 65534, gid = 65534;
  absl::InlinedVector<uint32_t, 16> groups;
  bool is_root() const { return uid == 0; }
  bool in_group(uint32_t group) const;
};

// Of an inode id: the volume, and the counter in it.
inline constexpr unsigned inode_counter_bits = 48;
// Of a change number: the epoch that gave it.
inline constexpr unsigned change_counter_bits = 44;

class Data;  // fs/data.h: pages, blocks, allocation, write-back

struct FileSystemOptions {
  // Bits of a name's hash in its entry's position. 55 of them leave cookies positive as signed numbers: the
  // Linux client keeps them in a loff_t, where seekdir refuses negative ones. Fewer make names collide.
  unsigned name_hash_bits = 55;
  DataOptions data;
};

class FileSystem {
 public:
  // What fs asks of the layers above it.
  struct Hooks {
    // Somebody has the file open: removal of its last link keeps it until released() is called.
    std::function<Outcome<bool>(Run&, InodeId)> is_open;
    // Starts the reclaim transaction of `inode` (fs/reclaim.h) within this run.
    std::function<void(Run&, InodeId)> start_reclaim;
    // A waiting transaction can go on.
    std::function<void(TransactionId)> resume;
  };

  // Tables register with `database`.
  FileSystem(env::Env& env, state::Database& database, store::BlockStore& blocks, Hooks hooks,
             FileSystemOptions options = {});
  ~FileSystem();

  // In which this primary serves: change numbers are above those of every earlier one. Before any run.
  void set_epoch(Epoch epoch) { epoch_ = epoch; }
  Epoch epoch() const { return epoch_; }
  // After restoration (all resident tables are loaded and the log is redone): makes the volatile parts from
  // the rows.
  void restored();

  // The inode with what unstable writes have added; Status::stale if there is none.
  Outcome<InodeRow> load(Run& run, InodeId id);
  // Makes `inode`, which load() gave, the inode's state; what was pending is thereby stable.
  void store(Run& run, InodeId id, InodeRow inode);
  // After a change of content or attributes: ctime (and mtime) are the run's time, change is new.
  void touch_content(Run& run, InodeRow& inode);
  void touch_attributes(Run& run, InodeRow& inode);

  // Never given twice, growing: epoch << 44 | counter.
  uint64_t new_change() {
    const uint64_t epoch = planted("change attributes begin anew with each start") ? 1 : epoch_.value;
    return (epoch << change_counter_bits) | ++last_change_;
  }
  // A fresh inode id: no row of any table has ever had it. (Volume - 1) << 48 | counter, so that the first
  // volume's file ids are small numbers; the volume's row holds the counter's limit, which is moved up by
  // 1024 at a time.
  InodeId new_inode_id(Run& run, VolumeId volume);
  // Where `name` hashes to in a directory of `volume`: its position with n == 0.
  uint64_t position_of(VolumeId volume, std::string_view name) const;
  uint64_t position_of(const VolumeRow& volume, std::string_view name) const;

  env::Env& env() { return env_; }
  state::Database& database() { return database_; }
  Hooks& hooks() { return hooks_; }
  Data& data() { return *data_; }

  state::Table<VolumeRow> volumes;
  state::Table<InodeRow> inodes;
  state::Table<DirentRow> dirents;
  state::Table<SymlinkRow> symlinks;
  state::Table<XattrRow> xattrs;
  state::Table<AclRow> acls;
  state::Table<ExtentRow> extents;
  state::Table<PageRow> pages;
  state::Table<AllocationRow> allocations;
  state::Table<FreedRow> freed;
  state::Table<BlockReferenceRow> block_references;
  DirtyPages dirty_pages;
  state::Table<PendingInodeRow> pending_inodes;

 private:
  env::Env& env_;
  state::Database& database_;
  Epoch epoch_;
  Hooks hooks_;
  FileSystemOptions options_;
  uint64_t last_change_ = 0;
  absl::btree_map<VolumeId, uint64_t> next_inode_;
  std::unique_ptr<Data> data_;
};

// The limits that clients are told (pathconf).
inline constexpr size_t name_bytes_max = 255;
inline constexpr size_t symlink_bytes_max = 4095;
inline constexpr uint32_t links_max = 65000;
inline constexpr uint64_t file_bytes_max = (uint64_t{1} << 63U) - 1;

}  // namespace perdure::fs
