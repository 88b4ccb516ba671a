// What NFSv4.0 needs where later versions have sessions (RFC 7530): requests that come again are known by
// their RPC transaction id (client/duplicate_requests.h) and by the sequence ids of their owners
// (client/owner_sequence.h), and stateids say whose they are.
#pragma once

#include "client/owner_sequence.h"
#include "nfs4/compound.h"

namespace perdure::nfs4 {

// The turn of an operation of NFSv4.0 in its owner's order, until it ends.
struct OwnerTurn {
  client::OwnerPlace owner;
  std::optional<client::OwnerPlace> lock_owner;  // a new one, of a LOCK
  client::SettledRequest request;
};

// Gives the request its slot, or its reply if it comes again. As client::admit_request().
Outcome<void> admit(Compound& c, Run& run);

// Whether an operation that carries a sequence id has its owner's turn. A value: it comes again, and its
// result is written; this is its status. nullopt: it is to be executed; or this is a later version, where
// there are no turns.
Outcome<std::optional<Nfsstat4>> take_turn(Compound& c, Run& run, client::OwnerPlace place);
Outcome<std::optional<Nfsstat4>> take_turn(Compound& c, Run& run, const client::Stateid& stateid,
                                           uint32_t seqid);
// The operation has ended with this status: so has its turn. `result` is its nfs_resop4.
Outcome<void> end_turn(Compound& c, Run& run, const OwnerTurn& turn, Nfsstat4 status, Bytes result);

// The client that a clientid4 in the arguments names, if this is NFSv4.0: its request it is.
Outcome<void> comes_from40(Compound& c, Run& run, client::ClientId client);
// Its request it is whose stateid this is (NFSv4.0).
//   bad_stateid, old_stateid
//   expired          what it named is gone, as far as can be told
//   stale_stateid    it never named anything here
Outcome<client::Stateid> resolve_stateid40(Compound& c, Run& run, const client::Stateid& stateid);

// The status of an operation as NFSv4.0 knows it.
Nfsstat4 status40(Opnum4 operation, Nfsstat4 status);

}  // namespace perdure::nfs4
