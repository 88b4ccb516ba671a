#include "client/reclaim_complete.h"

#include "base/planted_bug.h"

namespace perdure::client {

Outcome<void> reclaim_complete(ClientState& cs, Run& run, ClientId client, bool one_fs) {
  const ClientRow* row = TRY(cs.clients.get(run, {client}));
  if (row == nullptr) return Status::expired;
  if (one_fs) return {};
  if (row->reclaim_complete) return Status::complete_already;
  ClientRow complete = *row;
  complete.reclaim_complete = true;
  cs.clients.put(run, {client}, std::move(complete));
  return {};
}

Outcome<void> check_reclaim(ClientState& cs, Run& run, ClientId client, bool reclaim) {
  const ClientRow* row = TRY(cs.clients.get(run, {client}));
  if (row == nullptr) return Status::expired;
  if (reclaim) return Status::no_grace;
  if (!row->reclaim_complete || (cs.is_older(client) && planted("a start has a grace period")))
    return Status::grace;
  return {};
}

}  // namespace perdure::client
