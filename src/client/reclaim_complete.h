// RECLAIM_COMPLETE: RFC 8881 §18.51.
#pragma once

#include "client/client_state.h"

namespace perdure::client {

// Nothing is ever lost here, so there is nothing to reclaim; but a new client must say so before it opens or
// locks anything (§18.51.3). `one_fs`: rca_one_fs, after a migration; means nothing here.
//   complete_already
Outcome<void> reclaim_complete(ClientState& cs, Run& run, ClientId client, bool one_fs);

// Whether the client may take new opens and locks, or (`reclaim`) get old ones back.
//   expired     the client is gone
//   grace       it has not sent RECLAIM_COMPLETE
//   no_grace    there is nothing to get back
Outcome<void> check_reclaim(ClientState& cs, Run& run, ClientId client, bool reclaim);

}  // namespace perdure::client
