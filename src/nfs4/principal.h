// How client state names who calls: the same caller has the same name.
#pragma once

#include <string>

#include "wire/rpc.h"

namespace perdure::nfs4 {

inline std::string principal_name(const wire::Credential& credential) {
  if (credential.flavor == wire::AuthFlavor::AUTH_SYS) return fmt::format("sys:{}", credential.uid);
  return "none";
}

}  // namespace perdure::nfs4
