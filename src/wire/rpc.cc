#include "wire/rpc.h"

#include <utility>

namespace perdure::wire {
namespace {

enum class ReplyStat : uint32_t { MSG_ACCEPTED = 0, MSG_DENIED = 1 };
enum class RejectStat : uint32_t { RPC_MISMATCH = 0, AUTH_ERROR = 1 };

// xid, type, rpcvers: with less there is nothing to answer to.
constexpr size_t call_prefix_bytes = 12;

// RFC 5531 §8.2: a flavor that the server does not know is AUTH_BADCRED (AUTH_TLS's probe relies on it, RFC
// 9289 §4.1). One that is known, but that this server gave nobody a handle or context for, is
// AUTH_REJECTEDCRED: the client should begin anew with another.
AuthStat parse_credential(AuthFlavor flavor, Bytes body, Credential& credential) {
  switch (flavor) {
    case AuthFlavor::AUTH_NONE:
      return body.empty() ? AuthStat::AUTH_OK : AuthStat::AUTH_BADCRED;
    case AuthFlavor::AUTH_SYS: {
      XdrDecoder d(body);
      d.get_u32();  // stamp
      d.get_string(auth_sys_machine_max);
      credential.flavor = AuthFlavor::AUTH_SYS;
      credential.uid = d.get_u32();
      credential.gid = d.get_u32();
      const uint32_t count = d.get_count(auth_sys_gids_max, 4);
      for (uint32_t i = 0; i < count; ++i) credential.gids.push_back(d.get_u32());
      return d.finished() ? AuthStat::AUTH_OK : AuthStat::AUTH_BADCRED;
    }
    case AuthFlavor::AUTH_SHORT:
    case AuthFlavor::RPCSEC_GSS:
      return AuthStat::AUTH_REJECTEDCRED;
    case AuthFlavor::AUTH_TLS:
      return AuthStat::AUTH_BADCRED;
  }
  return AuthStat::AUTH_BADCRED;
}

AuthStat parse_auth(XdrDecoder& d, Credential& credential) {
  const auto flavor = static_cast<AuthFlavor>(d.get_u32());
  const Bytes body = d.get_opaque(auth_bytes_max);
  if (!d.ok()) return AuthStat::AUTH_BADCRED;
  const AuthStat stat = parse_credential(flavor, body, credential);
  if (stat != AuthStat::AUTH_OK) return stat;

  const auto verifier_flavor = static_cast<AuthFlavor>(d.get_u32());
  const Bytes verifier = d.get_opaque(auth_bytes_max);
  const bool null_verifier = d.ok() && verifier_flavor == AuthFlavor::AUTH_NONE && verifier.empty();
  return null_verifier ? AuthStat::AUTH_OK : AuthStat::AUTH_BADVERF;
}

void put_null_auth(XdrEncoder& e) {
  e.put_u32(std::to_underlying(AuthFlavor::AUTH_NONE));
  e.put_u32(0);
}

void begin_accepted(XdrEncoder& reply, uint32_t xid, AcceptStat stat) {
  reply.put_u32(xid);
  reply.put_u32(std::to_underlying(MessageType::REPLY));
  reply.put_u32(std::to_underlying(ReplyStat::MSG_ACCEPTED));
  put_null_auth(reply);
  reply.put_u32(std::to_underlying(stat));
}

void begin_denied(XdrEncoder& reply, uint32_t xid, RejectStat stat) {
  reply.put_u32(xid);
  reply.put_u32(std::to_underlying(MessageType::REPLY));
  reply.put_u32(std::to_underlying(ReplyStat::MSG_DENIED));
  reply.put_u32(std::to_underlying(stat));
}

bool parse_accepted(XdrDecoder& d, ReplyHeader& reply) {
  d.get_u32();  // the verifier says nothing in AUTH_NONE and AUTH_SYS
  d.get_opaque(auth_bytes_max);
  const uint32_t stat = d.get_u32();
  reply.stat = static_cast<AcceptStat>(stat);
  if (reply.stat == AcceptStat::PROG_MISMATCH) d.get_u64();
  reply.results = d.rest();
  return d.ok() && stat <= std::to_underlying(AcceptStat::SYSTEM_ERR);
}

bool parse_denied(XdrDecoder& d, ReplyHeader& reply) {
  reply.denied = true;
  const uint32_t stat = d.get_u32();
  if (stat == std::to_underlying(RejectStat::RPC_MISMATCH)) {
    d.get_u64();
    return d.ok();
  }
  reply.auth = static_cast<AuthStat>(d.get_u32());
  return d.ok() && stat == std::to_underlying(RejectStat::AUTH_ERROR) && reply.auth != AuthStat::AUTH_OK;
}

}  // namespace

std::optional<MessageType> message_type(Bytes message) {
  XdrDecoder d(message);
  d.get_u32();
  const uint32_t type = d.get_u32();
  if (!d.ok() || type > std::to_underlying(MessageType::REPLY)) return std::nullopt;
  return static_cast<MessageType>(type);
}

std::expected<CallHeader, CallError> parse_call(Bytes message) {
  XdrDecoder d(message);
  std::expected<CallHeader, CallError> result;
  CallHeader& call = *result;
  call.xid = d.get_u32();
  if (message.size() < call_prefix_bytes || d.get_u32() != std::to_underlying(MessageType::CALL))
    return std::unexpected(CallError{CallError::Kind::not_a_call, call.xid, {}});
  if (d.get_u32() != rpc_version)
    return std::unexpected(CallError{CallError::Kind::rpc_mismatch, call.xid, {}});
  call.program = d.get_u32();
  call.version = d.get_u32();
  call.procedure = d.get_u32();
  if (!d.ok()) return std::unexpected(CallError{CallError::Kind::not_a_call, call.xid, {}});
  if (const AuthStat stat = parse_auth(d, call.credential); stat != AuthStat::AUTH_OK)
    return std::unexpected(CallError{CallError::Kind::auth, call.xid, stat});
  call.arguments = d.rest();
  return result;
}

void begin_reply(XdrEncoder& reply, uint32_t xid) {
  begin_accepted(reply, xid, AcceptStat::SUCCESS);
}

Reply error_reply(uint32_t xid, AcceptStat stat) {
  CHECK(stat != AcceptStat::SUCCESS && stat != AcceptStat::PROG_MISMATCH);
  Reply reply;
  begin_accepted(reply, xid, stat);
  return reply;
}

Reply program_mismatch_reply(uint32_t xid, uint32_t version_min, uint32_t version_max) {
  Reply reply;
  begin_accepted(reply, xid, AcceptStat::PROG_MISMATCH);
  reply.put_u32(version_min);
  reply.put_u32(version_max);
  return reply;
}

Reply rpc_mismatch_reply(uint32_t xid) {
  Reply reply;
  begin_denied(reply, xid, RejectStat::RPC_MISMATCH);
  reply.put_u32(rpc_version);
  reply.put_u32(rpc_version);
  return reply;
}

Reply auth_error_reply(uint32_t xid, AuthStat stat) {
  CHECK(stat != AuthStat::AUTH_OK);
  Reply reply;
  begin_denied(reply, xid, RejectStat::AUTH_ERROR);
  reply.put_u32(std::to_underlying(stat));
  return reply;
}

Reply error_reply(const CallError& error) {
  CHECK(error.kind != CallError::Kind::not_a_call);
  if (error.kind == CallError::Kind::rpc_mismatch) return rpc_mismatch_reply(error.xid);
  return auth_error_reply(error.xid, error.auth);
}

void begin_call(XdrEncoder& call, uint32_t xid, uint32_t program, uint32_t version, uint32_t procedure,
                const Credential& credential, std::string_view machine_name) {
  call.put_u32(xid);
  call.put_u32(std::to_underlying(MessageType::CALL));
  call.put_u32(rpc_version);
  call.put_u32(program);
  call.put_u32(version);
  call.put_u32(procedure);
  call.put_u32(std::to_underlying(credential.flavor));
  const size_t length_at = call.size();
  call.put_u32(0);
  if (credential.flavor == AuthFlavor::AUTH_SYS) {
    CHECK(machine_name.size() <= auth_sys_machine_max && credential.gids.size() <= auth_sys_gids_max);
    call.put_u32(0);  // stamp
    call.put_string(machine_name);
    call.put_u32(credential.uid);
    call.put_u32(credential.gid);
    call.put_u32(static_cast<uint32_t>(credential.gids.size()));
    for (const uint32_t gid : credential.gids) call.put_u32(gid);
    call.patch_u32(length_at, static_cast<uint32_t>(call.size() - length_at - 4));
  } else {
    CHECK(credential.flavor == AuthFlavor::AUTH_NONE);
  }
  put_null_auth(call);
}

std::optional<ReplyHeader> parse_reply(Bytes message) {
  XdrDecoder d(message);
  ReplyHeader reply;
  reply.xid = d.get_u32();
  if (d.get_u32() != std::to_underlying(MessageType::REPLY)) return std::nullopt;
  const uint32_t stat = d.get_u32();
  if (!d.ok() || stat > std::to_underlying(ReplyStat::MSG_DENIED)) return std::nullopt;
  const bool denied = stat == std::to_underlying(ReplyStat::MSG_DENIED);
  if (denied ? parse_denied(d, reply) : parse_accepted(d, reply)) return reply;
  return std::nullopt;
}

}  // namespace perdure::wire
