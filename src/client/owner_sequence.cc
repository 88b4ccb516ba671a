#include "client/owner_sequence.h"

#include <algorithm>

#include "base/mark.h"
#include "client/find_state.h"
#include "client/open.h"
#include "client/stateid_ops.h"

namespace perdure::client {

namespace {

struct FoundStateOwner {
  StateOwnerRow::Key key;  // if there is none: of the new row
  const StateOwnerRow* row = nullptr;
};

Outcome<FoundStateOwner> find_state_owner(ClientState& cs, Run& run, ClientId client, StateKind kind,
                                          Bytes owner) {
  FoundStateOwner none{{client, static_cast<uint8_t>(kind), cs.hash(owner), 0}, nullptr};
  StateOwnerRow::Key from = none.key, last = none.key;
  last.n = UINT32_MAX;
  for (auto found = TRY(cs.state_owners.first(run, from, last)); found;
       found = TRY(cs.state_owners.next(run, from, last))) {
    from = found.key;
    if (from.n == none.key.n) ++none.key.n;
    if (std::ranges::equal(found.row->owner, owner)) return FoundStateOwner{from, found.row};
  }
  return none;
}

// Of an owner that is known.
Outcome<OwnerPlace> place(const StateOwnerRow::Key& key, const StateOwnerRow& row, uint32_t seqid) {
  OwnerPlace place{.key = key, .seqid = seqid, .confirmed = row.confirmed};
  if (seqid == row.seqid && !row.result.empty()) {
    PERDURE_MARK("an owner's request comes again");
    place.replay = Bytes(row.result);
    place.opened = row.opened;
    return place;
  }
  if (seqid != row.seqid + 1) return Status::bad_seqid;
  return place;
}

// The lock-owner has a lock state in this file. Those that ended with their opens are left out.
Outcome<void> add_file(ClientState& cs, Run& run, ClientId client, StateOwnerRow& owner, InodeId inode) {
  std::vector<uint64_t> all;
  for (const uint64_t other : owner.inodes) {
    if (other == inode.value) return {};
    if (TRY(find_lock_state_of(cs, run, client, InodeId(other), owner.owner)).row != nullptr)
      all.push_back(other);
  }
  all.push_back(inode.value);
  owner.inodes = std::move(all);
  return {};
}

// An open-owner that has nothing open may be forgotten when there are too many: the next OPEN is confirmed
// anew (§9.1.10). Some are looked at in turn, and the one that has been idle longest goes: the last request
// of another may still come again.
Outcome<void> make_room(ClientState& cs, Run& run, ClientId client) {
  constexpr size_t looked_at_max = 64;
  ClientTwin& twin = *cs.client_twin(client);
  if (twin.owners < cs.options().owners_per_client_max) return {};
  StateOwnerRow::Key from = twin.next_owner;
  from.client = client;
  const StateOwnerRow::Key first{client, 0, 0, 0}, last{client, UINT8_MAX, UINT64_MAX, UINT32_MAX};
  std::optional<StateOwnerRow::Key> oldest;
  Lsn settled;
  for (size_t n = 0; n < looked_at_max; ++n) {
    auto found = TRY(cs.state_owners.next(run, from, last));
    if (!found) found = TRY(cs.state_owners.first(run, first, last));
    if (!found) break;
    from = found.key;
    if (found.row->opens != 0 || static_cast<StateKind>(from.kind) != StateKind::open) continue;
    if (oldest && found.row->settled >= settled) continue;
    oldest = from;
    settled = found.row->settled;
  }
  twin.next_owner = from;
  if (!oldest) return Status::resource;
  PERDURE_MARK("an idle owner is forgotten");
  cs.erase_state_owner(run, *oldest, *TRY(cs.state_owners.get(run, *oldest)));
  return {};
}

// Whom a request names. An owner that is not known may become one.
Outcome<FoundStateOwner> find_named(ClientState& cs, Run& run, ClientId client, StateKind kind, Bytes owner) {
  if (owner.size() > owner_bytes_max) return Status::invalid_argument;
  const FoundStateOwner found = TRY(find_state_owner(cs, run, client, kind, owner));
  if (found.row != nullptr) return found;
  TRY(make_room(cs, run, client));
  return find_state_owner(cs, run, client, kind, owner);  // its place may be another now
}

}  // namespace

Outcome<OwnerPlace> place_open(ClientState& cs, Run& run, ClientId client, Bytes owner, uint32_t seqid) {
  const FoundStateOwner found = TRY(find_named(cs, run, client, StateKind::open, owner));
  if (found.row == nullptr) return OwnerPlace{.key = found.key, .seqid = seqid, .fresh = true};
  const bool again = seqid == found.row->seqid && !found.row->result.empty();
  if (found.row->confirmed || again) return place(found.key, *found.row, seqid);
  // §9.1.11: what it has opened, and nobody has confirmed, was perhaps an old request that came late.
  PERDURE_MARK("an owner that is not confirmed begins anew");
  if (found.row->opens != 0) {
    const InodeId inode = found.row->opened;
    const FoundOpen open = TRY(find_open_of(cs, run, client, inode, owner));
    if (open.row != nullptr) TRY(erase_open(cs, run, {inode, open.number}, *open.row));
  }
  return OwnerPlace{.key = found.key, .seqid = seqid};
}

Outcome<OwnerPlace> place_stateid(ClientState& cs, Run& run, const Stateid& stateid, uint32_t seqid) {
  const StateKey state{stateid.inode, stateid.number};
  FoundStateOwner owner;
  if (stateid.kind() == StateKind::lock) {
    if (const LockStateRow* row = TRY(cs.lock_states.get(run, state)))
      owner = TRY(find_state_owner(cs, run, row->client, StateKind::lock, row->owner));
  } else if (stateid.kind() == StateKind::open) {
    if (const OpenRow* row = TRY(cs.opens.get(run, state))) {
      owner = TRY(find_state_owner(cs, run, row->client, StateKind::open, row->owner));
    } else if (const ClosedOpenRow* closed = TRY(cs.closed_opens.get(run, state))) {
      owner = {closed->owner, TRY(cs.state_owners.get(run, closed->owner))};
      // Whoever closed it may only say so again.
      if (owner.row != nullptr && owner.row->seqid != seqid) return Status::bad_stateid;
    }
  }
  if (owner.row == nullptr) return Status::expired;
  return place(owner.key, *owner.row, seqid);
}

Outcome<OwnerPlace> place_lock(ClientState& cs, Run& run, ClientId client, Bytes owner, uint32_t seqid) {
  const FoundStateOwner found = TRY(find_named(cs, run, client, StateKind::lock, owner));
  if (found.row == nullptr) return OwnerPlace{.key = found.key, .seqid = seqid, .fresh = true};
  if (seqid != found.row->seqid + 1) return Status::bad_seqid;
  if (found.row->inodes.size() >= files_per_lock_owner_max) return Status::resource;
  return OwnerPlace{.key = found.key, .seqid = seqid};
}

Outcome<void> settle(ClientState& cs, Run& run, const OwnerPlace& place, const SettledRequest& request,
                     Bytes result) {
  const StateOwnerRow* before = TRY(cs.state_owners.get(run, place.key));
  StateOwnerRow row;
  if (before != nullptr) {
    row = *before;
    if (row.closed != StateKey{}) cs.closed_opens.erase(run, row.closed);
  } else {
    row.owner.assign(request.owner.begin(), request.owner.end());
    row.confirmed = static_cast<StateKind>(place.key.kind) == StateKind::lock;
    cs.count_state_owner(run, place.key.client, true);
  }
  row.seqid = place.seqid;
  row.confirmed = row.confirmed || request.confirms;
  // What an owner has open unconfirmed must be found, whatever it asks for next.
  if (row.confirmed || request.opened != InodeId(0)) row.opened = request.opened;
  row.closed = request.closed;
  row.result.assign(result.begin(), result.end());
  row.settled = run.lsn();
  if (request.locked != InodeId(0)) TRY(add_file(cs, run, place.key.client, row, request.locked));
  if (row.closed != StateKey{}) cs.closed_opens.put(run, row.closed, {place.key});
  cs.state_owners.put(run, place.key, std::move(row));
  return {};
}

Outcome<bool> is_confirmed(ClientState& cs, Run& run, const OpenRow& open) {
  const FoundStateOwner found = TRY(find_state_owner(cs, run, open.client, StateKind::open, open.owner));
  return found.row != nullptr && found.row->confirmed;
}

Outcome<void> count_open_of_owner(ClientState& cs, Run& run, const OpenRow& open, bool more) {
  const ClientTwin* twin = cs.client_twin(open.client);
  if (twin == nullptr || twin->kind != ClientKind::version40) return {};
  const FoundStateOwner found = TRY(find_state_owner(cs, run, open.client, StateKind::open, open.owner));
  StateOwnerRow row;
  if (found.row != nullptr) {
    row = *found.row;
  } else {  // of its first OPEN, which is about to be settled
    row.owner = open.owner;
    cs.count_state_owner(run, open.client, true);
  }
  row.opens += more ? 1 : UINT32_MAX;
  cs.state_owners.put(run, found.key, std::move(row));
  return {};
}

Outcome<void> release_lockowner(ClientState& cs, Run& run, ClientId client, Bytes owner) {
  const FoundStateOwner found = TRY(find_state_owner(cs, run, client, StateKind::lock, owner));
  if (found.row == nullptr) return {};
  std::vector<Stateid> states;
  for (const uint64_t inode : found.row->inodes) {
    const FoundLockState state = TRY(find_lock_state_of(cs, run, client, InodeId(inode), owner));
    if (state.row == nullptr) continue;  // it ended with its open
    if (state.row->rows != 0) return Status::locks_held;
    states.push_back({state.row->seqid, InodeId(inode), state.number});
  }
  for (const Stateid& stateid : states) TRY(free_stateid(cs, run, client, stateid));
  cs.erase_state_owner(run, found.key, *found.row);
  return {};
}

Outcome<bool> remove_owners(ClientState& cs, Run& run, ClientId client, int64_t& rows) {
  StateOwnerRow::Key from{client, 0, 0, 0};
  const StateOwnerRow::Key last{client, UINT8_MAX, UINT64_MAX, UINT32_MAX};
  for (auto found = TRY(cs.state_owners.first(run, from, last)); found;
       found = TRY(cs.state_owners.next(run, from, last))) {
    if (rows <= 0) return false;
    from = found.key;
    cs.erase_state_owner(run, from, *found.row);
    rows -= 2;
  }
  return true;
}

}  // namespace perdure::client
