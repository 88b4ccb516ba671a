// CREATE_SESSION: RFC 8881 §18.36. Each client has one slot for it, with a cached result.
#pragma once

#include <string_view>

#include "client/client_state.h"

namespace perdure::client {

struct CreateSessionArgs {
  ClientId client = {};
  uint32_t seqid = 0;
  std::string_view principal = {};             // who calls
  bool persist = false, back_channel = false;  // asked for
  bool well_formed = true;                     // no unknown flags
  ChannelAttributes fore = {}, back = {};
  uint32_t minor_version = 1, callback_program = 0;
  Bytes callback_security = {};
  ConnectionId connection = {};
};

struct CreatedSession {
  // Set: a retransmission, and this is what cache_create_session() was given. Valid until the run ends.
  std::optional<Bytes> replay = {};
  // Not ok: there is no session, and nothing has changed but the slot, which waits for this result.
  //   invalid_argument    not well-formed
  //   too_small           a channel with which no request could be made
  //   no_space            too many sessions
  Status refused = Status::ok;
  SessionId id{};
  uint32_t seqid = 0;
  bool persist = false, back_channel = false;  // granted
  ChannelAttributes fore = {}, back = {};      // as negotiated
};

//   stale_client        there is no such client
//   client_in_use       not the principal that is to confirm its client
//   seq_misordered      neither the next seqid nor the last one
// These errors change nothing. From then on the slot stands at the seqid (RFC 8881 §18.36.4, phase 2), so the
// result, be it an error, is to be cached.
// Deviation: §18.36.4 looks at the principal after the slot. Then anybody could use up a seqid of a client
// that is not confirmed yet, and it would take the error for the result of its own request.
Outcome<CreatedSession> create_session(ClientState& cs, Run& run, const CreateSessionArgs& args);
// The result of a create_session() that was not a replay, in the same run. Not empty.
Outcome<void> cache_create_session(ClientState& cs, Run& run, ClientId client, ByteVector result);

}  // namespace perdure::client
