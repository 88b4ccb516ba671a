#include "client/expire.h"

#include <spdlog/spdlog.h>

#include "base/mark.h"
#include "client/delegation.h"
#include "client/lock.h"
#include "client/open.h"
#include "client/owner_sequence.h"

namespace perdure::client {

namespace {

constexpr int64_t released_rows = 6;  // the file's last open or delegation may end a removed file

// Each gives true when what `held` names is gone, and takes what it changes from `rows`, which never falls
// below zero by more than a few.

Outcome<bool> remove_session(ClientState& cs, Run& run, const HeldState& held, int64_t& rows) {
  const SessionNumber number(held.owner_hash);
  SlotRow::Key from{number, 0};
  const SlotRow::Key last{number, UINT32_MAX};
  for (auto found = TRY(cs.slots.first(run, from, last)); found;
       found = TRY(cs.slots.next(run, from, last))) {
    if (rows <= 0) return false;
    from = found.key;
    cs.slots.erase(run, from);
    --rows;
  }
  cs.erase_session(run, number, held.client);
  rows -= 2;
  return true;
}

Outcome<bool> remove_lock_state(ClientState& cs, Run& run, const HeldState& held, int64_t& rows) {
  const StateKey state{held.inode, held.number};
  const size_t before = cs.locks.size();
  const bool all = TRY(erase_locks(cs, run, state, held.client, static_cast<size_t>(rows)));
  rows -= static_cast<int64_t>(before - cs.locks.size());
  if (!all) return false;
  cs.lock_states.erase(run, state);
  cs.let_go(run, held);
  --rows;
  return true;
}

Outcome<bool> remove_open(ClientState& cs, Run& run, const HeldState& held, int64_t& rows) {
  const OpenRow* row = TRY(cs.opens.get(run, {held.inode, held.number}));
  CHECK(row != nullptr);
  TRY(erase_open(cs, run, {held.inode, held.number}, *row));
  rows -= 1 + released_rows;
  return true;
}

Outcome<bool> remove_delegation(ClientState& cs, Run& run, const HeldState& held, int64_t& rows) {
  const DelegationRow* row = TRY(cs.delegations.get(run, {held.inode, held.number}));
  CHECK(row != nullptr);
  TRY(erase_delegation(cs, run, {held.inode, held.number}, *row));
  rows -= 1 + released_rows;
  return true;
}

Outcome<bool> remove_some(ClientState& cs, Run& run, ClientId client) {
  int64_t rows = expire_rows_max;
  const auto& all = cs.held();
  HeldState held{.client = client};
  for (auto it = all.lower_bound(held); it != all.end() && it->client == client; it = all.upper_bound(held)) {
    if (rows <= 0) return false;
    held = *it;
    bool removed = false;
    switch (held.kind) {
      case StateKind::session:
        removed = TRY(remove_session(cs, run, held, rows));
        break;
      case StateKind::lock:
        removed = TRY(remove_lock_state(cs, run, held, rows));
        break;
      case StateKind::open:
        removed = TRY(remove_open(cs, run, held, rows));
        break;
      case StateKind::delegation:
        removed = TRY(remove_delegation(cs, run, held, rows));
        break;
    }
    if (!removed) return false;
  }
  return remove_owners(cs, run, client, rows);
}

}  // namespace

Outcome<bool> expire_step(ClientState& cs, Run& run, ExpireRegisters& registers) {
  switch (registers.step) {
    case ExpireRegisters::Step::decide: {
      const ClientRow* row = TRY(cs.clients.get(run, {registers.client}));
      if (row == nullptr) return true;  // it ended in another way, and what is left is another job's
      if (!cs.courtesy_has_ended(registers.client)) {
        PERDURE_MARK("a client renews its lease just before it is expired");
        cs.client_twin(registers.client)->expiring = false;
        return true;
      }
      PERDURE_MARK("a client is expired");
      if (row->kind != ClientKind::address)
        spdlog::info("client {:x} has not been heard of for a lease time: what it has open and locked ends",
                     registers.client);
      TRY(cs.remove_client(run, registers.client, *row, false));
      run.on_commit([&cs] { ++cs.expired; });
      registers.step = ExpireRegisters::Step::remove;
      return !TRY(cs.has_rows(run, registers.client));
    }
    case ExpireRegisters::Step::remove:
      return remove_some(cs, run, registers.client);
  }
  return true;
}

}  // namespace perdure::client
