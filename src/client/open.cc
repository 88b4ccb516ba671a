#include "client/open.h"

#include "client/find_state.h"
#include "client/lock.h"
#include "client/owner_sequence.h"
#include "client/reclaim_complete.h"

namespace perdure::client {

namespace {

bool valid(uint8_t access, uint8_t deny) {
  return access >= share_read && access <= share_both && deny <= share_both;
}

uint16_t history_bit(unsigned access, unsigned deny) {
  return static_cast<uint16_t>(1U << (4 * access + deny));
}

// As share_conflict(), where `own` is the open that the owner already has.
Outcome<bool> conflicts(ClientState& cs, Run& run, const OpenArgs& args, const OpenRow* own) {
  const FileTwin* file = cs.file_twin(run, args.inode);
  if (file == nullptr) return false;
  // The counts decide, as long as nobody denies anything.
  bool possible = false;
  for (unsigned bit = 0; bit < 2; ++bit) {
    const auto has = [bit](uint8_t mask) { return (mask >> bit & 1U) != 0; };
    const uint32_t denied = file->deny[bit] - (own != nullptr && has(own->deny) ? 1 : 0);
    const uint32_t accessed = file->access[bit] - (own != nullptr && has(own->access) ? 1 : 0);
    possible = possible || (has(args.access) && denied != 0) || (has(args.deny) && accessed != 0);
  }
  if (!possible) return false;
  StateKey from{args.inode, 0};
  const StateKey last{args.inode, UINT32_MAX};
  for (auto found = TRY(cs.opens.first(run, from, last)); found;
       found = TRY(cs.opens.next(run, from, last))) {
    from = found.key;
    if (found.row == own) continue;
    if ((found.row->deny & args.access) == 0 && (found.row->access & args.deny) == 0) continue;
    if (TRY(cs.clients.get(run, {found.row->client})) == nullptr) continue;
    if (!TRY(cs.gives_way(run, found.row->client))) return true;
  }
  return false;
}

}  // namespace

Outcome<bool> share_conflict(ClientState& cs, Run& run, const OpenArgs& args) {
  const FoundOpen own = TRY(find_open_of(cs, run, args.client, args.inode, args.owner));
  return conflicts(cs, run, args, own.row);
}

Outcome<Stateid> open(ClientState& cs, Run& run, const OpenArgs& args) {
  if (!valid(args.access, args.deny) || args.owner.size() > owner_bytes_max) return Status::invalid_argument;
  TRY(check_reclaim(cs, run, args.client, args.reclaim));
  const FoundOpen own = TRY(find_open_of(cs, run, args.client, args.inode, args.owner));
  if (TRY(conflicts(cs, run, args, args.own_counts ? nullptr : own.row))) return Status::share_denied;
  const bool fresh = own.row == nullptr;
  if (fresh && cs.client_twin(args.client)->opens >= cs.options().opens_per_client_max)
    return Status::resource;

  const uint32_t number = fresh ? TRY(cs.new_state_number(run, StateKind::open, args.inode)) : own.number;
  OpenRow row;
  if (fresh) {
    row.client = args.client;
    row.owner.assign(args.owner.begin(), args.owner.end());
    row.principal = args.principal;
    cs.hold(run, {args.client, StateKind::open, args.inode, cs.hash(args.owner), number});
    TRY(count_open_of_owner(cs, run, row, true));
  } else {
    row = *own.row;
  }
  const uint8_t access = row.access | args.access, deny = row.deny | args.deny;
  if (fresh || access != row.access || deny != row.deny) {
    cs.count_open(run, args.inode, args.client, access, deny, true);
    if (!fresh) cs.count_open(run, args.inode, args.client, row.access, row.deny, false);
  }
  row.access = access;
  row.deny = deny;
  row.history |= history_bit(args.access, args.deny);
  row.seqid = next_seqid(row.seqid);
  const Stateid stateid{row.seqid, args.inode, number};
  if (fresh)
    cs.opens.put_new(run, {args.inode, number}, std::move(row));
  else
    cs.opens.put(run, {args.inode, number}, std::move(row));
  return stateid;
}

Outcome<Stateid> open_confirm(ClientState& cs, Run& run, InodeId inode, const Stateid& stateid) {
  const OpenRow* found = TRY(cs.opens.get(run, {stateid.inode, stateid.number}));
  if (found == nullptr) return Status::bad_stateid;
  TRY(find_open(cs, run, found->client, inode, stateid));
  if (TRY(is_confirmed(cs, run, *found))) return Status::bad_stateid;
  OpenRow row = *found;
  row.seqid = next_seqid(row.seqid);
  const Stateid confirmed{row.seqid, inode, stateid.number};
  cs.opens.put(run, {inode, stateid.number}, std::move(row));
  return confirmed;
}

Outcome<Stateid> open_downgrade(ClientState& cs, Run& run, ClientId client, InodeId inode,
                                const Stateid& stateid, uint8_t access, uint8_t deny) {
  const OpenRow* old = TRY(find_open(cs, run, client, inode, stateid));
  if (!valid(access, deny)) return Status::invalid_argument;
  // The ways in which it was opened and that the narrower open still contains.
  unsigned access_union = 0, deny_union = 0;
  uint16_t kept = 0;
  for (unsigned a = share_read; a <= share_both; ++a) {
    for (unsigned d = 0; d <= share_both; ++d) {
      if ((old->history & history_bit(a, d)) == 0 || (a & ~access) != 0 || (d & ~deny) != 0) continue;
      kept |= history_bit(a, d);
      access_union |= a;
      deny_union |= d;
    }
  }
  if (access_union != access || deny_union != deny) return Status::invalid_argument;
  OpenRow row = *old;
  cs.count_open(run, inode, client, access, deny, true);
  cs.count_open(run, inode, client, row.access, row.deny, false);
  row.access = access;
  row.deny = deny;
  row.history = kept;
  row.seqid = next_seqid(row.seqid);
  const Stateid narrowed{row.seqid, inode, stateid.number};
  cs.opens.put(run, {inode, stateid.number}, std::move(row));
  return narrowed;
}

Outcome<void> close(ClientState& cs, Run& run, ClientId client, InodeId inode, const Stateid& stateid) {
  const OpenRow* row = TRY(find_open(cs, run, client, inode, stateid));
  if (row->lock_states != 0) TRY(erase_lock_states(cs, run, inode, stateid.number, *row));
  return erase_open(cs, run, {inode, stateid.number}, *row);
}

Outcome<void> erase_open(ClientState& cs, Run& run, StateKey key, const OpenRow& row) {
  cs.opens.erase(run, key);
  cs.let_go(run, {row.client, StateKind::open, key.inode, cs.hash(row.owner), key.number});
  cs.count_open(run, key.inode, row.client, row.access, row.deny, false);
  TRY(count_open_of_owner(cs, run, row, false));
  return TRY(is_open(cs, run, key.inode)) ? Outcome<void>() : cs.hooks().released(run, key.inode);
}

Outcome<bool> is_open(ClientState& cs, Run& run, InodeId inode) {
  const FileTwin* file = cs.file_twin(run, inode);
  return file != nullptr && (file->opens != 0 || file->delegations != 0);
}

}  // namespace perdure::client
