// The consistency checker of client state: whether its rows keep the invariants of rows.h and client_state.h,
// and agree with each other. For `perdure check`, and at the end of tests.
//
// Checked are: owners and clients, sessions and slots against clients and the transactions in flight, opens,
// lock states and delegations against clients, owners and each other, that no two of them conflict, the order
// of lock rows, and that client_state rows name exactly what each client holds. What belongs to a client that
// has ended is good as long as a transaction is removing it.
//
// Reads rows through state/row_reader.h; keeps about 100 bytes for each client, session, open and lock state.
// The tables must not change meanwhile. Blocks.
#pragma once

#include <vector>

#include "client/client_state.h"
#include "state/findings.h"

namespace perdure::client {

// What only the layers around know.
struct CheckSurroundings {
  std::vector<TransactionId> transactions;  // in flight; sorted
  std::vector<ClientId> expiring;           // a transaction in flight removes what was theirs; sorted
  std::vector<StateKey> recalls;            // delegations whose return a transaction sees to; sorted
  struct SlotInUse {
    SlotHandle slot;
    TransactionId transaction;
  };
  std::vector<SlotInUse> slots;  // as the transactions in flight say
};

struct CheckFigures {
  uint64_t clients = 0, sessions = 0, slots = 0, opens = 0, lock_states = 0, locks = 0, delegations = 0;
};
struct Checked {
  CheckFigures figures;
  std::vector<InodeId> open;  // files that somebody has open or was delegated; sorted, for fs/check.h
};

// An error means that the rows themselves cannot be read.
Result<Checked> check(ClientState& cs, const CheckSurroundings& surroundings, state::Findings& findings);

}  // namespace perdure::client
