#include "client/setclientid.h"

#include "client/client_owner.h"

namespace perdure::client {

Outcome<SetClientid> setclientid(ClientState& cs, Run& run, const SetclientidArgs& args) {
  if (args.owner.empty()) return Status::invalid_argument;
  const FoundOwner owner = TRY(find_owner(cs, run, ClientKind::version40, args.owner));
  const bool collision = TRY(is_anothers(cs, run, owner, args.principal));
  const uint64_t confirm = cs.new_confirm_verifier();
  const ClientId known = owner.row.confirmed;
  const ClientRow* confirmed = known == ClientId(0) ? nullptr : TRY(cs.clients.get(run, {known}));
  // Case 2: it may be that only the callback is another one. The record stays as it is until that is
  // confirmed.
  if (confirmed != nullptr && !collision && confirmed->verifier == args.verifier) {
    TRY(drop_unconfirmed(cs, run, owner));
    ClientRow row = *confirmed;
    row.next_confirm = confirm;
    row.next_callback.assign(args.callback.begin(), args.callback.end());
    cs.clients.put(run, {known}, std::move(row));
    return SetClientid{known, confirm};
  }
  // Cases 1, 3, 4 and 5.
  ClientRow row;
  row.kind = ClientKind::version40;
  row.owner.assign(args.owner.begin(), args.owner.end());
  row.verifier = args.verifier;
  row.principal = args.principal;
  row.confirm = confirm;
  row.callback.assign(args.callback.begin(), args.callback.end());
  return SetClientid{TRY(add_client(cs, run, owner, std::move(row), collision)), confirm};
}

Outcome<void> setclientid_confirm(ClientState& cs, Run& run, const SetClientid& named,
                                  std::string_view principal) {
  const ClientRow* found = TRY(cs.clients.get(run, {named.client}));
  if (found == nullptr || found->kind != ClientKind::version40) return Status::stale_client;
  const bool update = found->confirmed && found->next_confirm != 0 && found->next_confirm == named.confirm;
  if (!update && found->confirm != named.confirm) return Status::stale_client;
  if (found->principal != principal) return Status::client_in_use;
  ClientRow row = *found;
  if (update) {
    row.confirm = std::exchange(row.next_confirm, 0);
    row.callback = std::exchange(row.next_callback, {});
  } else if (!found->confirmed) {
    TRY(confirm_client(cs, run, named.client, *found));
    row.confirmed = row.reclaim_complete = true;  // nobody needs to reclaim anything
  } else {
    return {};  // it comes again
  }
  cs.clients.put(run, {named.client}, std::move(row));
  return {};
}

Outcome<const ClientRow*> find_client40(ClientState& cs, Run& run, ClientId client) {
  const ClientRow* row = TRY(cs.clients.get(run, {client}));
  if (row == nullptr) return cs.may_have_given(client) ? Status::expired : Status::stale_client;
  if (row->kind != ClientKind::version40 || !row->confirmed) return Status::stale_client;
  cs.renew_lease(client);
  return row;
}

}  // namespace perdure::client
