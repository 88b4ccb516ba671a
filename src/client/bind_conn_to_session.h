// BIND_CONN_TO_SESSION (RFC 8881 §18.34) and BACKCHANNEL_CTL (§18.33).
#pragma once

#include "client/client_state.h"

namespace perdure::client {

// channel_dir_from_server4, and its values.
enum class Direction : uint32_t { fore = 1, back = 2, both = 3 };

// `direction`: a channel_dir_from_client4. Gives what was granted. The association is volatile: it ends with
// the connection.
//   bad_session, invalid_argument (not a direction)
Outcome<Direction> bind_conn_to_session(ClientState& cs, Run& run, const SessionId& id,
                                        ConnectionId connection, uint32_t direction);

// New callback parameters of a session.
Outcome<void> backchannel_ctl(ClientState& cs, Run& run, SessionNumber session, uint32_t program,
                              Bytes security);

}  // namespace perdure::client
