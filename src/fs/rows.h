// The rows of the file system. Their encodings follow from fields() (state/codec.h, docs/formats/rows.md).
#pragma once

#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/ids.h"
#include "base/page.h"
#include "base/siphash.h"
#include "state/table_id.h"

namespace perdure::fs {

using state::Residence;
using state::TableId;
using VolumeId = Strong<struct VolumeIdTag, uint32_t>;

// The values are those of nfs_ftype4 and ftype3.
enum class FileType : uint8_t {
  regular = 1,
  directory,
  block_device,
  character_device,
  symlink,
  socket,
  fifo
};

struct InodeKey {
  InodeId inode;
  auto operator<=>(const InodeKey&) const = default;
  template <class Self, class V>
  static void fields(Self& k, V&& v) {
    v("inode", k.inode);
  }
};

// Invariants:
//   links > 0, or the inode is open (removed at its last CLOSE), or a reclaim transaction is at work on it
//   of a directory: links == 2 + number of subdirectories, size == number of entries
//   blocks == number of file blocks that have a page row or an extent, cut off or not: a truncated file gives
//             its blocks back as they are reclaimed
//   no extent of the inode reaches beyond file block extent_end
struct InodeRow {
  static constexpr TableId table = TableId::inode;
  static constexpr Residence residence = Residence::cached;
  static constexpr const char* name = "inode";
  using Key = InodeKey;

  FileType type{};
  VolumeId volume;
  uint32_t mode = 0;  // the lower 12 bits
  uint32_t uid = 0, gid = 0;
  uint32_t links = 0;
  uint32_t device_major = 0, device_minor = 0;
  uint64_t size = 0;  // bytes; of a directory: entries; of a symlink: bytes of its target
  uint64_t blocks = 0;
  uint64_t change = 0;  // FileSystem::new_change(): never given twice, not even after a power cut
  int64_t atime_ns = 0, mtime_ns = 0, ctime_ns = 0, btime_ns = 0;
  InodeId parent;                // of a directory; the root is its own parent
  uint64_t create_verifier = 0;  // of the exclusive create that made it, 0 if none
  uint64_t extent_end = 0;
  // A truncation under way: what lies at or behind file block cut_from with a stamp below cut_stamp is cut
  // off, and is being freed by a reclaim transaction. cut_stamp == 0: none.
  uint64_t cut_from = 0, cut_stamp = 0;
  // What else there is of it, so that nobody looks for what is not there.
  static constexpr uint32_t has_xattrs = 1;     // an XattrRow or more
  static constexpr uint32_t has_acl = 2;        // an AclRow; without it the mode says all
  static constexpr uint32_t shares_blocks = 4;  // some extent may name blocks that another one names as well
  uint32_t flags = 0;
  static constexpr uint64_t dropped_stamp = UINT64_MAX;

  bool may_share_blocks() const { return (flags & shares_blocks) != 0; }
  bool cut_off(FileBlock block, uint64_t stamp) const { return block.value >= cut_from && stamp < cut_stamp; }
  // The file is gone: only its reclaim transaction still knows it (fs/reclaim.h). For all others it is stale.
  bool dropped() const { return cut_stamp == dropped_stamp; }

  template <class Self, class V>
  static void fields(Self& r, V&& v) {
    v("type", r.type), v("volume", r.volume), v("mode", r.mode), v("uid", r.uid), v("gid", r.gid);
    v("links", r.links), v("major", r.device_major), v("minor", r.device_minor);
    v("size", r.size), v("blocks", r.blocks), v("change", r.change);
    v("atime", r.atime_ns), v("mtime", r.mtime_ns), v("ctime", r.ctime_ns), v("btime", r.btime_ns);
    v("parent", r.parent), v("create_verifier", r.create_verifier), v("extent_end", r.extent_end);
    v("cut_from", r.cut_from), v("cut_stamp", r.cut_stamp), v("flags", r.flags);
  }
};

// A directory entry. Its position is also its READDIR cookie: (55-bit keyed hash of the name, never 0) << 8 |
// n, with n counting the names of one directory that have the same hash. So cookies stay valid while other
// entries come and go.
struct DirentRow {
  static constexpr TableId table = TableId::dirent;
  static constexpr Residence residence = Residence::cached;
  static constexpr const char* name = "dirent";
  struct Key {
    InodeId directory;
    uint64_t position = 0;
    auto operator<=>(const Key&) const = default;
    template <class Self, class V>
    static void fields(Self& k, V&& v) {
      v("directory", k.directory), v("position", k.position);
    }
  };
  InodeId inode;
  FileType type{};
  std::string entry_name;
  template <class Self, class V>
  static void fields(Self& r, V&& v) {
    v("inode", r.inode), v("type", r.type), v("name", r.entry_name);
  }
  size_t heap_bytes() const { return entry_name.capacity() > 15 ? entry_name.capacity() : 0; }
};

struct SymlinkRow {
  static constexpr TableId table = TableId::symlink;
  static constexpr Residence residence = Residence::cached;
  static constexpr const char* name = "symlink";
  using Key = InodeKey;
  std::string target;
  template <class Self, class V>
  static void fields(Self& r, V&& v) {
    v("target", r.target);
  }
  size_t heap_bytes() const { return target.capacity(); }
};

// An extended attribute (fs/xattr.h). Its position follows from its name as that of a DirentRow does, and is
// its LISTXATTRS cookie.
struct XattrRow {
  static constexpr TableId table = TableId::xattr;
  static constexpr Residence residence = Residence::cached;
  static constexpr const char* name = "xattr";
  struct Key {
    InodeId inode;
    uint64_t position = 0;
    auto operator<=>(const Key&) const = default;
    template <class Self, class V>
    static void fields(Self& k, V&& v) {
      v("inode", k.inode), v("position", k.position);
    }
  };
  std::string xattr_name;
  ByteVector value;
  template <class Self, class V>
  static void fields(Self& r, V&& v) {
    v("name", r.xattr_name), v("value", r.value);
  }
  size_t heap_bytes() const {
    return (xattr_name.capacity() > 15 ? xattr_name.capacity() : 0) + value.capacity();
  }
};

// An object's access control list (RFC 8881 §6): fs/acl.h. There is one exactly if InodeRow::has_acl is set,
// and only if it says more than the mode, with which it is always in step.
struct AclRow {
  static constexpr TableId table = TableId::acl;
  static constexpr Residence residence = Residence::cached;
  static constexpr const char* name = "acl";
  using Key = InodeKey;
  enum class Who : uint8_t { owner, owner_group, everyone, user, group };
  struct Entry {
    bool deny = false;
    Who who{};
    uint32_t id = 0;     // of a user or group
    uint32_t flags = 0;  // inherit_to_files, ...
    uint32_t mask = 0;   // may_read, ...
    friend bool operator==(const Entry&, const Entry&) = default;
    template <class Self, class V>
    static void fields(Self& e, V&& v) {
      v("deny", e.deny), v("who", e.who), v("id", e.id), v("flags", e.flags), v("mask", e.mask);
    }
  };
  uint32_t flags = 0;  // of the whole list: acl_auto_inherit, ...
  std::vector<Entry> entries;
  friend bool operator==(const AclRow&, const AclRow&) = default;
  template <class Self, class V>
  static void fields(Self& r, V&& v) {
    v("flags", r.flags), v("entries", r.entries);
  }
  size_t heap_bytes() const { return entries.capacity() * sizeof(Entry); }
};

// Consecutive file blocks on consecutive blocks of the block store: first_block .. key.last_block, at
// most 64. Keyed by its last block, so that the extent that holds a block, or the next one behind it, is one
// forward search.
struct ExtentRow {
  static constexpr TableId table = TableId::extent;
  static constexpr Residence residence = Residence::cached;
  static constexpr const char* name = "extent";
  static constexpr uint64_t blocks_max = 64;
  struct Key {
    InodeId inode;
    FileBlock last_block;
    auto operator<=>(const Key&) const = default;
    template <class Self, class V>
    static void fields(Self& k, V&& v) {
      v("inode", k.inode), v("last_block", k.last_block);
    }
  };
  FileBlock first_block;
  BlockNo block;
  uint64_t stamp = 0;          // FileSystem::new_change() when it was mapped (InodeRow::cut_stamp)
  std::vector<uint32_t> crcs;  // CRC-32C of each block
  template <class Self, class V>
  static void fields(Self& r, V&& v) {
    v("first_block", r.first_block), v("block", r.block), v("stamp", r.stamp), v("crcs", r.crcs);
  }
  size_t heap_bytes() const { return crcs.capacity() * sizeof(uint32_t); }
};

struct PageKey {
  InodeId inode;
  FileBlock block;
  auto operator<=>(const PageKey&) const = default;
  template <class Self, class V>
  static void fields(Self& k, V&& v) {
    v("inode", k.inode), v("block", k.block);
  }
};

// A file block whose newest stable content is in the log (or, rarely, in the checkpoint store). It hides what
// an extent says of the block. Write-back moves it to the block store. Bytes behind the end of the file are
// zero.
struct PageRow {
  static constexpr TableId table = TableId::page;
  static constexpr Residence residence = Residence::resident;
  static constexpr const char* name = "page";
  using Key = PageKey;
  uint64_t stamp = 0;
  PageRef page;
  template <class Self, class V>
  static void fields(Self& r, V&& v) {
    v("stamp", r.stamp), v("page", r.page);
  }
  size_t heap_bytes() const { return block_bytes; }
};

// Which blocks of one group of 4096 are in use. No row: none.
struct AllocationRow {
  static constexpr TableId table = TableId::allocation;
  static constexpr Residence residence = Residence::resident;
  static constexpr const char* name = "allocation";
  static constexpr uint64_t group_blocks = 4096;
  struct Key {
    uint64_t group = 0;
    auto operator<=>(const Key&) const = default;
    template <class Self, class V>
    static void fields(Self& k, V&& v) {
      v("group", k.group);
    }
  };
  std::array<uint64_t, group_blocks / 64> used{};
  template <class Self, class V>
  static void fields(Self& r, V&& v) {
    v("used", r.used);
  }
};

// Blocks that nothing refers to any more, still marked as used. Once this row's own record is in the
// checkpoint of every in-sync copy they are marked free, and may be allocated at once (DESIGN.md §10 rule
// 11).
struct FreedRow {
  static constexpr TableId table = TableId::freed;
  static constexpr Residence residence = Residence::resident;
  static constexpr const char* name = "freed";
  struct Key {
    uint64_t sequence = 0;  // FileSystem::new_change()
    auto operator<=>(const Key&) const = default;
    template <class Self, class V>
    static void fields(Self& k, V&& v) {
      v("sequence", k.sequence);
    }
  };
  struct Range {
    BlockNo first;
    uint32_t count = 0;
    template <class Self, class V>
    static void fields(Self& r, V&& v) {
      v("first", r.first), v("count", r.count);
    }
  };
  std::vector<Range> ranges;
  template <class Self, class V>
  static void fields(Self& r, V&& v) {
    v("ranges", r.ranges);
  }
  size_t heap_bytes() const { return ranges.capacity() * sizeof(Range); }
};

// How many extents name a block beyond the first one: CLONE and COPY let files share blocks. No row, or 0: a
// block is named by one extent at most. A block that is no longer named by one of several is not freed, but
// counted down (fs/sharing.h).
struct BlockReferenceRow {
  static constexpr TableId table = TableId::block_reference;
  static constexpr Residence residence = Residence::cached;
  static constexpr const char* name = "block_reference";
  static constexpr uint64_t group_blocks = 64;
  struct Key {
    uint64_t group = 0;  // block / group_blocks
    auto operator<=>(const Key&) const = default;
    template <class Self, class V>
    static void fields(Self& k, V&& v) {
      v("group", k.group);
    }
  };
  std::array<uint32_t, group_blocks> more{};
  template <class Self, class V>
  static void fields(Self& r, V&& v) {
    v("more", r.more);
  }
};

struct VolumeRow {
  static constexpr TableId table = TableId::volume;
  static constexpr Residence residence = Residence::resident;
  static constexpr const char* name = "volume";
  struct Key {
    VolumeId volume;
    auto operator<=>(const Key&) const = default;
    template <class Self, class V>
    static void fields(Self& k, V&& v) {
      v("volume", k.volume);
    }
  };
  std::string volume_name;
  InodeId root;
  std::array<uint64_t, 2> uuid{};  // also its fsid
  SipKey name_key;                 // of entry positions
  uint64_t inode_limit = 0;        // no inode id counter at or above it has been given yet
  template <class Self, class V>
  static void fields(Self& r, V&& v) {
    v("name", r.volume_name), v("root", r.root), v("uuid", r.uuid), v("name_key", r.name_key);
    v("inode_limit", r.inode_limit);
  }
};

// Unlogged: file blocks with data of unstable writes that COMMIT or write-back has not yet made stable. They
// hide the PageRow and the extent. Neighbours share a row, because what is written in order is handled in
// order: dirty_pages.h shows them one by one.
struct DirtyPage {
  uint64_t stamp = 0;  // new_change() of the write: grows with each write to the page
  PageRef page;        // null: not dirty
};
struct DirtyPagesRow {
  static constexpr TableId table = TableId::dirty_page;
  static constexpr Residence residence = Residence::unlogged;
  static constexpr const char* name = "dirty_page";
  static constexpr uint64_t group_blocks = 16;
  struct Key {
    InodeId inode;
    uint64_t group = 0;  // file block / group_blocks
    auto operator<=>(const Key&) const = default;
    template <class Self, class V>
    static void fields(Self& k, V&& v) {
      v("inode", k.inode), v("group", k.group);
    }
  };
  std::array<DirtyPage, group_blocks> pages;
  template <class Self, class V>
  static void fields(Self& r, V&& v) {
    for (auto& dirty : r.pages) v("stamp", dirty.stamp), v("page", dirty.page);
  }
  size_t items() const {
    size_t count = 0;
    for (const DirtyPage& dirty : pages) count += dirty.page ? 1U : 0U;
    return count;
  }
  size_t heap_bytes() const { return items() * block_bytes; }
};

// Unlogged: what unstable writes have done to an inode. FileSystem::load merges it in; whoever stores the
// inode absorbs it, but for new_blocks: file blocks that only dirty pages hold. The inode row does not count
// them, because a crash may lose them: load() adds them to `blocks`, store() subtracts them again, and this
// row stays as long as there are any.
struct PendingInodeRow {
  static constexpr TableId table = TableId::pending_inode;
  static constexpr Residence residence = Residence::unlogged;
  static constexpr const char* name = "pending_inode";
  using Key = InodeKey;
  uint64_t size = 0, new_blocks = 0, change = 0;
  int64_t mtime_ns = 0, ctime_ns = 0;
  template <class Self, class V>
  static void fields(Self& r, V&& v) {
    v("size", r.size), v("new_blocks", r.new_blocks), v("change", r.change), v("mtime", r.mtime_ns);
    v("ctime", r.ctime_ns);
  }
};

}  // namespace perdure::fs
