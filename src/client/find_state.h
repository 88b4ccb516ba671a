// From a stateid, or an owner, to the row that it names.
#pragma once

#include "client/client_state.h"

namespace perdure::client {

// A stateid's seqid against the row's (RFC 8881 §8.2.2 ¶4): 0 is the current one.
//   old_stateid, or bad_stateid for one from the future
Outcome<void> check_seqid(uint32_t given, uint32_t current);

// The open or lock state of `client` in `inode` that `stateid` names, its seqid checked.
//   bad_stateid    none of this client and file
//   old_stateid
Outcome<const OpenRow*> find_open(ClientState& cs, Run& run, ClientId client, InodeId inode,
                                  const Stateid& stateid);
Outcome<const LockStateRow*> find_lock_state(ClientState& cs, Run& run, ClientId client, InodeId inode,
                                             const Stateid& stateid);

// Whose open, lock state or delegation this is, where a request does not say (NFSv4.0).
//   expired        there is no such thing, or its client is gone
//   bad_stateid    a client's of a later version, or an open that is not confirmed
//   old_stateid
Outcome<ClientId> find_client_of(ClientState& cs, Run& run, const Stateid& stateid);

//   delegation_revoked
Outcome<const DelegationRow*> find_delegation(ClientState& cs, Run& run, ClientId client, InodeId inode,
                                              const Stateid& stateid);

// What an owner of this client has of the file; row == nullptr: nothing.
struct FoundOpen {
  uint32_t number = 0;
  const OpenRow* row = nullptr;
};
Outcome<FoundOpen> find_open_of(ClientState& cs, Run& run, ClientId client, InodeId inode, Bytes owner);
struct FoundLockState {
  uint32_t number = 0;
  const LockStateRow* row = nullptr;
};
Outcome<FoundLockState> find_lock_state_of(ClientState& cs, Run& run, ClientId client, InodeId inode,
                                           Bytes owner);

inline constexpr size_t owner_bytes_max = 1024;  // NFS4_OPAQUE_LIMIT

}  // namespace perdure::client
