#include "client/client_owner.h"

#include <algorithm>

namespace perdure::client {

Outcome<FoundOwner> find_owner(ClientState& cs, Run& run, ClientKind kind, Bytes owner) {
  FoundOwner none{{cs.hash(owner), 0}, {}};
  ClientOwnerRow::Key from = none.key;
  const ClientOwnerRow::Key last{none.key.hash, UINT32_MAX};
  for (auto found = TRY(cs.client_owners.first(run, from, last)); found;
       found = TRY(cs.client_owners.next(run, from, last))) {
    from = found.key;
    if (from.n == none.key.n) ++none.key.n;
    const ClientId client =
        found.row->confirmed != ClientId(0) ? found.row->confirmed : found.row->unconfirmed;
    const ClientRow* row = TRY(cs.clients.get(run, {client}));
    CHECK(row != nullptr);
    if (row->kind == kind && std::ranges::equal(row->owner, owner)) return FoundOwner{from, *found.row};
  }
  return none;
}

Outcome<bool> is_anothers(ClientState& cs, Run& run, const FoundOwner& owner, std::string_view principal) {
  const ClientId confirmed = owner.row.confirmed;
  if (confirmed == ClientId(0)) return false;
  if (TRY(cs.clients.get(run, {confirmed}))->principal == principal) return false;
  if (cs.holds_anything(run, confirmed) && !cs.lease_has_ended(confirmed)) return Status::client_in_use;
  return true;
}

Outcome<ClientId> add_client(ClientState& cs, Run& run, const FoundOwner& owner, ClientRow row,
                             bool instead) {
  const bool replaces = instead && owner.row.confirmed != ClientId(0);
  const size_t freed = (owner.row.unconfirmed != ClientId(0) ? 1U : 0U) + (replaces ? 1U : 0U);
  TRY(cs.make_room_for_client(run, freed));
  TRY(drop_unconfirmed(cs, run, owner));
  if (replaces)
    TRY(cs.remove_client(run, owner.row.confirmed, *TRY(cs.clients.get(run, {owner.row.confirmed})), true));
  const ClientId client = cs.new_client_id();
  cs.add_client(run, client, row.kind);
  cs.clients.put_new(run, {client}, std::move(row));
  cs.client_owners.put(run, owner.key, {replaces ? ClientId(0) : owner.row.confirmed, client});
  return client;
}

Outcome<void> drop_unconfirmed(ClientState& cs, Run& run, const FoundOwner& owner) {
  if (owner.row.unconfirmed == ClientId(0)) return {};
  const ClientRow* row = TRY(cs.clients.get(run, {owner.row.unconfirmed}));
  CHECK(row != nullptr);
  return cs.remove_client(run, owner.row.unconfirmed, *row, true);
}

Outcome<void> confirm_client(ClientState& cs, Run& run, ClientId client, const ClientRow& row) {
  const FoundOwner before = TRY(find_owner(cs, run, row.kind, row.owner));
  CHECK(before.row.unconfirmed == client);
  cs.client_owners.put(run, before.key, {before.row.confirmed, ClientId(0)});
  if (const ClientId old = before.row.confirmed; old != ClientId(0)) {
    const ClientRow* replaced = TRY(cs.clients.get(run, {old}));
    CHECK(replaced != nullptr);
    TRY(cs.remove_client(run, old, *replaced, true));
  }
  cs.client_owners.put(run, before.key, {client, ClientId(0)});
  if (row.kind != ClientKind::address) cs.client_confirmed(run, client);
  return {};
}

}  // namespace perdure::client
