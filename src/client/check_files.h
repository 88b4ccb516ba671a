// What the checker remembers of opens, lock states and delegations, and the part of it that goes through them
// file by file. Internal to check*.cc.
#pragma once

#include <vector>

#include "client/check.h"
#include "state/row_reader.h"

namespace perdure::client {

// An open, a lock state or a delegation.
struct CheckedState {
  StateKey key;
  ClientId client;
  uint64_t owner_hash = 0;
};

struct CheckedFiles {
  std::vector<CheckedState> opens, lock_states, delegations;  // in the order of their keys
  uint64_t locks = 0;
};

// `alive`: the client's row is there.
Result<CheckedFiles> check_files(ClientState& cs, const std::function<bool(ClientId)>& alive,
                                 state::Findings& findings);

// "client 0x100000001".
std::string describe(ClientId client);

}  // namespace perdure::client
