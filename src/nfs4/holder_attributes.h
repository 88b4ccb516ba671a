// What the client that has a file delegated for writing knows of it and we do not: its size, and whether it
// has changed (CB_GETATTR; RFC 8881 §10.4.3 and §20.1, RFC 7530 §10.4.3 and §15.1).
#pragma once

#include "nfs4/attributes.h"
#include "nfs4/back_call.h"
#include "nfs4/compound.h"

namespace perdure::nfs4 {

// Before the attributes `wanted` are read: asks that client, if there is one and they depend on it. What does
// not answer soon, or cannot, is called back like by a reader. The size, where the client's counts; the
// file's change attribute and times are then new.
Outcome<std::optional<uint64_t>> ask_holder(Compound& c, Run& run, InodeId inode, const Bitmap& wanted);

}  // namespace perdure::nfs4
