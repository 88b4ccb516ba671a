#include "nfs4/acl.h"

#include <algorithm>

#include "nfs4/owner.h"

namespace perdure::nfs4 {

namespace {

using enum Nfsstat4;
using Who = fs::AclRow::Who;

constexpr uint32_t allow_type = 0, deny_type = 1, alarm_type = 3;  // acetype4
constexpr uint32_t identifier_group = 0x40;                        // aceflag4
constexpr uint32_t entry_flags = fs::inherit_to_files | fs::inherit_to_directories | fs::inherit_once |
                                 fs::inherit_only | fs::is_inherited | identifier_group;
constexpr uint32_t list_flags = fs::acl_auto_inherit | fs::acl_protected | fs::acl_defaulted;
constexpr size_t entry_bytes_min = 16;

struct Special {
  std::string_view name;
  Who who;
};
constexpr Special specials[] = {
    {"OWNER@", Who::owner}, {"GROUP@", Who::owner_group}, {"EVERYONE@", Who::everyone}};
// Users whom nothing here tells apart (§6.2.1.5).
constexpr std::string_view unknown_specials[] = {"INTERACTIVE@", "NETWORK@",       "DIALUP@", "BATCH@",
                                                 "ANONYMOUS@",   "AUTHENTICATED@", "SERVICE@"};

void put_who(wire::XdrEncoder& out, OwnerLookup& owners, const fs::AclEntry& entry) {
  for (const Special& special : specials)
    if (entry.who == special.who) return out.put_string(special.name);
  put_owner(out, owners, entry.who == Who::group ? OwnerKind::group : OwnerKind::user, entry.id);
}

// Whether a special name means a group goes without saying (§6.2.1.5 ¶4): the flag is ignored.
Nfsstat4 get_who(std::string_view text, OwnerLookup& owners, bool group, fs::AclEntry& entry) {
  for (const Special& special : specials) {
    if (text != special.name) continue;
    entry.who = special.who;
    return NFS4_OK;
  }
  if (std::ranges::find(unknown_specials, text) != std::end(unknown_specials)) return NFS4ERR_ATTRNOTSUPP;
  const auto id = parse_owner(owners, group ? OwnerKind::group : OwnerKind::user, text);
  if (!id) return id.error();
  entry.who = group ? Who::group : Who::user;
  entry.id = *id;
  return NFS4_OK;
}

Nfsstat4 get_entry(wire::XdrDecoder& in, OwnerLookup& owners, AclAttribute attribute, fs::AclEntry& entry) {
  const uint32_t type = in.get_u32();
  const uint32_t flags = in.get_u32();
  entry.mask = in.get_u32();
  const std::string_view who = in.get_string(opaque_bytes_max);
  if (!in.ok()) return NFS4ERR_BADXDR;
  if (type > alarm_type) return NFS4ERR_INVAL;
  if (type > deny_type) return NFS4ERR_ATTRNOTSUPP;
  if ((flags & ~entry_flags) != 0 || (entry.mask & ~fs::acl_mask) != 0) return NFS4ERR_INVAL;
  entry.deny = type == deny_type;
  entry.flags = flags & ~identifier_group;
  if (attribute == AclAttribute::acl) entry.flags &= ~fs::is_inherited;
  return get_who(who, owners, (flags & identifier_group) != 0, entry);
}

}  // namespace

void put_acl(wire::XdrEncoder& out, OwnerLookup& owners, const fs::Acl& acl, AclAttribute attribute) {
  if (attribute == AclAttribute::dacl) out.put_u32(acl.flags);
  out.put_u32(static_cast<uint32_t>(acl.entries.size()));
  for (const fs::AclEntry& entry : acl.entries) {
    uint32_t flags = entry.flags;
    if (attribute == AclAttribute::acl) flags &= ~fs::is_inherited;
    if (entry.who == Who::group || entry.who == Who::owner_group) flags |= identifier_group;
    out.put_u32(entry.deny ? deny_type : allow_type);
    out.put_u32(flags);
    out.put_u32(entry.mask);
    put_who(out, owners, entry);
  }
}

std::expected<fs::Acl, Nfsstat4> get_acl(wire::XdrDecoder& in, OwnerLookup& owners, AclAttribute attribute) {
  fs::Acl acl;
  if (attribute == AclAttribute::dacl) acl.flags = in.get_u32();
  const uint32_t count = in.get_count(UINT32_MAX, entry_bytes_min);
  if (!in.ok()) return std::unexpected(NFS4ERR_BADXDR);
  if ((acl.flags & ~list_flags) != 0) return std::unexpected(NFS4ERR_INVAL);
  if (count > fs::acl_entries_max) return std::unexpected(NFS4ERR_ATTRNOTSUPP);
  acl.entries.resize(count);
  for (fs::AclEntry& entry : acl.entries)
    if (const Nfsstat4 status = get_entry(in, owners, attribute, entry); status != NFS4_OK)
      return std::unexpected(status);
  return acl;
}

}  // namespace perdure::nfs4
