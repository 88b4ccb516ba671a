// One call to a client over the back channel of one of its sessions (RFC 8881 §2.10.3.1, §20), as a part of a
// transaction: a session is chosen and the next sequence id of its back channel taken; when that is durable
// the call is made, again and again, until the client has answered. After a crash it is made again under the
// same sequence id, so that the client executes it once. A client of NFSv4.0 has no session, and its calls no
// sequence ids: it may execute one twice.
#pragma once

#include <absl/container/btree_map.h>
#include <absl/functional/function_ref.h>

#include "nfs4/callbacks.h"
#include "state/run.h"

namespace perdure::nfs4 {

class Service;

struct BackCallRegisters {
  enum class Step : uint8_t {
    choose,    // a session, and the next sequence id of its back channel
    call,      // that is durable, or will be: then the call is made, until it is answered
    answered,  // the client knows of it
  };
  Step step = Step::choose;
  client::SessionNumber session;  // 0: a client of NFSv4.0
  uint32_t seqid = 0;
  template <class Self, class V>
  static void fields(Self& r, V&& v) {
    v("step", r.step), v("session", r.session), v("seqid", r.seqid);
  }
};

// How it has ended.
struct BackCallAnswer {
  Nfsstat4 status = Nfsstat4::NFS4_OK;
  bool repeated = false;  // the client had answered before, so what was its result is not known
  ByteVector result;      // what stood behind the status
};

// What only the running process knows of such calls, one at a time for each transaction. Thread: the
// vserver's loop.
class BackCalls {
 public:
  explicit BackCalls(Service& service) : service_(service) {}
  ~BackCalls();

  // The part of one run. `operation` writes its number and arguments. What the client has answered; nullopt:
  // the transaction is to wait, and is resumed when there is more to do.
  Outcome<std::optional<BackCallAnswer>> step(state::Run& run, client::ClientId client,
                                              BackCallRegisters& registers,
                                              absl::FunctionRef<void(wire::XdrEncoder&)> operation);
  // Again from the beginning, a moment later.
  void again(state::Run& run, BackCallRegisters& registers);
  // The transaction has no use for its call any more, answered or not.
  Outcome<void> end(state::Run& run, BackCallRegisters& registers);

  // This process has made the call at least once.
  bool was_made(TransactionId id) const;
  // The log has not yet taken the sequence id.
  bool waits_for_log(TransactionId id) const;

 private:
  struct Call {
    Lsn assigned;                                         // the record of the sequence id; 0: durable
    std::optional<client::ClientState::BackPath> called;  // over which the call went that is under way
    env::Instant called_at;
    env::Instant not_before{};  // the client has refused the last one
    env::TimerId timer{};       // resumes the transaction
    bool ended = false;         // and what is here counts no more, once that is committed
  };
  Outcome<void> choose(state::Run& run, client::ClientId client, BackCallRegisters& registers, Call& call);
  Outcome<std::optional<BackCallAnswer>> answered(state::Run& run, client::ClientId client,
                                                  BackCallRegisters& registers, Callbacks::Answer answer);
  Outcome<void> leave_slot(state::Run& run, BackCallRegisters& registers, bool back = false);
  void path_failed(client::ClientId client, const client::ClientState::BackPath& path);
  void wake_slot_waiters(state::Run& run, client::SessionNumber session);
  void set_time(TransactionId id, env::Duration duration);
  void call_again(TransactionId id, Call& call);
  void forget(TransactionId id, const Call& call);

  Service& service_;
  absl::btree_map<TransactionId, Call> calls_;
  absl::btree_map<client::SessionNumber, std::vector<TransactionId>> slot_waiters_;
  const std::shared_ptr<bool> alive_ = std::make_shared<bool>();
};

}  // namespace perdure::nfs4
