#include "client/find_state.h"

#include <algorithm>

#include "client/owner_sequence.h"

namespace perdure::client {

namespace {

template <class Row>
Outcome<const Row*> find(state::Table<Row>& table, StateKind kind, Run& run, ClientId client, InodeId inode,
                         const Stateid& stateid) {
  if (stateid.kind() != kind || stateid.inode != inode) return Status::bad_stateid;
  const Row* row = TRY(table.get(run, {inode, stateid.number}));
  if (row == nullptr || row->client != client) return Status::bad_stateid;
  TRY(check_seqid(stateid.seqid, row->seqid));
  return row;
}

template <class Found, class Row>
Outcome<Found> find_of(ClientState& cs, state::Table<Row>& table, StateKind kind, Run& run, ClientId client,
                       InodeId inode, Bytes owner) {
  const HeldState first{client, kind, inode, cs.hash(owner), 0};
  HeldState last = first;
  last.number = UINT32_MAX;
  for (auto it = cs.held().lower_bound(first); it != cs.held().end() && *it <= last; ++it) {
    const Row* row = TRY(table.get(run, {inode, it->number}));
    CHECK(row != nullptr);
    if (std::ranges::equal(row->owner, owner)) return Found{it->number, row};
  }
  return Found{};
}

}  // namespace

Outcome<void> check_seqid(uint32_t given, uint32_t current) {
  if (given == 0 || given == current) return {};
  return static_cast<int32_t>(given - current) < 0 ? Status::old_stateid : Status::bad_stateid;
}

Outcome<const OpenRow*> find_open(ClientState& cs, Run& run, ClientId client, InodeId inode,
                                  const Stateid& stateid) {
  return find(cs.opens, StateKind::open, run, client, inode, stateid);
}

Outcome<const LockStateRow*> find_lock_state(ClientState& cs, Run& run, ClientId client, InodeId inode,
                                             const Stateid& stateid) {
  return find(cs.lock_states, StateKind::lock, run, client, inode, stateid);
}

Outcome<ClientId> find_client_of(ClientState& cs, Run& run, const Stateid& stateid) {
  const StateKey key{stateid.inode, stateid.number};
  ClientId client;
  if (stateid.kind() == StateKind::open) {
    const OpenRow* open = TRY(cs.opens.get(run, key));
    if (open == nullptr) return Status::expired;
    client = open->client;
    // OPEN_CONFIRM makes it a later one.
    if (open->seqid == 1 && !TRY(is_confirmed(cs, run, *open))) return Status::bad_stateid;
  } else if (stateid.kind() == StateKind::lock) {
    const LockStateRow* lock = TRY(cs.lock_states.get(run, key));
    if (lock == nullptr) return Status::expired;
    client = lock->client;
  } else if (stateid.kind() == StateKind::delegation) {
    const DelegationRow* delegation = TRY(cs.delegations.get(run, key));
    if (delegation == nullptr) return Status::expired;
    client = delegation->client;
  }
  const ClientRow* row = TRY(cs.clients.get(run, {client}));
  if (row == nullptr) return Status::expired;
  if (row->kind != ClientKind::version40) return Status::bad_stateid;
  if (stateid.seqid == 0) return Status::old_stateid;  // no special one, unlike later
  return client;
}

// A delegation's stateid has the seqid 1 for ever.
Outcome<const DelegationRow*> find_delegation(ClientState& cs, Run& run, ClientId client, InodeId inode,
                                              const Stateid& stateid) {
  if (stateid.kind() != StateKind::delegation || stateid.inode != inode) return Status::bad_stateid;
  const DelegationRow* row = TRY(cs.delegations.get(run, {inode, stateid.number}));
  if (row == nullptr || row->client != client) return Status::bad_stateid;
  TRY(check_seqid(stateid.seqid, 1));
  if (row->revoked) return Status::delegation_revoked;
  return row;
}

Outcome<FoundOpen> find_open_of(ClientState& cs, Run& run, ClientId client, InodeId inode, Bytes owner) {
  return find_of<FoundOpen>(cs, cs.opens, StateKind::open, run, client, inode, owner);
}

Outcome<FoundLockState> find_lock_state_of(ClientState& cs, Run& run, ClientId client, InodeId inode,
                                           Bytes owner) {
  return find_of<FoundLockState>(cs, cs.lock_states, StateKind::lock, run, client, inode, owner);
}

}  // namespace perdure::client
