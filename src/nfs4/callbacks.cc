#include "nfs4/callbacks.h"

#include <algorithm>

namespace perdure::nfs4 {

namespace {

constexpr uint32_t callback_version = 1, procedure_null = 0, procedure_compound = 1;
constexpr size_t result_bytes_max = 128;  // none that is asked for has more

// CB_COMPOUND4res of an operation, and of a CB_SEQUENCE before it.
Callbacks::Answer parse_answer(Bytes results, bool sequenced) {
  constexpr size_t session_bytes = 16;
  Callbacks::Answer malformed{.malformed = true};
  wire::XdrDecoder in(results);
  Callbacks::Answer answer;
  const auto status = static_cast<Nfsstat4>(in.get_u32());
  in.get_opaque(tag_bytes_max);
  const uint32_t count = in.get_count(2, 8);
  if (!in.ok()) return malformed;
  if (count == 0) {
    (sequenced ? answer.sequence : answer.operation) = status;
    return status == Nfsstat4::NFS4_OK ? malformed : answer;
  }
  const auto operation = [&] {
    in.get_u32();
    answer.operation = static_cast<Nfsstat4>(in.get_u32());
    const Bytes result = in.rest();
    if (!in.ok() || result.size() > result_bytes_max) return malformed;
    answer.result.assign(result.begin(), result.end());
    return answer;
  };
  if (!sequenced) return count == 1 ? operation() : malformed;
  const uint32_t first = in.get_u32();
  answer.sequence = static_cast<Nfsstat4>(in.get_u32());
  if (!in.ok() || first != static_cast<uint32_t>(CallbackOp::OP_CB_SEQUENCE)) return malformed;
  if (answer.sequence != Nfsstat4::NFS4_OK) return answer;
  in.get_opaque_fixed(session_bytes);
  for (int i = 0; i < 4; ++i) in.get_u32();
  return count == 2 ? operation() : malformed;
}

}  // namespace

env::Duration callback_patience(const client::ClientState& cs) {
  return std::chrono::milliseconds(cs.options().lease_seconds * 1000 / 8);
}

void Callbacks::send(TransactionId caller, wire::ConnectionId connection, const CallbackTarget& target,
                     uint32_t seqid, Bytes operation) {
  const uint32_t xid = ++last_xid_;
  wire::Reply call;
  wire::begin_call(call, xid, target.program, callback_version, procedure_compound, target.credential);
  call.put_opaque({});  // tag
  call.put_u32(target.minor_version);
  call.put_u32(target.ident);
  call.put_u32(target.session ? 2 : 1);
  if (target.session) {
    call.put_u32(static_cast<uint32_t>(CallbackOp::OP_CB_SEQUENCE));
    call.put_opaque_fixed(std::as_bytes(std::span(*target.session)));
    call.put_u32(seqid);
    call.put_u32(0);       // slot
    call.put_u32(0);       // highest slot
    call.put_bool(false);  // csa_cachethis
    call.put_u32(0);       // no referring calls
  }
  call.put_raw(operation);
  answers_.erase(caller);
  calls_[caller] = {connection, xid, target.session.has_value()};
  transport_->send(connection, std::move(call));
}

void Callbacks::call_null(wire::ConnectionId connection, uint32_t program,
                          std::function<void(bool)> answered) {
  const uint32_t xid = ++last_xid_;
  wire::Reply call;
  wire::begin_call(call, xid, program, callback_version, procedure_null, {});
  null_calls_[connection] = {xid, std::move(answered)};
  transport_->send(connection, std::move(call));
}

std::optional<Callbacks::Answer> Callbacks::take_answer(TransactionId caller) {
  auto it = answers_.find(caller);
  if (it == answers_.end()) return std::nullopt;
  Answer answer = std::move(it->second);
  answers_.erase(it);
  return answer;
}

void Callbacks::forget(TransactionId caller) {
  calls_.erase(caller);
  answers_.erase(caller);
}

// A reply that answers nothing is an old one: its caller has given up.
void Callbacks::reply(wire::ConnectionId connection, const wire::ReplyHeader& reply) {
  const auto null_call = null_calls_.find(connection);
  if (null_call != null_calls_.end() && null_call->second.xid == reply.xid)
    return end_null(connection, reply.success());
  auto it = std::find_if(calls_.begin(), calls_.end(), [&](const auto& call) {
    return call.second.connection == connection && call.second.xid == reply.xid;
  });
  if (it == calls_.end()) return;
  end(it->first,
      reply.success() ? parse_answer(reply.results, it->second.sequenced) : Answer{.malformed = true});
}

void Callbacks::closed(wire::ConnectionId connection) {
  std::vector<TransactionId> callers;
  for (const auto& [caller, call] : calls_)
    if (call.connection == connection) callers.push_back(caller);
  for (const TransactionId caller : callers) end(caller, {.lost = true});
  end_null(connection, false);
}

void Callbacks::end(TransactionId caller, Answer answer) {
  calls_.erase(caller);
  answers_[caller] = std::move(answer);
  resume_(caller);
}

void Callbacks::end_null(wire::ConnectionId connection, bool good) {
  const auto it = null_calls_.find(connection);
  if (it == null_calls_.end()) return;
  const std::function<void(bool)> answered = std::move(it->second.answered);
  null_calls_.erase(it);
  answered(good);
}

}  // namespace perdure::nfs4
