// ONC RPC version 2 messages (RFC 5531): headers of calls and replies in both directions, and the credentials
// of AUTH_NONE and AUTH_SYS. Pure functions over bytes. Used by the server for its clients' calls, and the
// other way round for callbacks, which travel over the same connection: the message type tells calls from
// replies.
#pragma once

#include <absl/container/inlined_vector.h>

#include <expected>
#include <optional>

#include "wire/xdr.h"

namespace perdure::wire {

enum class MessageType : uint32_t { CALL = 0, REPLY = 1 };

enum class AuthFlavor : uint32_t {
  AUTH_NONE = 0,
  AUTH_SYS = 1,
  AUTH_SHORT = 2,
  RPCSEC_GSS = 6,
  AUTH_TLS = 7
};

enum class AcceptStat : uint32_t {
  SUCCESS = 0,
  PROG_UNAVAIL = 1,
  PROG_MISMATCH = 2,
  PROC_UNAVAIL = 3,
  GARBAGE_ARGS = 4,
  SYSTEM_ERR = 5,
};

enum class AuthStat : uint32_t {
  AUTH_OK = 0,
  AUTH_BADCRED = 1,
  AUTH_REJECTEDCRED = 2,
  AUTH_BADVERF = 3,
  AUTH_REJECTEDVERF = 4,
  AUTH_TOOWEAK = 5,
  AUTH_INVALIDRESP = 6,
  AUTH_FAILED = 7,
  RPCSEC_GSS_CREDPROBLEM = 13,
  RPCSEC_GSS_CTXPROBLEM = 14,
};

inline constexpr uint32_t rpc_version = 2;
inline constexpr uint32_t nobody = 65534;
inline constexpr size_t auth_bytes_max = 400;          // RFC 5531 §8.2
inline constexpr uint32_t auth_sys_gids_max = 16;      // RFC 5531 appendix A
inline constexpr uint32_t auth_sys_machine_max = 255;  // RFC 5531 appendix A

// Who calls. The machine name of AUTH_SYS is not kept: nothing may depend on it.
struct Credential {
  AuthFlavor flavor = AuthFlavor::AUTH_NONE;
  uint32_t uid = nobody;
  uint32_t gid = nobody;
  absl::InlinedVector<uint32_t, auth_sys_gids_max> gids;

  friend bool operator==(const Credential&, const Credential&) = default;
};

struct CallHeader {
  uint32_t xid = 0;
  uint32_t program = 0;
  uint32_t version = 0;
  uint32_t procedure = 0;
  Credential credential;
  Bytes arguments;  // a view into the message
};

// Why a message is not a call that can be executed.
struct CallError {
  enum class Kind : uint8_t {
    not_a_call,    // nothing that could be answered: the connection is of no use
    rpc_mismatch,  // answered by rpc_mismatch_reply()
    auth,          // answered by auth_error_reply()
  };
  Kind kind = Kind::not_a_call;
  uint32_t xid = 0;
  AuthStat auth = AuthStat::AUTH_OK;
};

// The type of a message; nothing if it is too short to be one, or of no known type.
std::optional<MessageType> message_type(Bytes message);

std::expected<CallHeader, CallError> parse_call(Bytes message);

// A reply up to where the results of a successful call follow.
void begin_reply(XdrEncoder& reply, uint32_t xid);
inline constexpr size_t reply_header_bytes = 24;  // what begin_reply() puts
// Accepted, but failed: any but SUCCESS and PROG_MISMATCH.
Reply error_reply(uint32_t xid, AcceptStat stat);
Reply program_mismatch_reply(uint32_t xid, uint32_t version_min, uint32_t version_max);
Reply rpc_mismatch_reply(uint32_t xid);
Reply auth_error_reply(uint32_t xid, AuthStat stat);
// The answer to a CallError that can be answered.
Reply error_reply(const CallError& error);

// A call up to where its arguments follow. `credential` is of AUTH_NONE or AUTH_SYS.
void begin_call(XdrEncoder& call, uint32_t xid, uint32_t program, uint32_t version, uint32_t procedure,
                const Credential& credential, std::string_view machine_name = {});

struct ReplyHeader {
  uint32_t xid = 0;
  // Denied: neither `stat` nor `results` says anything. `auth` is AUTH_OK if the RPC version was refused.
  bool denied = false;
  AuthStat auth = AuthStat::AUTH_OK;
  AcceptStat stat = AcceptStat::SUCCESS;
  Bytes results;  // of SUCCESS; a view into the message

  bool success() const { return !denied && stat == AcceptStat::SUCCESS; }
};

// Nothing if the message is not a well-formed reply.
std::optional<ReplyHeader> parse_reply(Bytes message);

}  // namespace perdure::wire
