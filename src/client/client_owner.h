// Who a client says it is, and which of its records counts (RFC 8881 §18.35.4, RFC 7530 §16.33.5): a record
// is made unconfirmed, and takes the place of an older, confirmed one when it is confirmed.
#pragma once

#include <string_view>

#include "client/client_state.h"

namespace perdure::client {

// The row of an owner. Owners of different kinds of clients have nothing to do with each other.
struct FoundOwner {
  ClientOwnerRow::Key key;  // if there is none yet: of the new row
  ClientOwnerRow row;
};
Outcome<FoundOwner> find_owner(ClientState& cs, Run& run, ClientKind kind, Bytes owner);

// The confirmed record is another principal's.
//   client_in_use    and that one has state, and its lease has not ended
Outcome<bool> is_anothers(ClientState& cs, Run& run, const FoundOwner& owner, std::string_view principal);

// Makes `row` the owner's unconfirmed record, in place of the one that there was. `instead`: in place of the
// confirmed one too.
//   delay    too many clients; nothing has changed
Outcome<ClientId> add_client(ClientState& cs, Run& run, const FoundOwner& owner, ClientRow row, bool instead);
// Removes the owner's unconfirmed record, if there is one.
Outcome<void> drop_unconfirmed(ClientState& cs, Run& run, const FoundOwner& owner);

// `client`, unconfirmed so far, takes the place of its owner's confirmed record, whose state ends here. The
// caller puts `confirmed` into its row.
Outcome<void> confirm_client(ClientState& cs, Run& run, ClientId client, const ClientRow& row);

}  // namespace perdure::client
