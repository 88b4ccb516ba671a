// DESTROY_CLIENTID: RFC 8881 §18.50.
#pragma once

#include "client/client_state.h"

namespace perdure::client {

//   stale_client    there is none
//   client_busy     it has sessions, opens or locks
Outcome<void> destroy_clientid(ClientState& cs, Run& run, ClientId client);

}  // namespace perdure::client
