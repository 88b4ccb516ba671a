#include "client/exchange_id.h"

#include <algorithm>

namespace perdure::client {

namespace {

// Items 6 to 9 of §18.35.4 ¶7.
Outcome<ExchangedId> update(ClientState& cs, Run& run, const ExchangeIdArgs& args, ClientId client,
                            const ClientRow* confirmed) {
  if (confirmed == nullptr) return Status::no_entry;
  if (confirmed->verifier != args.verifier) return Status::not_same;
  if (confirmed->principal != args.principal) return Status::not_permitted;
  if (confirmed->implementation != args.implementation) {
    ClientRow row = *confirmed;
    row.implementation = args.implementation;
    cs.clients.put(run, {client}, std::move(row));
  }
  return ExchangedId{client, confirmed->create_seqid + 1, true};
}

}  // namespace

Outcome<FoundOwner> find_owner(ClientState& cs, Run& run, Bytes owner) {
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
    if (std::ranges::equal(row->owner, owner)) return FoundOwner{from, *found.row};
  }
  return none;
}

Outcome<ExchangedId> exchange_id(ClientState& cs, Run& run, const ExchangeIdArgs& args) {
  constexpr size_t owner_bytes_max = 1024;  // NFS4_OPAQUE_LIMIT
  if (args.owner.empty() || args.owner.size() > owner_bytes_max) return Status::invalid_argument;
  auto [key, owner] = TRY(find_owner(cs, run, args.owner));
  const ClientRow* confirmed = nullptr;
  if (owner.confirmed != ClientId(0)) confirmed = TRY(cs.clients.get(run, {owner.confirmed}));
  if (args.update) return update(cs, run, args, owner.confirmed, confirmed);

  // Item 3: another principal's record stays while it is in use.
  const bool collision = confirmed != nullptr && confirmed->principal != args.principal;
  if (collision && TRY(cs.has_state(run, owner.confirmed)) && !cs.lease_has_ended(owner.confirmed))
    return Status::client_in_use;
  const bool known = confirmed != nullptr && !collision && confirmed->verifier == args.verifier;
  const size_t freed = (owner.unconfirmed != ClientId(0) ? 1U : 0U) + (collision ? 1U : 0U);
  if (!known && cs.clients.size() - freed >= cs.options().clients_max) return Status::delay;
  // Item 4, and the second bullet of item 5: an unconfirmed record never survives.
  if (owner.unconfirmed != ClientId(0)) {
    const ClientRow* row = TRY(cs.clients.get(run, {owner.unconfirmed}));
    CHECK(row != nullptr);
    TRY(cs.remove_client(run, owner.unconfirmed, *row, true));
  }
  if (known) return ExchangedId{owner.confirmed, confirmed->create_seqid + 1, true};  // item 2
  if (collision) TRY(cs.remove_client(run, owner.confirmed, *confirmed, true));
  // Items 1, 3, 4, and 5: there a confirmed record remains, until the new one is confirmed.
  const ClientId client = cs.new_client_id();
  ClientRow row;
  row.owner.assign(args.owner.begin(), args.owner.end());
  row.verifier = args.verifier;
  row.principal = args.principal;
  row.implementation = args.implementation;
  cs.clients.put_new(run, {client}, std::move(row));
  cs.add_client(run, client);
  owner = {collision ? ClientId(0) : owner.confirmed, client};
  cs.client_owners.put(run, key, owner);
  return ExchangedId{client, 1, false};
}

}  // namespace perdure::client
