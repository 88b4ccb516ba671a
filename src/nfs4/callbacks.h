// Callbacks: calls to clients over the back channels of their sessions (RFC 8881 §2.10.3.1, §20), or, of
// NFSv4.0, over connections for that (RFC 7530 §15), and what comes back. Knows nothing of why:
// nfs4/back_call.h does. Volatile: after a crash whoever had sent something
// sends it again, under the same sequence id, or learns from the client that it had arrived. Thread: the
// vserver's loop.
#pragma once

#include <absl/container/btree_map.h>

#include <optional>

#include "client/client_state.h"
#include "nfs4/types.h"
#include "wire/rpc_service.h"

namespace perdure::nfs4 {

// Numbers of callback operations that are used (nfs_cb_opnum4).
enum class CallbackOp : uint32_t {
  OP_CB_GETATTR = 3,
  OP_CB_RECALL = 4,
  OP_CB_SEQUENCE = 11,
  OP_CB_NOTIFY_LOCK = 13,
  OP_CB_OFFLOAD = 15
};

// Whom a call is for.
struct CallbackTarget {
  uint32_t program = 0, minor_version = 0;
  uint32_t ident = 0;  // of NFSv4.0
  wire::Credential credential;
  std::optional<client::SessionId> session;  // later: CB_SEQUENCE stands before the operation
};

// How long a client may take to answer until its connection counts as broken: SEQUENCE then tells it to make
// a new one, before its time is over.
env::Duration callback_patience(const client::ClientState& cs);

class Callbacks final : public wire::CallbackSink {
 public:
  explicit Callbacks(std::function<void(TransactionId)> resume) : resume_(std::move(resume)) {}

  void attach(wire::Transport& transport) { transport_ = &transport; }

  // How a CB_COMPOUND of one operation, and CB_SEQUENCE before it, has ended. `operation`, and what stood
  // behind it, count if `sequence` is NFS4_OK.
  struct Answer {
    bool lost = false;       // the connection is gone
    bool malformed = false;  // what came was no answer
    Nfsstat4 sequence = Nfsstat4::NFS4_OK, operation = Nfsstat4::NFS4_OK;
    ByteVector result;
  };
  // Sends the operation (its number and arguments, in XDR), under this sequence id of slot 0 if there is a
  // session. When it has ended the caller is resumed, and take_answer() gives the answer once.
  void send(TransactionId caller, wire::ConnectionId connection, const CallbackTarget& target, uint32_t seqid,
            Bytes operation);
  // CB_NULL; one at a time over each connection. Never answers inline.
  void call_null(wire::ConnectionId connection, uint32_t program, std::function<void(bool good)> answered);
  bool under_way(TransactionId caller) const { return calls_.contains(caller); }
  std::optional<Answer> take_answer(TransactionId caller);
  void forget(TransactionId caller);

  // wire::CallbackSink
  void reply(wire::ConnectionId connection, const wire::ReplyHeader& reply) override;
  void closed(wire::ConnectionId connection);

 private:
  struct Sent {
    wire::ConnectionId connection;
    uint32_t xid = 0;
    bool sequenced = false;
  };
  struct NullCall {
    uint32_t xid = 0;
    std::function<void(bool)> answered;
  };
  void end_null(wire::ConnectionId connection, bool good);
  void end(TransactionId caller, Answer answer);

  std::function<void(TransactionId)> resume_;
  wire::Transport* transport_ = nullptr;
  absl::btree_map<TransactionId, Sent> calls_;
  absl::btree_map<TransactionId, Answer> answers_;
  absl::btree_map<wire::ConnectionId, NullCall> null_calls_;
  uint32_t last_xid_ = 0;
};

}  // namespace perdure::nfs4
