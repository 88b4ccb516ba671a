// NFSv4 file handles: 24 bytes that say which object, for ever (docs/formats/file_handle.md). They are not
// secret: what a client may do is decided by its credential, never by its knowing a handle.
#pragma once

#include <optional>

#include "fs/rows.h"
#include "nfs4/types.h"
#include "wire/xdr.h"

namespace perdure::nfs4 {

// An object of the vserver. inode == 0: none.
struct FileHandle {
  InodeId inode;
  explicit operator bool() const { return inode != InodeId(0); }
  friend bool operator==(const FileHandle&, const FileHandle&) = default;
  template <class Self, class V>
  static void fields(Self& h, V&& v) {
    v("inode", h.inode);
  }
};

inline constexpr size_t file_handle_bytes = 24;

// On the wire: version (1 byte, 1), 7 zero bytes, the first half of the volume's uuid, the inode id;
// big-endian.
void put_file_handle(wire::XdrEncoder& out, FileHandle handle, const fs::VolumeRow& volume);
struct ParsedHandle {
  FileHandle handle;
  uint64_t uuid = 0;  // the first half of its volume's
};
// Nothing if these are not the bytes of a handle.
std::optional<ParsedHandle> parse_file_handle(Bytes bytes);

}  // namespace perdure::nfs4
