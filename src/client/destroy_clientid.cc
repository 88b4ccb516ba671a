#include "client/destroy_clientid.h"

namespace perdure::client {

Outcome<void> destroy_clientid(ClientState& cs, Run& run, ClientId client) {
  const ClientRow* row = TRY(cs.clients.get(run, {client}));
  if (row == nullptr || row->kind != ClientKind::session) return Status::stale_client;
  if (cs.holds_anything(run, client)) return Status::client_busy;
  return cs.remove_client(run, client, *row, false);
}

}  // namespace perdure::client
