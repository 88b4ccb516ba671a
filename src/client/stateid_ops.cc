#include "client/stateid_ops.h"

#include "client/delegation.h"
#include "client/find_state.h"

namespace perdure::client {

Outcome<Status> test_stateid(ClientState& cs, Run& run, ClientId client, const Stateid& stateid) {
  // A Status by itself would be taken for an error.
  const auto status_of = [](const auto& found) -> Outcome<Status> {
    if (found) return Outcome<Status>(std::in_place, Status::ok);
    if (!found.error().is_status()) return found.error();
    return Outcome<Status>(std::in_place, found.error().status());
  };
  if (stateid.kind() == StateKind::lock)
    return status_of(find_lock_state(cs, run, client, stateid.inode, stateid));
  if (stateid.kind() == StateKind::delegation)
    return status_of(find_delegation(cs, run, client, stateid.inode, stateid));
  return status_of(find_open(cs, run, client, stateid.inode, stateid));
}

Outcome<void> free_stateid(ClientState& cs, Run& run, ClientId client, const Stateid& stateid) {
  const InodeId inode = stateid.inode;
  if (stateid.kind() == StateKind::delegation) return free_delegation(cs, run, client, stateid);
  if (stateid.kind() != StateKind::lock) {
    TRY(find_open(cs, run, client, inode, stateid));
    return Status::locks_held;
  }
  const LockStateRow* row = TRY(find_lock_state(cs, run, client, inode, stateid));
  if (row->rows != 0) return Status::locks_held;
  const OpenRow* open = TRY(cs.opens.get(run, {inode, row->open}));
  CHECK(open != nullptr && open->lock_states != 0);
  OpenRow without = *open;
  --without.lock_states;
  cs.opens.put(run, {inode, row->open}, std::move(without));
  cs.lock_states.erase(run, {inode, stateid.number});
  cs.let_go(run, {client, StateKind::lock, inode, cs.hash(row->owner), stateid.number});
  cs.count_lock_state(run, client, false);
  return {};
}

}  // namespace perdure::client
