// OPEN's share reservations (RFC 8881 §9.7, §18.16), OPEN_DOWNGRADE (§18.18) and CLOSE (§18.2). What the file
// is, and who may open it, is the caller's affair.
#pragma once

#include <string_view>

#include "client/client_state.h"

namespace perdure::client {

inline constexpr uint8_t share_read = 1, share_write = 2, share_both = 3;

struct OpenArgs {
  ClientId client = {};
  Bytes owner = {};  // of the open-owner
  InodeId inode = {};
  uint8_t access = share_read;  // share_read, share_write or share_both
  uint8_t deny = 0;             // the same, or 0
  bool reclaim = false;         // CLAIM_PREVIOUS
  bool own_counts = false;      // what the owner itself has open may be in the way (RFC 7530 §9.9)
  std::string_view principal = {};
};

// Opens the file for the owner, or widens what the owner has open. Status, with nothing changed:
//   share_denied                  another open denies this access, or has access that this one would deny
//   grace, no_grace, expired      reclaim_complete.h
//   invalid_argument, resource
Outcome<Stateid> open(ClientState& cs, Run& run, const OpenArgs& args);
// Would open() be denied by another owner's open? For callers who must know before they change anything.
Outcome<bool> share_conflict(ClientState& cs, Run& run, const OpenArgs& args);

// OPEN_CONFIRM of NFSv4.0 (RFC 7530 §16.18), but for what settle() does.
//   bad_stateid    it is confirmed already, among others
//   old_stateid
Outcome<Stateid> open_confirm(ClientState& cs, Run& run, InodeId inode, const Stateid& stateid);

// Narrows an open to `access` and `deny`, which must be the union of some of the ways in which it was opened
// (§18.18.3 ¶5).
//   bad_stateid, old_stateid, invalid_argument
Outcome<Stateid> open_downgrade(ClientState& cs, Run& run, ClientId client, InodeId inode,
                                const Stateid& stateid, uint8_t access, uint8_t deny);

// Ends an open, and the lock states that stand on it. May fault in Hooks::released.
//   bad_stateid, old_stateid
//   locks_held     it has too many locks to free them in one step (§18.2.3 ¶2 allows it for any)
Outcome<void> close(ClientState& cs, Run& run, ClientId client, InodeId inode, const Stateid& stateid);

// Somebody has the file open, or was delegated it.
Outcome<bool> is_open(ClientState& cs, Run& run, InodeId inode);

// Erases the rows of an open, and tells Hooks::released if it was the file's last.
Outcome<void> erase_open(ClientState& cs, Run& run, StateKey key, const OpenRow& row);

}  // namespace perdure::client
