// Exactly-once execution of requests that come outside any session (NFSv4.0): a duplicate request cache.
//
// It is made of what sessions are made of. All requests from one address belong to a client of a kind of its
// own (ClientKind::address), with one session, whose slots are used in turn: the one whose request is the
// oldest comes next. A request that comes again is known by its transaction id (RPC xid) and checksum. From
// there on a slot is a slot (slots.h): its reply is one record with what the request changed, and it is there
// after a crash. An address from which nothing came for a lease time is forgotten.
#pragma once

#include "client/client_state.h"

namespace perdure::client {

struct UnsequencedRequest {
  Bytes address = {};  // of the host that sent it; the port may be another one when it comes again
  uint32_t xid = 0;
  uint32_t checksum = 0;  // of all of it, and of who sends it
};

struct AdmittedRequest {
  // Set: it has been executed, and this is its reply, valid until the run ends.
  std::optional<Bytes> replay = {};
  // It is in flight already, and too many copies wait for it: this one is not to be answered. With an error
  // its client would ask for the same under a new transaction id.
  bool drop = false;
  SlotHandle slot = {};
};

// The request's transaction is run.transaction(). From here on it is in flight on the slot, until finish().
//   wait     it is in flight already, and this one is resumed when that has finished: call again
//   delay    there are too many clients, or requests in flight
Outcome<AdmittedRequest> admit_request(ClientState& cs, Run& run, const UnsequencedRequest& request);

}  // namespace perdure::client
