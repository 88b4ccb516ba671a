// How a Status is told to NFSv4 clients: one total switch.
#pragma once

#include "base/status.h"
#include "nfs4/types.h"

namespace perdure::nfs4 {

Nfsstat4 to_nfsstat4(Status status);

}  // namespace perdure::nfs4
