// May this READ, WRITE or SETATTR be done under this stateid? RFC 8881 §8.2.5, §9.1.2.
#pragma once

#include "client/client_state.h"

namespace perdure::client {

enum class IoKind : uint8_t {
  read,
  write,  // SETATTR of the size is one too
};

struct Access {
  uint32_t open = 0;  // number of the open that stands behind it; 0: a special stateid
};

// The current stateid (§16.2.3.1.2) has been resolved by the caller.
//   bad_stateid, old_stateid
//   open_mode     WRITE under an open for reading
//   locked        an open of another owner denies it
// Byte-range locks are advisory: they hinder nobody.
Outcome<Access> check_access(ClientState& cs, Run& run, ClientId client, InodeId inode,
                             const Stateid& stateid, IoKind kind);

}  // namespace perdure::client
