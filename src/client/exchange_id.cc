#include "client/exchange_id.h"

#include "client/client_owner.h"

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

Outcome<ExchangedId> exchange_id(ClientState& cs, Run& run, const ExchangeIdArgs& args) {
  constexpr size_t owner_bytes_max = 1024;  // NFS4_OPAQUE_LIMIT
  if (args.owner.empty() || args.owner.size() > owner_bytes_max) return Status::invalid_argument;
  const FoundOwner owner = TRY(find_owner(cs, run, ClientKind::session, args.owner));
  const ClientId client = owner.row.confirmed;
  const ClientRow* confirmed = client == ClientId(0) ? nullptr : TRY(cs.clients.get(run, {client}));
  if (args.update) return update(cs, run, args, client, confirmed);

  // Item 3: another principal's record stays while it is in use.
  const bool collision = TRY(is_anothers(cs, run, owner, args.principal));
  if (confirmed != nullptr && !collision && confirmed->verifier == args.verifier) {  // item 2
    TRY(drop_unconfirmed(cs, run, owner));
    return ExchangedId{client, confirmed->create_seqid + 1, true};
  }
  // Items 1, 3, 4, and 5: there a confirmed record remains, until the new one is confirmed.
  ClientRow row;
  row.owner.assign(args.owner.begin(), args.owner.end());
  row.verifier = args.verifier;
  row.principal = args.principal;
  row.implementation = args.implementation;
  return ExchangedId{TRY(add_client(cs, run, owner, std::move(row), collision)), 1, false};
}

}  // namespace perdure::client
