#include "client/create_session.h"

#include <algorithm>

#include "client/client_owner.h"

namespace perdure::client {

namespace {

// Below this no COMPOUND with a SEQUENCE fits.
constexpr uint32_t message_bytes_min = 256;

bool too_small(const ChannelAttributes& a) {
  return a.request_bytes_max < message_bytes_min || a.response_bytes_max < message_bytes_min ||
         a.operations_max == 0;
}

// What must be right for a session to be made.
Status judge(const ClientState& cs, const CreateSessionArgs& args) {
  if (!args.well_formed) return Status::invalid_argument;
  if (too_small(args.fore) || args.fore.slots == 0 || too_small(args.back)) return Status::too_small;
  if (cs.client_twin(args.client)->sessions >= cs.options().sessions_per_client_max) return Status::no_space;
  return Status::ok;
}

// CREATE_SESSION4res begins with its status.
bool was_refused(Bytes reply) {
  return std::ranges::any_of(reply.first(std::min<size_t>(reply.size(), 4)),
                             [](std::byte b) { return b != std::byte{0}; });
}

// The server may lower what the client asked for, and never raises it (§18.36.3).
ChannelAttributes negotiate(const ChannelAttributes& a, const ClientState::Options& o) {
  return {.request_bytes_max = std::min(a.request_bytes_max, o.request_bytes_max),
          .response_bytes_max = std::min(a.response_bytes_max, o.response_bytes_max),
          .cached_response_bytes_max =
              std::min({a.cached_response_bytes_max, o.cached_response_bytes_max, a.response_bytes_max}),
          .operations_max = std::min(a.operations_max, o.operations_max),
          .slots = std::min(a.slots, o.slots_per_session_max)};
}

}  // namespace

Outcome<CreatedSession> create_session(ClientState& cs, Run& run, const CreateSessionArgs& args) {
  const ClientRow* client = TRY(cs.clients.get(run, {args.client}));
  if (client == nullptr || client->kind != ClientKind::session) return Status::stale_client;
  // A confirmed client may change its principal (phase 3 is about the first session only).
  if (!client->confirmed && client->principal != args.principal) return Status::client_in_use;
  // Who was refused may ask for something else under the same sequence id, as some clients do: that is no
  // repetition, because the same again would be refused again.
  const bool again = args.seqid == client->create_seqid && was_refused(client->create_reply) &&
                     judge(cs, args) == Status::ok;
  if (args.seqid == client->create_seqid && !client->create_reply.empty() && !again) {
    CreatedSession created;
    created.replay = Bytes(client->create_reply);
    return created;
  }
  if (args.seqid != client->create_seqid + 1 && !again) return Status::seq_misordered;
  ClientRow next = *client;
  next.create_seqid = args.seqid;
  next.create_reply.clear();
  if (const Status status = judge(cs, args); status != Status::ok) {
    cs.clients.put(run, {args.client}, std::move(next));
    return CreatedSession{.refused = status};
  }
  next.confirmed = true;
  // §18.36.4 ¶7, phase 3.
  if (!client->confirmed) TRY(confirm_client(cs, run, args.client, *client));
  cs.clients.put(run, {args.client}, std::move(next));

  const SessionNumber number = cs.new_session_number();
  SessionRow session;
  session.client = args.client;
  session.id = cs.make_session_id(number, args.client);
  session.fore = negotiate(args.fore, cs.options());
  session.back = negotiate(args.back, cs.options());
  session.persistent = args.persist && cs.options().persistent;
  session.back_channel = args.back_channel;
  session.minor_version = args.minor_version;
  session.callback_program = args.callback_program;
  session.callback_security.assign(args.callback_security.begin(), args.callback_security.end());
  CreatedSession created{.replay = {},
                         .refused = Status::ok,
                         .id = session.id,
                         .seqid = args.seqid,
                         .persist = session.persistent,
                         .back_channel = session.back_channel,
                         .fore = session.fore,
                         .back = session.back};
  cs.sessions.put_new(run, {number}, std::move(session));
  cs.add_session(run, number, args.client, created.fore.slots);
  run.on_commit([&cs, number, connection = args.connection, back = args.back_channel] {
    cs.bind_connection(number, connection, true, back);
  });
  return created;
}

Outcome<void> cache_create_session(ClientState& cs, Run& run, ClientId client, ByteVector result) {
  const ClientRow* row = TRY(cs.clients.get(run, {client}));
  CHECK(row != nullptr && !result.empty());
  ClientRow cached = *row;
  cached.create_reply = std::move(result);
  cs.clients.put(run, {client}, std::move(cached));
  return {};
}

}  // namespace perdure::client
