// The attributes acl and dacl on the wire (RFC 8881 §6.2). Both are the same list; only dacl has flags of the
// whole list, and shows what was inherited.
#pragma once

#include <expected>

#include "fs/acl.h"
#include "nfs4/owner_names.h"
#include "nfs4/types.h"
#include "wire/xdr.h"

namespace perdure::nfs4 {

enum class AclAttribute : uint8_t { acl, dacl };

// ACL4_SUPPORT_ALLOW_ACL, ACL4_SUPPORT_DENY_ACL.
inline constexpr uint32_t acl_support = 3;

void put_acl(wire::XdrEncoder& out, OwnerLookup& owners, const fs::Acl& acl, AclAttribute attribute);
// NFS4ERR_BADXDR; NFS4ERR_ATTRNOTSUPP for entries that cannot be kept (§6.2.1.1): of other types (audit,
// alarm), for special users that are not known here, and too many; NFS4ERR_INVAL for bits that mean nothing,
// or nothing here; and as parse_owner().
std::expected<fs::Acl, Nfsstat4> get_acl(wire::XdrDecoder& in, OwnerLookup& owners, AclAttribute attribute);

}  // namespace perdure::nfs4
