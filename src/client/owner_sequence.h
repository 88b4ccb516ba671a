// The order of the requests of an NFSv4.0 open-owner or lock-owner (RFC 7530 §9.1.7 to §9.1.11): each carries
// the sequence id behind the one before it, and the result of the last one is kept, so that it has one effect
// however often it comes, before and after a crash.
//
//   place_*()       whose request it is, and whether it is new, comes again, or neither
//   [ the operation ]
//   settle()        the sequence id is used up, with its result
#pragma once

#include "client/client_state.h"

namespace perdure::client {

// A request's place in its owner's order.
struct OwnerPlace {
  StateOwnerRow::Key key = {};
  uint32_t seqid = 0;
  bool fresh = false;  // the owner has no row yet (key.n is free)
  bool confirmed = false;
  // Set: the request comes again, and this was its result (nfs_resop4). Valid until the run ends. `opened`:
  // what became the current file handle, if it was an OPEN.
  std::optional<Bytes> replay = {};
  InodeId opened = {};
};

// OPEN. An owner that is not confirmed, or unknown, may begin with any sequence id; what it has opened
// unconfirmed is closed then. May fault in Hooks::released.
//   bad_seqid
//   resource     too many owners
Outcome<OwnerPlace> place_open(ClientState& cs, Run& run, ClientId client, Bytes owner, uint32_t seqid);
// Of whoever has the open or lock state, or has just closed it: OPEN_CONFIRM, OPEN_DOWNGRADE, CLOSE, LOCK,
// LOCKU.
//   expired        there is no such thing
//   bad_stateid    the owner's last request has closed it, and this is another one
//   bad_seqid
Outcome<OwnerPlace> place_stateid(ClientState& cs, Run& run, const Stateid& stateid, uint32_t seqid);
// LOCK by a new lock-owner, whose place is beside that of its open-owner.
//   bad_seqid    the owner is known, and its sequence id is not the next one
//   resource
Outcome<OwnerPlace> place_lock(ClientState& cs, Run& run, ClientId client, Bytes owner, uint32_t seqid);

// What the request was.
struct SettledRequest {
  bool confirms = false;  // an OPEN_CONFIRM that succeeded
  InodeId opened = {};    // an OPEN that succeeded
  StateKey closed = {};   // a CLOSE that succeeded
  InodeId locked = {};    // a LOCK that succeeded, of its lock-owner
  Bytes owner = {};       // of a fresh place
};
Outcome<void> settle(ClientState& cs, Run& run, const OwnerPlace& place, const SettledRequest& request,
                     Bytes result);

// The owner of this open is confirmed.
Outcome<bool> is_confirmed(ClientState& cs, Run& run, const OpenRow& open);

// An open of the owner has begun, or ended. Nothing for clients of later versions.
Outcome<void> count_open_of_owner(ClientState& cs, Run& run, const OpenRow& open, bool more);

// RELEASE_LOCKOWNER, §16.37. An owner that is not known is released already.
//   locks_held
Outcome<void> release_lockowner(ClientState& cs, Run& run, ClientId client, Bytes owner);

// Removes up to `rows` rows of the owners of a client that is gone, and takes those from `rows`. True: there
// are none left.
Outcome<bool> remove_owners(ClientState& cs, Run& run, ClientId client, int64_t& rows);

inline constexpr size_t files_per_lock_owner_max = 256;

}  // namespace perdure::client
