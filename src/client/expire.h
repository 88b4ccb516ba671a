// The end of a client: its lease has run out, or a new incarnation has taken its place.
//
// It takes effect at once, by the erasure of its ClientRow: whatever names a client that is not there does
// not count. Then its sessions, locks and opens are removed, some at a time, by a job (the layer above makes
// a transaction of it: Kind::expire_client) that goes on after a crash.
#pragma once

#include "client/client_state.h"

namespace perdure::client {

struct ExpireRegisters {
  enum class Step : uint8_t {
    decide,  // ends the client if its lease has still run out
    remove,  // removes what belonged to it, expire_rows_max rows at a time
  };
  ClientId client;
  Step step = Step::decide;  // `remove` for a job of Hooks::start_expire
  template <class Self, class V>
  static void fields(Self& r, V&& v) {
    v("client", r.client), v("step", r.step);
  }
};

inline constexpr size_t expire_rows_max = 256;

// One bounded run of the job. True: it has finished. May fault in Hooks::released, then the run is abandoned.
Outcome<bool> expire_step(ClientState& cs, Run& run, ExpireRegisters& registers);

}  // namespace perdure::client
