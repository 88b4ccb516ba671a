#include "client/access.h"

#include "client/find_state.h"
#include "client/open.h"

namespace perdure::client {

namespace {

// Whether an open other than `own` denies this kind of access.
Outcome<bool> denied(ClientState& cs, Run& run, InodeId inode, IoKind kind, const OpenRow* own) {
  const unsigned bit = kind == IoKind::read ? 0 : 1;
  const FileTwin* file = cs.file_twin(run, inode);
  if (file == nullptr || file->deny[bit] == 0) return false;
  StateKey from{inode, 0};
  const StateKey last{inode, UINT32_MAX};
  for (auto found = TRY(cs.opens.first(run, from, last)); found;
       found = TRY(cs.opens.next(run, from, last))) {
    from = found.key;
    if (found.row == own || (found.row->deny >> bit & 1U) == 0) continue;
    if (TRY(cs.clients.get(run, {found.row->client})) == nullptr) continue;
    if (!TRY(cs.gives_way(run, found.row->client))) return true;
  }
  return false;
}

}  // namespace

Outcome<Access> check_access(ClientState& cs, Run& run, ClientId client, InodeId inode,
                             const Stateid& stateid, IoKind kind) {
  // What the read-bypass stateid may pass over is left to the server (§8.2.3): here nothing, as locks hinder
  // nobody. For WRITE it is an anonymous one.
  if (stateid.is_anonymous() || stateid.is_read_bypass()) {
    if (TRY(denied(cs, run, inode, kind, nullptr))) return Status::locked;
    return Access{};
  }
  uint32_t number = stateid.number;
  const OpenRow* open = nullptr;
  if (stateid.kind() == StateKind::lock) {
    const LockStateRow* lock = TRY(find_lock_state(cs, run, client, inode, stateid));
    number = lock->open;
    open = TRY(cs.opens.get(run, {inode, number}));
    CHECK(open != nullptr);
  } else if (stateid.kind() == StateKind::delegation) {
    const DelegationRow* delegation = TRY(find_delegation(cs, run, client, inode, stateid));
    if (kind == IoKind::write && !delegation->write) return Status::open_mode;
    return Access{number};
  } else {
    open = TRY(find_open(cs, run, client, inode, stateid));
  }
  if (kind == IoKind::write && (open->access & share_write) == 0) return Status::open_mode;
  // Clients that write parts of pages must read the rest: §9.1.2 lets them under an open for writing, as long
  // as nobody denies reading.
  if (kind == IoKind::read && (open->access & share_read) == 0 && TRY(denied(cs, run, inode, kind, open)))
    return Status::locked;
  return Access{number};
}

}  // namespace perdure::client
