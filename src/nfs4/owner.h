// Owner strings: users and groups on the wire (RFC 8881 §5.9).
#pragma once

#include <expected>
#include <string_view>

#include "nfs4/types.h"
#include "wire/xdr.h"

namespace perdure::nfs4 {

// As a number in decimal, which clients with AUTH_SYS expect.
void put_owner(wire::XdrEncoder& out, uint32_t id);
// NFS4ERR_BADOWNER for anything but such a number, NFS4ERR_INVAL for nothing at all.
std::expected<uint32_t, Nfsstat4> parse_owner(std::string_view text);

}  // namespace perdure::nfs4
