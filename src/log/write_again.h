// A process that died, or whose write failed, may have left batches that can be read and are in the disk's
// cache at best. A start that goes on behind them makes them durable first: it writes them again, where they
// are. A flush would not do: after one that failed, a later one says nothing of what was written before.
// Whether that write is torn or lost does not matter: what it writes is there already, or was never durable.
#pragma once

#include "log/ring_state.h"

namespace perdure::log {

// Reads the batches from `begin` to `end`, checks them, and writes them durably. At most in_flight_bytes_max,
// or one batch. `corrupt`: they are not what they were when they were read before. `ring` lives until done.
void write_again(RingState& ring, Lsn begin, Lsn end, env::Done<void> done);

}  // namespace perdure::log
