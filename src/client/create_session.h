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
  ChannelAttributes fore = {}, back = {};
  uint32_t callback_program = 0;
  Bytes callback_security = {};
  ConnectionId connection = {};
};

struct CreatedSession {
  // Set: a retransmission, and this is what cache_create_session() was given. Valid until the run ends.
  std::optional<Bytes> replay = {};
  SessionId id{};
  uint32_t seqid = 0;
  bool persist = false, back_channel = false;  // granted
  ChannelAttributes fore = {}, back = {};      // as negotiated
};

//   stale_client        there is no such client
//   seq_misordered      neither the next seqid nor the last one
//   client_in_use       not the principal that is to confirm its client
//   too_small           a channel with which no request could be made
//   no_space            too many sessions
// An error changes nothing, the seqid included.
Outcome<CreatedSession> create_session(ClientState& cs, Run& run, const CreateSessionArgs& args);
// The result of a create_session() that was not a replay, in the same run.
Outcome<void> cache_create_session(ClientState& cs, Run& run, ClientId client, ByteVector result);

}  // namespace perdure::client
