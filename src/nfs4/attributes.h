// fattr4: which attributes this server has, and their encoding (RFC 8881 §5, RFC 7862 §12, RFC 8276 §8.2).
#pragma once

#include <array>
#include <optional>

#include "base/outcome.h"
#include "fs/attributes.h"
#include "fs/readdir.h"
#include "nfs4/types.h"
#include "wire/xdr.h"

namespace perdure::nfs4 {

class Compound;

// Numbers of attributes (FATTR4_*).
enum class Attribute : uint32_t {
  supported_attrs = 0,
  type = 1,
  fh_expire_type = 2,
  change = 3,
  size = 4,
  link_support = 5,
  symlink_support = 6,
  named_attr = 7,
  fsid = 8,
  unique_handles = 9,
  lease_time = 10,
  rdattr_error = 11,
  acl = 12,
  aclsupport = 13,
  cansettime = 15,
  case_insensitive = 16,
  case_preserving = 17,
  chown_restricted = 18,
  filehandle = 19,
  fileid = 20,
  files_avail = 21,
  files_free = 22,
  files_total = 23,
  fs_locations = 24,
  homogeneous = 26,
  maxfilesize = 27,
  maxlink = 28,
  maxname = 29,
  maxread = 30,
  maxwrite = 31,
  mode = 33,
  no_trunc = 34,
  numlinks = 35,
  owner = 36,
  owner_group = 37,
  quota_avail_hard = 38,
  quota_avail_soft = 39,
  quota_used = 40,
  rawdev = 41,
  space_avail = 42,
  space_free = 43,
  space_total = 44,
  space_used = 45,
  time_access = 47,
  time_access_set = 48,
  time_create = 50,
  time_delta = 51,
  time_metadata = 52,
  time_modify = 53,
  time_modify_set = 54,
  mounted_on_fileid = 55,
  dacl = 58,
  mode_set_masked = 74,
  suppattr_exclcreat = 75,
  clone_blksize = 77,
  change_attr_type = 79,
  mode_umask = 81,
  xattr_support = 82,
  open_arguments = 86,
};

// bitmap4, as far as this server knows attributes: the first three words.
struct Bitmap {
  std::array<uint32_t, 3> words{};
  bool unknown = false;  // a bit beyond the known words was set

  constexpr bool has(Attribute a) const {
    const auto n = static_cast<uint32_t>(a);
    return (words[n / 32] >> (n % 32) & 1U) != 0;
  }
  constexpr void set(Attribute a) {
    const auto n = static_cast<uint32_t>(a);
    words[n / 32] |= 1U << (n % 32);
  }
  constexpr void clear(Attribute a) {
    const auto n = static_cast<uint32_t>(a);
    words[n / 32] &= ~(1U << (n % 32));
  }
  constexpr bool empty() const { return words[0] == 0 && words[1] == 0 && words[2] == 0; }
  constexpr Bitmap without(const Bitmap& other) const {
    return {{words[0] & ~other.words[0], words[1] & ~other.words[1], words[2] & ~other.words[2]}, unknown};
  }
  friend constexpr bool operator==(const Bitmap&, const Bitmap&) = default;
};

Bitmap get_bitmap(wire::XdrDecoder& in);
void put_bitmap(wire::XdrEncoder& out, const Bitmap& bitmap);

Bitmap supported_attributes(uint32_t minor_version);
// Those that SETATTR, CREATE and OPEN can set.
Bitmap settable_attributes(uint32_t minor_version);
// There are some among these that cannot be asked for, only set (RFC 8881 §5.5). mode_umask is none of them:
// it is left out.
bool any_only_settable(const Bitmap& wanted);

// Encodes fattr4: those of `wanted` that are supported, of the object `inode`. access_denied if its list
// denies the caller what stat shows, or the list itself, and it is among them. `size`: a client that writes
// the file knows it better.
Outcome<void> put_attributes(Compound& c, state::Run& run, InodeId inode, const Bitmap& wanted,
                             wire::XdrEncoder& out, std::optional<uint64_t> size = {});
// Those of `wanted` are known from an entry of a directory alone.
bool stand_in_entry(const Bitmap& wanted);
// The same as put_attributes() of the object that the entry names. Looks at its inode only if it must.
Outcome<void> put_entry_attributes(Compound& c, state::Run& run, const fs::ListedEntry& entry,
                                   const Bitmap& wanted, wire::XdrEncoder& out);
// fattr4 of an entry that cannot be read: rdattr_error alone.
void put_attributes_error(wire::XdrEncoder& out, Nfsstat4 status);

struct NewAttributes {
  Bitmap given;
  fs::SetAttributes set;
};
// One attribute that a client says an object has, next in `in`, is what `inode` has; both are read or found
// out. NFS4ERR_SAME or NFS4ERR_NOT_SAME, or what is wrong with it.
Outcome<Nfsstat4> compare_attribute(Compound& c, state::Run& run, InodeId inode, Attribute attribute,
                                    wire::XdrDecoder& in);

// Decodes fattr4 for setting, which is next in the arguments: NFS4ERR_ATTRNOTSUPP for what is not supported,
// NFS4ERR_INVAL for what can only be read, NFS4ERR_BADXDR, NFS4ERR_BADOWNER.
std::expected<NewAttributes, Nfsstat4> get_new_attributes(Compound& c);

}  // namespace perdure::nfs4
