// The recall of a delegation (RFC 8881 §10.4.1, CB_RECALL §20.2), as a transaction: it begins in the record
// of the run that meets the delegation, and ends when the delegation is returned, or is revoked because it
// was not in time. After a crash it goes on: it calls again, and gives the client its whole time again.
#pragma once

#include <absl/container/btree_map.h>

#include "client/delegation.h"
#include "nfs4/back_call.h"

namespace perdure::nfs4 {

struct RecallRegisters {
  client::ClientId client;
  InodeId inode;
  uint32_t number = 0;  // of the delegation
  BackCallRegisters call;
  template <class Self, class V>
  static void fields(Self& r, V&& v) {
    v("client", r.client), v("inode", r.inode), v("number", r.number), v("call", r.call);
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
                            // beginning; but for the time in which our log was waited for
    env::Instant looked_at;
    env::TimerId timer{};
  };
  Recall& begin(TransactionId id, const RecallRegisters& registers);
  void set_deadline(TransactionId id, Recall& recall, env::Instant deadline);
  void end(TransactionId id);

  Service& service_;
  absl::btree_map<TransactionId, Recall> recalls_;
};

}  // namespace perdure::nfs4
