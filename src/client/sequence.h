// SEQUENCE: RFC 8881 §18.46. Whether a request on a slot is new, a retransmission, or neither.
#pragma once

#include "client/client_state.h"

namespace perdure::client {

struct SequenceArgs {
  SessionId session{};
  uint32_t slot = 0, seqid = 0;
  uint32_t checksum = 0;  // of the request, its SEQUENCE left out: tells a retransmission from a false one
  ConnectionId connection = {};
};

struct Sequenced {
  // Set: a retransmission of a request that has finished; this is its reply, valid until the run ends.
  std::optional<Bytes> replay = {};
  SlotHandle slot = {};
  ClientId client = {};
  ChannelAttributes fore = {};  // the limits that the session was given
  uint32_t highest_slot = 0;    // sr_highest_slotid
  uint32_t target_highest_slot = 0;
  uint32_t status_flags = 0;
};

// sr_status_flags, RFC 8881 §18.46.2.
inline constexpr uint32_t seq4_status_cb_path_down = 0x1;
inline constexpr uint32_t seq4_status_cb_path_down_session = 0x200;
inline constexpr uint32_t seq4_status_recallable_state_revoked = 0x40;

// The request's transaction is run.transaction(). From here on it is in flight on the slot, until finish().
//   wait             it is a retransmission of one in flight, and is resumed when that has finished: call
//   again delay            the same, but too many wait already bad_session, bad_slot, seq_misordered,
//   seq_false_retry, retry_uncached
// Renews the lease. Gives an unbound connection to the session (RFC 8881 §2.10.3.1).
Outcome<Sequenced> sequence(ClientState& cs, Run& run, const SequenceArgs& args);

}  // namespace perdure::client
