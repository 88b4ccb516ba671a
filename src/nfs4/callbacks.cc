#include "nfs4/callbacks.h"

#include <algorithm>

namespace perdure::nfs4 {

namespace {

constexpr uint32_t callback_version = 1, procedure_compound = 1;

// The first of the flavors that the client takes and that we have (RFC 8881 §18.36.3 on csa_sec_parms). They
// were checked when they came.
wire::Credential credential_for(Bytes security) {
  wire::XdrDecoder in(security);
  wire::Credential credential;
  const uint32_t count = in.get_count(16, 4);
  for (uint32_t i = 0; i < count && in.ok(); ++i) {
    credential.flavor = static_cast<wire::AuthFlavor>(in.get_u32());
    if (credential.flavor == wire::AuthFlavor::AUTH_NONE) break;
    if (credential.flavor != wire::AuthFlavor::AUTH_SYS) {
      in.get_u32();
      in.get_opaque(opaque_bytes_max);
      in.get_opaque(opaque_bytes_max);
      credential.flavor = wire::AuthFlavor::AUTH_NONE;
      continue;
    }
    in.get_u32();
    in.get_string(wire::auth_sys_machine_max);
    credential.uid = in.get_u32();
    credential.gid = in.get_u32();
    const uint32_t gids = in.get_count(wire::auth_sys_gids_max, 4);
    for (uint32_t g = 0; g < gids; ++g) credential.gids.push_back(in.get_u32());
    break;
  }
  return credential;
}

// CB_COMPOUND4res of a CB_SEQUENCE and another operation.
Callbacks::Answer parse_answer(Bytes results) {
  constexpr size_t session_bytes = 16;
  const Callbacks::Answer malformed{.malformed = true};
  wire::XdrDecoder in(results);
  Callbacks::Answer answer;
  const auto status = static_cast<Nfsstat4>(in.get_u32());
  in.get_opaque(tag_bytes_max);
  const uint32_t count = in.get_count(2, 8);
  if (!in.ok()) return malformed;
  if (count == 0) {
    answer.sequence = status;
    return status == Nfsstat4::NFS4_OK ? malformed : answer;
  }
  const uint32_t first = in.get_u32();
  answer.sequence = static_cast<Nfsstat4>(in.get_u32());
  if (!in.ok() || first != static_cast<uint32_t>(CallbackOp::OP_CB_SEQUENCE)) return malformed;
  if (answer.sequence != Nfsstat4::NFS4_OK) return answer;
  in.get_opaque_fixed(session_bytes);
  for (int i = 0; i < 4; ++i) in.get_u32();
  if (count != 2) return malformed;
  in.get_u32();
  answer.operation = static_cast<Nfsstat4>(in.get_u32());
  return in.ok() ? answer : malformed;
}

}  // namespace

void Callbacks::send(TransactionId caller, const client::ClientState::BackPath& path,
                     const client::SessionRow& session, uint32_t seqid, Bytes operation) {
  const uint32_t xid = ++last_xid_;
  wire::Reply call;
  wire::begin_call(call, xid, session.callback_program, callback_version, procedure_compound,
                   credential_for(session.callback_security));
  call.put_opaque({});  // tag
  call.put_u32(session.minor_version);
  call.put_u32(0);  // callback_ident: not used with sessions
  call.put_u32(2);
  call.put_u32(static_cast<uint32_t>(CallbackOp::OP_CB_SEQUENCE));
  call.put_opaque_fixed(std::as_bytes(std::span(session.id)));
  call.put_u32(seqid);
  call.put_u32(0);       // slot
  call.put_u32(0);       // highest slot
  call.put_bool(false);  // csa_cachethis
  call.put_u32(0);       // no referring calls
  call.put_raw(operation);
  answers_.erase(caller);
  calls_[caller] = {wire::ConnectionId(path.connection.value), xid};
  transport_->send(wire::ConnectionId(path.connection.value), std::move(call));
}

std::optional<Callbacks::Answer> Callbacks::take_answer(TransactionId caller) {
  auto it = answers_.find(caller);
  if (it == answers_.end()) return std::nullopt;
  const Answer answer = it->second;
  answers_.erase(it);
  return answer;
}

void Callbacks::forget(TransactionId caller) {
  calls_.erase(caller);
  answers_.erase(caller);
}

// A reply that answers nothing is an old one: its caller has given up.
void Callbacks::reply(wire::ConnectionId connection, const wire::ReplyHeader& reply) {
  auto it = std::find_if(calls_.begin(), calls_.end(), [&](const auto& call) {
    return call.second.connection == connection && call.second.xid == reply.xid;
  });
  if (it == calls_.end()) return;
  end(it->first, reply.success() ? parse_answer(reply.results) : Answer{.malformed = true});
}

void Callbacks::closed(wire::ConnectionId connection) {
  std::vector<TransactionId> callers;
  for (const auto& [caller, call] : calls_)
    if (call.connection == connection) callers.push_back(caller);
  for (const TransactionId caller : callers) end(caller, {.lost = true});
}

void Callbacks::end(TransactionId caller, const Answer& answer) {
  calls_.erase(caller);
  answers_[caller] = answer;
  resume_(caller);
}

}  // namespace perdure::nfs4
