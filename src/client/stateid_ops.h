// TEST_STATEID (RFC 8881 §18.48) and FREE_STATEID (§18.38).
#pragma once

#include "client/client_state.h"

namespace perdure::client {

// What an operation with this stateid would be told: ok, bad_stateid or old_stateid.
Outcome<Status> test_stateid(ClientState& cs, Run& run, ClientId client, const Stateid& stateid);

// Ends a lock state that holds no locks.
//   locks_held                  it does, or it is an open
//   bad_stateid, old_stateid
Outcome<void> free_stateid(ClientState& cs, Run& run, ClientId client, const Stateid& stateid);

}  // namespace perdure::client
