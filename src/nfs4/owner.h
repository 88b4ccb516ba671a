// Owner strings: users and groups on the wire (RFC 8881 §5.9).
#pragma once

#include <expected>
#include <string_view>

#include "nfs4/owner_names.h"
#include "nfs4/types.h"
#include "wire/xdr.h"

namespace perdure::nfs4 {

// As a number in decimal, which clients with AUTH_SYS expect, or by name if names are shown and there is one.
void put_owner(wire::XdrEncoder& out, OwnerLookup& owners, OwnerKind kind, uint32_t id);
// A number, or a name. NFS4ERR_BADOWNER for what is neither, NFS4ERR_INVAL for nothing at all, NFS4ERR_DELAY
// if names cannot be told now. What has to be asked first is noted in `owners`, and 0 stands for it.
std::expected<uint32_t, Nfsstat4> parse_owner(OwnerLookup& owners, OwnerKind kind, std::string_view text);

}  // namespace perdure::nfs4
