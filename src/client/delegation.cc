#include "client/delegation.h"

#include "base/mark.h"
#include "base/planted_bug.h"
#include "client/find_state.h"
#include "client/open.h"

namespace perdure::client {

namespace {

// How long nobody is delegated a file after somebody was in the way: two clients that fight over it are
// better off without.
constexpr env::Duration pause = std::chrono::seconds(10);

constexpr StateKey first_delegation(InodeId inode) {
  return {inode, static_cast<uint32_t>(StateKind::delegation) << Stateid::kind_shift};
}

Outcome<void> released(ClientState& cs, Run& run, InodeId inode) {
  cs.delegation_ended(run, inode);
  return TRY(is_open(cs, run, inode)) ? Outcome<void>() : cs.hooks().released(run, inode);
}

// Whether another client's open, or anybody's delegation, speaks against one for `client`. Or a lock-owner of
// its own: Linux (6.1), whose LOCK is under way while another of its processes gets a delegation and, by
// that, the same lock, sends it again with a stateid that the first LOCK has made old, and does so for ever.
Outcome<bool> hindered(ClientState& cs, Run& run, ClientId client, InodeId inode, bool write) {
  constexpr uint32_t opens_looked_at_max = 64;
  const FileTwin* file = cs.file_twin(run, inode);
  if (file == nullptr || file->opens > opens_looked_at_max) return true;
  if (file->no_delegations_until > cs.env().now() || cs.awaits_delegations(inode)) return true;
  StateKey from{inode, 0};
  const StateKey last{inode, UINT32_MAX};
  for (auto open = TRY(cs.opens.first(run, from, last)); open; open = TRY(cs.opens.next(run, from, last))) {
    from = open.key;
    if (open.row->lock_states != 0) return true;
    if (open.row->client == client || TRY(cs.clients.get(run, {open.row->client})) == nullptr) continue;
    if (write || (open.row->access & 2U) != 0 || open.row->deny != 0) return true;
  }
  from = first_delegation(inode);
  for (auto found = TRY(cs.delegations.first(run, from, last)); found;
       found = TRY(cs.delegations.next(run, from, last))) {
    from = found.key;
    if (found.row->revoked || TRY(cs.clients.get(run, {found.row->client})) == nullptr) continue;
    if (found.row->client == client || found.row->write || found.row->recalled || write) return true;
  }
  return false;
}

// Whether the delegation is in the way of `client`, if that uses the file so.
Outcome<bool> hinders(ClientState& cs, Run& run, const DelegationRow& row, ClientId client, Use use,
                      const std::function<bool(ClientId)>& is_own) {
  if (row.client == client || row.revoked || (use == Use::reads && !row.write)) return false;
  if (is_own && is_own(row.client)) return false;
  return TRY(cs.clients.get(run, {row.client})) != nullptr && !TRY(cs.gives_way(run, row.client));
}

}  // namespace

Outcome<std::optional<Holder>> find_writing_holder(ClientState& cs, Run& run, ClientId client, InodeId inode,
                                                   const std::function<bool(ClientId)>& is_own) {
  const std::optional<Holder> none;
  const FileTwin* file = cs.file_twin(run, inode);
  if (file == nullptr || file->delegations == 0) return none;
  StateKey from = first_delegation(inode);
  const StateKey last{inode, UINT32_MAX};
  for (auto found = TRY(cs.delegations.first(run, from, last)); found;
       found = TRY(cs.delegations.next(run, from, last))) {
    from = found.key;
    const DelegationRow row = *found.row;
    if (!row.recalled && TRY(hinders(cs, run, row, client, Use::reads, is_own)))
      return std::optional(Holder{.key = from, .client = row.client, .change = row.change});
  }
  return none;
}

Outcome<void> recall_others(ClientState& cs, Run& run, ClientId client, InodeId inode, Use use,
                            const std::function<bool(ClientId)>& is_own) {
  if (cs.delegations.size() == 0 || planted("delegations are not recalled")) return {};
  const FileTwin* file = cs.file_twin(run, inode);
  if (file == nullptr || file->delegations == 0) return {};
  bool wait = false;
  StateKey from = first_delegation(inode);
  const StateKey last{inode, UINT32_MAX};
  for (auto found = TRY(cs.delegations.first(run, from, last)); found;
       found = TRY(cs.delegations.next(run, from, last))) {
    from = found.key;
    DelegationRow row = *found.row;
    if (!TRY(hinders(cs, run, row, client, use, is_own))) continue;
    wait = true;
    if (row.recalled) continue;
    row.recalled = true;
    const ClientId holder = row.client;
    cs.delegations.put(run, from, row);
    cs.hooks().start_recall(run, holder, from);
    PERDURE_MARK("a delegation is recalled");
  }
  if (!wait) return {};
  cs.pause_delegations(inode, pause);
  cs.wait_for_delegations(run, inode);
  return Stop::wait();
}

Outcome<std::optional<Stateid>> delegate(ClientState& cs, Run& run, ClientId client, InodeId inode,
                                         bool write, uint64_t change) {
  const std::optional<Stateid> none;
  const ClientState::Options& options = cs.options();
  if (!options.delegations || !cs.hooks().start_recall) return none;
  if (cs.client_twin(client)->delegations >= options.delegations_per_client_max) return none;
  if (!TRY(cs.back_path(run, client)) || TRY(hindered(cs, run, client, inode, write))) return none;
  const uint32_t number = TRY(cs.new_state_number(run, StateKind::delegation, inode));
  const DelegationRow row{.client = client, .write = write, .change = change};
  cs.count_delegation(run, inode, row, true);
  cs.delegations.put_new(run, {inode, number}, row);
  cs.hold(run, {client, StateKind::delegation, inode, 0, number});
  return std::optional(Stateid{1, inode, number});
}

Outcome<void> delegreturn(ClientState& cs, Run& run, ClientId client, InodeId inode, const Stateid& stateid) {
  const DelegationRow* row = TRY(find_delegation(cs, run, client, inode, stateid));
  return erase_delegation(cs, run, {inode, stateid.number}, *row);
}

Outcome<void> free_delegation(ClientState& cs, Run& run, ClientId client, const Stateid& stateid) {
  const auto found = find_delegation(cs, run, client, stateid.inode, stateid);
  if (found) return Status::locks_held;
  if (!found.error().is_status() || found.error().status() != Status::delegation_revoked)
    return found.error();
  const StateKey key{stateid.inode, stateid.number};
  return erase_delegation(cs, run, key, *TRY(cs.delegations.get(run, key)));
}

Outcome<void> revoke_delegation(ClientState& cs, Run& run, StateKey key, const DelegationRow& row) {
  PERDURE_MARK("a delegation is revoked");
  const ClientTwin* holder = cs.client_twin(row.client);
  if (holder != nullptr && holder->kind == ClientKind::version40) return erase_delegation(cs, run, key, row);
  DelegationRow revoked = row;
  revoked.revoked = true;
  cs.count_delegation(run, key.inode, row, false);
  cs.count_delegation(run, key.inode, revoked, true);
  cs.delegations.put(run, key, revoked);
  return released(cs, run, key.inode);
}

Outcome<void> erase_delegation(ClientState& cs, Run& run, StateKey key, const DelegationRow& row) {
  const DelegationRow gone = row;
  cs.delegations.erase(run, key);
  cs.let_go(run, {gone.client, StateKind::delegation, key.inode, 0, key.number});
  cs.count_delegation(run, key.inode, gone, false);
  if (gone.revoked) return {};
  return released(cs, run, key.inode);
}

}  // namespace perdure::client
