// The recall of a delegation (RFC 8881 §10.4.1, CB_RECALL §20.2), as a transaction: it begins in the record
// of the run that meets the delegation, and ends when the delegation is returned, or is revoked because it
// was not in time. After a crash it goes on: it calls again, and gives the client its whole time again.
#pragma once

#include <absl/container/btree_map.h>

#include "client/delegation.h"
#include "nfs4/callbacks.h"

namespace perdure::nfs4 {

class Service;

struct RecallRegisters {
  enum class Step : uint8_t {
    choose,   // a session, and the next sequence id of its back channel
    call,     // that is durable, or will be: then the call is made, until it is answered
    waiting,  // the client knows of it
  };
  client::ClientId client;
  InodeId inode;
  uint32_t number = 0;  // of the delegation
  Step step = Step::choose;
  client::SessionNumber session;
  uint32_t seqid = 0;
  template <class Self, class V>
  static void fields(Self& r, V&& v) {
    v("client", r.client), v("inode", r.inode), v("number", r.number), v("step", r.step);
    v("session", r.session), v("seqid", r.seqid);
  }
};

// What only the running process knows of recalls. Thread: the vserver's loop.
class Recalls {
 public:
  explicit Recalls(Service& service) : service_(service) {}
  ~Recalls();

  // One run of the transaction. True: it has ended. Otherwise it waits; or a fault in ClientState's hooks.
  Outcome<bool> step(state::Run& run, RecallRegisters& registers);

 private:
  struct Recall {
    env::Instant deadline;  // a lease after the first call, or, as long as there is no way to the client, the
                            // beginning
    env::TimerId timer{};
    Lsn assigned;                                         // the record of the sequence id; 0: durable
    std::optional<client::ClientState::BackPath> called;  // over which the call went that is under way
    env::Instant called_at;
  };
  Recall& begin(TransactionId id);
  void give_time(TransactionId id, Recall& recall);
  void end(TransactionId id);
  Outcome<bool> wait(state::Run& run, const RecallRegisters& registers);
  Outcome<bool> choose(state::Run& run, RecallRegisters& registers, Recall& recall);
  Outcome<bool> call(state::Run& run, RecallRegisters& registers, Recall& recall);
  Outcome<void> answered(state::Run& run, RecallRegisters& registers, const Callbacks::Answer& answer,
                         bool& call_again);
  Outcome<void> leave_slot(state::Run& run, RecallRegisters& registers, bool back = false);
  void resume_later(TransactionId id, env::Duration later);

  Service& service_;
  absl::btree_map<TransactionId, Recall> recalls_;
  absl::btree_map<client::SessionNumber, std::vector<TransactionId>> slot_waiters_;
  const std::shared_ptr<bool> alive_ = std::make_shared<bool>();
};

}  // namespace perdure::nfs4
