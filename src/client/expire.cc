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

// Each gives true when what `key` stands for is gone, with its ClientStateRow, and takes what it changes from
// `rows`, which never falls below zero by more than a few.

Outcome<bool> remove_session(ClientState& cs, Run& run, const ClientStateRow::Key& key, int64_t& rows) {
  const SessionNumber number(key.owner_hash);
  // First the session itself: from then on no slot gets a row.
  if (TRY(cs.sessions.get(run, {number})) != nullptr) {
    cs.sessions.erase(run, {number});
    cs.drop_session(run, number, key.client);
    --rows;
  }
  SlotRow::Key from{number, 0};
  const SlotRow::Key last{number, UINT32_MAX};
  for (auto found = TRY(cs.slots.first(run, from, last)); found;
       found = TRY(cs.slots.next(run, from, last))) {
    if (rows <= 0) return false;
    from = found.key;
    cs.slots.erase(run, from);
    --rows;
  }
  cs.client_states.erase(run, key);
  --rows;
  return true;
}

Outcome<bool> remove_lock_state(ClientState& cs, Run& run, const ClientStateRow::Key& key, int64_t& rows) {
  const StateKey state{key.inode, key.number};
  const size_t before = cs.locks.size();
  const bool all = TRY(erase_locks(cs, run, state, key.client, static_cast<size_t>(rows)));
  rows -= static_cast<int64_t>(before - cs.locks.size());
  if (!all) return false;
  cs.lock_states.erase(run, state);
  cs.client_states.erase(run, key);
  rows -= 2;
  return true;
}

Outcome<bool> remove_open(ClientState& cs, Run& run, const ClientStateRow::Key& key, int64_t& rows) {
  const OpenRow* row = TRY(cs.opens.get(run, {key.inode, key.number}));
  CHECK(row != nullptr);
  TRY(erase_open(cs, run, {key.inode, key.number}, *row));
  rows -= 2 + released_rows;
  return true;
}

Outcome<bool> remove_delegation(ClientState& cs, Run& run, const ClientStateRow::Key& key, int64_t& rows) {
  const DelegationRow* row = TRY(cs.delegations.get(run, {key.inode, key.number}));
  CHECK(row != nullptr);
  TRY(erase_delegation(cs, run, {key.inode, key.number}, *row));
  rows -= 2 + released_rows;
  return true;
}

Outcome<bool> remove_some(ClientState& cs, Run& run, ClientId client) {
  const ClientStateRow::Key first{client, 0, InodeId(0), 0, 0};
  const ClientStateRow::Key last{client, UINT8_MAX, InodeId(UINT64_MAX), UINT64_MAX, UINT32_MAX};
  int64_t rows = expire_rows_max;
  ClientStateRow::Key from = first;
  for (auto found = TRY(cs.client_states.first(run, from, last)); found;
       found = TRY(cs.client_states.next(run, from, last))) {
    if (rows <= 0) return false;
    from = found.key;
    bool removed = false;
    switch (static_cast<StateKind>(from.kind)) {
      case StateKind::session:
        removed = TRY(remove_session(cs, run, from, rows));
        break;
      case StateKind::lock:
        removed = TRY(remove_lock_state(cs, run, from, rows));
        break;
      case StateKind::open:
        removed = TRY(remove_open(cs, run, from, rows));
        break;
      case StateKind::delegation:
        removed = TRY(remove_delegation(cs, run, from, rows));
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
