#include "nfs4/attributes.h"

#include "fs/access.h"
#include "fs/data.h"
#include "nfs4/acl.h"
#include "nfs4/compound.h"
#include "nfs4/owner.h"
#include "nfs4/service.h"
#include "nfs4/status.h"

namespace perdure::nfs4 {

namespace {

using enum Attribute;

constexpr Bitmap make_bitmap(std::initializer_list<Attribute> attributes) {
  Bitmap b;
  for (const Attribute a : attributes) b.set(a);
  return b;
}

constexpr Bitmap supported_41 = make_bitmap({supported_attrs,
                                             type,
                                             fh_expire_type,
                                             change,
                                             size,
                                             link_support,
                                             symlink_support,
                                             named_attr,
                                             fsid,
                                             unique_handles,
                                             lease_time,
                                             rdattr_error,
                                             acl,
                                             aclsupport,
                                             cansettime,
                                             case_insensitive,
                                             case_preserving,
                                             chown_restricted,
                                             filehandle,
                                             fileid,
                                             files_avail,
                                             files_free,
                                             files_total,
                                             fs_locations,
                                             homogeneous,
                                             maxfilesize,
                                             maxlink,
                                             maxname,
                                             maxread,
                                             maxwrite,
                                             mode,
                                             no_trunc,
                                             numlinks,
                                             owner,
                                             owner_group,
                                             quota_avail_hard,
                                             quota_avail_soft,
                                             quota_used,
                                             rawdev,
                                             space_avail,
                                             space_free,
                                             space_total,
                                             space_used,
                                             time_access,
                                             time_access_set,
                                             time_create,
                                             time_delta,
                                             time_metadata,
                                             time_modify,
                                             time_modify_set,
                                             mounted_on_fileid,
                                             dacl,
                                             mode_set_masked,
                                             suppattr_exclcreat});
constexpr Bitmap only_42 =
    make_bitmap({clone_blksize, change_attr_type, mode_umask, xattr_support, open_arguments});
constexpr Bitmap settable_41 = make_bitmap(
    {size, acl, mode, owner, owner_group, time_access_set, time_modify_set, dacl, mode_set_masked});
constexpr Bitmap write_only = make_bitmap({time_access_set, time_modify_set, mode_set_masked, mode_umask});
// What is known of a file system that is not here (RFC 8881 §11.4.1).
constexpr Bitmap of_absent = make_bitmap({fsid, rdattr_error, fs_locations, mounted_on_fileid});
constexpr Bitmap lists = make_bitmap({acl, dacl});
// What stat shows, and a list may deny. The others stand in a directory's entry, or are the server's.
constexpr Bitmap basic = make_bitmap({change, size, mode, numlinks, owner, owner_group, rawdev, space_used,
                                      time_access, time_create, time_metadata, time_modify});

constexpr Bitmap united(const Bitmap& a, const Bitmap& b) {
  return {{a.words[0] | b.words[0], a.words[1] | b.words[1], a.words[2] | b.words[2]}, false};
}

void put_time(wire::XdrEncoder& out, int64_t ns) {
  int64_t seconds = ns / 1'000'000'000;
  int64_t rest = ns % 1'000'000'000;
  if (rest < 0) rest += 1'000'000'000, --seconds;
  out.put_i64(seconds);
  out.put_u32(static_cast<uint32_t>(rest));
}

}  // namespace

Bitmap get_bitmap(wire::XdrDecoder& in) {
  Bitmap b;
  const uint32_t words = in.get_count(64, 4);
  for (uint32_t i = 0; i < words; ++i) {
    const uint32_t word = in.get_u32();
    if (i < b.words.size())
      b.words[i] = word;
    else if (word != 0)
      b.unknown = true;
  }
  return b;
}

void put_bitmap(wire::XdrEncoder& out, const Bitmap& b) {
  const uint32_t words = b.words[2] != 0 ? 3 : b.words[1] != 0 ? 2 : b.words[0] != 0 ? 1 : 0;
  out.put_u32(words);
  for (uint32_t i = 0; i < words; ++i) out.put_u32(b.words[i]);
}

// Those that NFSv4.0 knows (RFC 7530 §5): up to mounted_on_fileid.
constexpr Bitmap known_40{{UINT32_MAX, (1U << 24U) - 1, 0}, false};

constexpr Bitmap common(const Bitmap& a, const Bitmap& b) {
  return {{a.words[0] & b.words[0], a.words[1] & b.words[1], a.words[2] & b.words[2]}, false};
}

Bitmap supported_attributes(uint32_t minor_version) {
  if (minor_version == 0) return common(supported_41, known_40);
  return minor_version >= 2 ? united(supported_41, only_42) : supported_41;
}

Bitmap settable_attributes(uint32_t minor_version) {
  Bitmap b = minor_version == 0 ? common(settable_41, known_40) : settable_41;
  if (minor_version >= 2) b.set(mode_umask);
  return b;
}

bool any_only_settable(const Bitmap& wanted) {
  return wanted.has(time_access_set) || wanted.has(time_modify_set) || wanted.has(mode_set_masked);
}

void put_attributes_error(wire::XdrEncoder& out, Nfsstat4 status) {
  put_bitmap(out, make_bitmap({rdattr_error}));
  out.put_u32(4);
  out.put_u32(static_cast<uint32_t>(status));
}

namespace {

// pathname4: the names of an absolute path.
void put_path(wire::XdrEncoder& out, std::string_view path) {
  const size_t count_at = out.size();
  uint32_t count = 0;
  out.put_u32(0);
  while (path.size() > 1) {
    path.remove_prefix(1);
    const std::string_view name = path.substr(0, path.find('/'));
    out.put_string(name);
    path.remove_prefix(name.size());
    ++count;
  }
  out.patch_u32(count_at, count);
}

// fs_locations4. Of what is here: only under which path.
void put_locations(wire::XdrEncoder& out, const Export* found) {
  static const Export nowhere;
  const Export& exported = found != nullptr ? *found : nowhere;
  put_path(out, exported.path);
  out.put_u32(static_cast<uint32_t>(exported.locations.size()));
  for (const Location& location : exported.locations) {
    out.put_u32(1);
    out.put_string(location.server);
    put_path(out, location.path);
  }
}

// open_arguments4 (RFC 9754 §3): which values the arguments of OPEN may have. Of each bitmap one word: none
// of them is above 31.
void put_open_arguments(wire::XdrEncoder& out) {
  constexpr uint32_t access = 1U << 1U | 1U << 2U | 1U << 3U;  // to read, to write, both
  constexpr uint32_t deny = 1U << 0U | access;                 // and nobody
  constexpr uint32_t wants = 1U << 3U | 1U << 4U | 1U << 5U;   // any delegation, none, none any more
  constexpr uint32_t claims = 0x7fU & ~(1U << 3U | 1U << 6U);  // but those of a client's former life
  constexpr uint32_t create_modes = 0xf;                       // all
  for (const uint32_t word : {access, deny, wants, claims, create_modes}) {
    out.put_u32(1);
    out.put_u32(word);
  }
}

// Attributes of the file system or the server rather than the object.
void put_server_attribute(Compound& c, wire::XdrEncoder& out, Attribute a) {
  const fs::BlockAllocator& blocks = c.fs().data().allocator;
  switch (a) {
    case supported_attrs:
      return put_bitmap(out, supported_attributes(c.registers.minor_version));
    case fh_expire_type:
      return out.put_u32(0);  // FH4_PERSISTENT
    case link_support:
    case symlink_support:
    case unique_handles:
    case cansettime:
    case case_preserving:
    case chown_restricted:
    case homogeneous:
    case no_trunc:
    case xattr_support:
      return out.put_bool(true);
    case named_attr:
    case case_insensitive:
      return out.put_bool(false);
    case lease_time:
      return out.put_u32(c.clients().options().lease_seconds);
    case rdattr_error:
      return out.put_u32(0);
    case aclsupport:
      return out.put_u32(acl_support);
    case files_avail:
    case files_free:
      return out.put_u64(uint64_t{1} << 40U);
    case files_total:
      return out.put_u64(uint64_t{1} << 41U);
    case maxfilesize:
      return out.put_u64(fs::file_bytes_max);
    case maxlink:
      return out.put_u32(fs::links_max);
    case maxname:
      return out.put_u32(fs::name_bytes_max);
    case maxread:
    case maxwrite:
      return out.put_u64(c.service().options().io_bytes_max);
    // All that is stored here is one set of similar files (RFC 8881 §5.8.2.30).
    case quota_used:
      return out.put_u64((blocks.total_blocks() - blocks.available_max()) * block_bytes);
    case quota_avail_hard:
    case quota_avail_soft:
    case space_avail:
    case space_free:
      return out.put_u64(blocks.available_max() * block_bytes);
    case space_total:
      return out.put_u64(blocks.total_blocks() * block_bytes);
    case time_delta:
      out.put_i64(0);
      return out.put_u32(1);
    case suppattr_exclcreat:
      // The verifier of an exclusive create has a place of its own, so all that a create can set.
      return put_bitmap(
          out, settable_attributes(c.registers.minor_version).without(make_bitmap({mode_set_masked})));
    case clone_blksize:
      return out.put_u32(block_bytes);
    case change_attr_type:
      return out.put_u32(0);  // NFS4_CHANGE_TYPE_IS_MONOTONIC_INCR
    case open_arguments:
      return put_open_arguments(out);
    default:
      CHECK(false);
  }
}

// False: not an attribute of the object itself.
bool put_object_attribute(wire::XdrEncoder& out, OwnerLookup& owners, Attribute a, const fs::Attributes& view,
                          const fs::VolumeRow& volume) {
  const fs::InodeRow& row = view.row;
  switch (a) {
    case acl:
      return put_acl(out, owners, view.acl, AclAttribute::acl), true;
    case dacl:
      return put_acl(out, owners, view.acl, AclAttribute::dacl), true;
    case type:
      return out.put_u32(static_cast<uint32_t>(row.type)), true;
    case change:
      return out.put_u64(row.change), true;
    case size:
      return out.put_u64(row.type == fs::FileType::directory ? 4096 + row.size * 32 : row.size), true;
    case fsid:
      return out.put_u64(view.fsid[0]), out.put_u64(view.fsid[1]), true;
    case filehandle:
      return put_file_handle(out, {view.inode}, volume), true;
    case fileid:
      return out.put_u64(view.inode.value), true;
    case mode:
      return out.put_u32(row.mode), true;
    case numlinks:
      return out.put_u32(row.links), true;
    case owner:
      return put_owner(out, owners, OwnerKind::user, row.uid), true;
    case owner_group:
      return put_owner(out, owners, OwnerKind::group, row.gid), true;
    case rawdev:
      return out.put_u32(row.device_major), out.put_u32(row.device_minor), true;
    case space_used:
      return out.put_u64(view.used_bytes), true;
    case time_access:
      return put_time(out, row.atime_ns), true;
    case time_create:
      return put_time(out, row.btime_ns), true;
    case time_metadata:
      return put_time(out, row.ctime_ns), true;
    case time_modify:
      return put_time(out, row.mtime_ns), true;
    default:
      return false;
  }
}

}  // namespace

namespace {

bool any_of(const Bitmap& wanted, const Bitmap& these) {
  return !(wanted.without(wanted.without(these))).empty();
}

void put_value(Compound& c, const fs::Attributes& view, Attribute a, wire::XdrEncoder& out) {
  if (a == mounted_on_fileid) return out.put_u64(c.service().exports().covered_by(view.inode).value);
  if (a == fs_locations) return put_locations(out, c.exported(view.inode));
  if (a == rdattr_error && c.is_absent(view.inode))
    return out.put_u32(static_cast<uint32_t>(Nfsstat4::NFS4ERR_MOVED));
  if (!put_object_attribute(out, c.owners, a, view, *c.service().volume_of(view.inode)))
    put_server_attribute(c, out, a);
}

void put_view(Compound& c, const fs::Attributes& view, const Bitmap& wanted, wire::XdrEncoder& out) {
  const Bitmap supported = supported_attributes(c.registers.minor_version).without(write_only);
  Bitmap given;
  for (size_t i = 0; i < given.words.size(); ++i) given.words[i] = wanted.words[i] & supported.words[i];
  put_bitmap(out, given);
  const size_t length_at = out.size();
  out.put_u32(0);
  for (uint32_t word = 0; word < given.words.size(); ++word) {
    for (uint32_t bits = given.words[word]; bits != 0; bits &= bits - 1) {
      const auto a = static_cast<Attribute>(32 * word + static_cast<uint32_t>(std::countr_zero(bits)));
      put_value(c, view, a, out);
    }
  }
  out.patch_u32(length_at, static_cast<uint32_t>(out.size() - length_at - 4));
}

}  // namespace

namespace {

Outcome<fs::Attributes> view_of(Compound& c, Run& run, InodeId inode, const Bitmap& wanted) {
  fs::Attributes view = TRY(fs::get_attributes(c.fs(), run, inode));
  const uint32_t rights = (any_of(wanted, basic) ? fs::may_read_attributes : 0U) |
                          (any_of(wanted, lists) ? fs::may_read_acl : 0U);
  TRY(fs::check_seeing(c.fs(), run, inode, view.row, c.principal(), rights));
  if (any_of(wanted, lists)) view.acl = TRY(fs::get_acl(c.fs(), run, inode, view.row));
  return view;
}

}  // namespace

Outcome<void> put_absent(Compound& c, InodeId inode, const Bitmap& wanted, wire::XdrEncoder& out) {
  const fs::Attributes view{.inode = inode, .fsid = c.service().volume_of(inode)->uuid};
  put_view(c, view, common(wanted, of_absent), out);
  return {};
}

Outcome<void> put_attributes(Compound& c, Run& run, InodeId inode, const Bitmap& wanted,
                             wire::XdrEncoder& out, std::optional<uint64_t> size_of_file) {
  // Only whoever asks where it is (RFC 8881 §11.4.1).
  if (c.is_absent(inode))
    return wanted.has(fs_locations) ? put_absent(c, inode, wanted, out) : Outcome<void>(Status::moved);
  fs::Attributes view = TRY(view_of(c, run, inode, wanted));
  if (size_of_file) view.row.size = *size_of_file;
  put_view(c, view, wanted, out);
  return {};
}

bool stand_in_entry(const Bitmap& wanted) {
  static constexpr Bitmap in_entry =
      make_bitmap({rdattr_error, type, fsid, filehandle, fileid, mounted_on_fileid});
  return wanted.without(in_entry).empty();
}

Outcome<void> put_entry_attributes(Compound& c, Run& run, const fs::ListedEntry& entry, const Bitmap& wanted,
                                   wire::XdrEncoder& out) {
  // Where a volume covers the directory, its root is what the client would find under this name.
  InodeId inode = c.service().exports().crossed(entry.inode);
  const bool covered = inode != entry.inode && c.exported(inode) != nullptr;
  if (!covered) inode = entry.inode;
  if (c.is_absent(inode) && wanted.has(rdattr_error)) return put_absent(c, inode, wanted, out);
  if (covered || !stand_in_entry(wanted)) return put_attributes(c, run, inode, wanted, out);
  fs::Attributes view{.inode = inode, .fsid = c.service().volume_of(inode)->uuid};
  view.row.type = entry.type;
  put_view(c, view, wanted, out);
  return {};
}

// ------------------------------------------------------------------------------------------------ setting

namespace {

// settime4
std::expected<fs::NewTime, Nfsstat4> get_new_time(wire::XdrDecoder& in) {
  const uint32_t how = in.get_u32();
  if (how == 0) return fs::NewTime{};  // SET_TO_SERVER_TIME4
  if (how != 1) return std::unexpected(Nfsstat4::NFS4ERR_BADXDR);
  const int64_t seconds = in.get_i64();
  const uint32_t ns = in.get_u32();
  if (!in.ok()) return std::unexpected(Nfsstat4::NFS4ERR_BADXDR);
  constexpr int64_t limit = INT64_MAX / 1'000'000'000 - 1;
  if (ns >= 1'000'000'000 || seconds > limit || seconds < -limit)
    return std::unexpected(Nfsstat4::NFS4ERR_INVAL);
  return fs::NewTime{.given = true, .ns = seconds * 1'000'000'000 + ns};
}

std::expected<uint32_t, Nfsstat4> get_owner(wire::XdrDecoder& in, OwnerLookup& owners, OwnerKind kind) {
  const std::string_view text = in.get_string(opaque_bytes_max);
  if (!in.ok()) return std::unexpected(Nfsstat4::NFS4ERR_BADXDR);
  return parse_owner(owners, kind, text);
}

Nfsstat4 get_new_attribute(wire::XdrDecoder& in, OwnerLookup& owners, Attribute a, fs::SetAttributes& set) {
  switch (a) {
    case size:
      set.size = in.get_u64();
      break;
    case mode: {
      set.mode = in.get_u32();
      if (*set.mode > 07777) return Nfsstat4::NFS4ERR_INVAL;
      break;
    }
    case mode_umask: {  // RFC 8275: the mode of a new object, and the umask to apply to it
      const uint32_t bits = in.get_u32();
      const uint32_t umask = in.get_u32();
      if (bits > 07777 || umask > 0777) return Nfsstat4::NFS4ERR_INVAL;
      set.mode = bits;
      set.umask = umask;
      break;
    }
    case mode_set_masked: {
      set.mode = in.get_u32();
      set.mode_mask = in.get_u32();
      if ((*set.mode | set.mode_mask) > 07777) return Nfsstat4::NFS4ERR_INVAL;
      break;
    }
    case acl:
    case dacl: {
      auto list = get_acl(in, owners, a == acl ? AclAttribute::acl : AclAttribute::dacl);
      if (!list) return list.error();
      set.acl = std::move(*list);
      break;
    }
    case owner:
    case owner_group: {
      const auto id = get_owner(in, owners, a == owner ? OwnerKind::user : OwnerKind::group);
      if (!id) return id.error();
      (a == owner ? set.uid : set.gid) = *id;
      break;
    }
    case time_access_set:
    case time_modify_set: {
      const auto time = get_new_time(in);
      if (!time) return time.error();
      (a == time_access_set ? set.atime : set.mtime) = *time;
      break;
    }
    default:
      return Nfsstat4::NFS4ERR_INVAL;
  }
  return in.ok() ? Nfsstat4::NFS4_OK : Nfsstat4::NFS4ERR_BADXDR;
}

}  // namespace

// A list can be written in more ways than one: it is read before it is compared. The bytes of all others are.
Outcome<Nfsstat4> compare_attribute(Compound& c, Run& run, InodeId inode, Attribute attribute,
                                    wire::XdrDecoder& in) {
  const auto verdict = [](bool same) { return same ? Nfsstat4::NFS4ERR_SAME : Nfsstat4::NFS4ERR_NOT_SAME; };
  const fs::Attributes view = TRY(view_of(c, run, inode, make_bitmap({attribute})));
  wire::XdrEncoder present;
  put_value(c, view, attribute, present);
  const ByteVector ours = present.flatten();
  if (attribute == acl || attribute == dacl) {
    const AclAttribute which = attribute == acl ? AclAttribute::acl : AclAttribute::dacl;
    const auto theirs = get_acl(in, c.owners, which);
    if (!theirs) return theirs.error();
    wire::XdrEncoder again;
    put_acl(again, c.owners, fs::effective_for(*theirs, view.row.type), which);
    return verdict(again.flatten() == ours);
  }
  const Bytes theirs = in.rest().first(std::min(in.remaining(), ours.size()));
  in.seek(in.position() + theirs.size());
  return verdict(std::ranges::equal(ours, theirs));
}

std::expected<NewAttributes, Nfsstat4> get_new_attributes(Compound& c) {
  wire::XdrDecoder& in = c.args;
  const uint32_t minor_version = c.registers.minor_version;
  NewAttributes result;
  result.given = get_bitmap(in);
  const Bytes values = in.get_opaque(65536);
  if (!in.ok()) return std::unexpected(Nfsstat4::NFS4ERR_BADXDR);
  if (result.given.unknown || !result.given.without(supported_attributes(minor_version)).empty())
    return std::unexpected(Nfsstat4::NFS4ERR_ATTRNOTSUPP);
  if (!result.given.without(settable_attributes(minor_version)).empty())
    return std::unexpected(Nfsstat4::NFS4ERR_INVAL);
  const auto both = [&](Attribute a, Attribute b) { return result.given.has(a) && result.given.has(b); };
  if (both(mode, mode_umask) || both(mode, mode_set_masked) || both(mode_umask, mode_set_masked) ||
      both(acl, dacl))
    return std::unexpected(Nfsstat4::NFS4ERR_INVAL);
  wire::XdrDecoder list(values);
  for (uint32_t word = 0; word < result.given.words.size(); ++word) {
    for (uint32_t bits = result.given.words[word]; bits != 0; bits &= bits - 1) {
      const auto a = static_cast<Attribute>(32 * word + static_cast<uint32_t>(std::countr_zero(bits)));
      if (const Nfsstat4 status = get_new_attribute(list, c.owners, a, result.set);
          status != Nfsstat4::NFS4_OK)
        return std::unexpected(status);
    }
  }
  if (!list.finished()) return std::unexpected(Nfsstat4::NFS4ERR_BADXDR);
  return result;
}

}  // namespace perdure::nfs4
