// DESTROY_SESSION: RFC 8881 §18.37.
#pragma once

#include "client/client_state.h"

namespace perdure::client {

//   bad_session    there is none
//   delay          another transaction is in flight on one of its slots
// Deviation: §18.37.3 wants the call on a connection of the session. Connections are volatile here, and after
// a takeover a client that unmounts would be refused; the session's id cannot be guessed.
Outcome<void> destroy_session(ClientState& cs, Run& run, const SessionId& id);

}  // namespace perdure::client
