// component4, the names in arguments. The protocol gives them no limit of their own: a name that is too long
// for the file system is NFS4ERR_NAMETOOLONG, not NFS4ERR_BADXDR.
#pragma once

#include "wire/xdr.h"

namespace perdure::nfs4 {

inline std::string_view get_name(wire::XdrDecoder& in) {
  constexpr size_t any = 1U << 20U;
  return in.get_string(any);
}

}  // namespace perdure::nfs4
