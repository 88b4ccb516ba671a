// COMPOUNDs that wait until other clients have returned their delegations. A client must be able to go on,
// and above all to return delegations itself: of its session's slots at most half are held by such requests,
// each for a short time. Then the answer is NFS4ERR_DELAY, and the recall goes on.
//
// Volatile: what waits after a crash has its time anew. Thread: the vserver's loop.
#pragma once

#include <absl/container/btree_map.h>

#include "client/client_state.h"

namespace perdure::nfs4 {

class Compound;
class Service;

class RecallWaits {
 public:
  explicit RecallWaits(Service& service) : service_(service) {}
  ~RecallWaits();

  // `c` has to wait, and its run ends with that. delay: it has done so in an earlier run, and may not go on.
  Outcome<void> wait(const Compound& c);
  // It waits no more.
  void end(TransactionId id);

 private:
  struct Wait {
    client::SessionNumber session;
    env::Instant until;
    env::TimerId timer{};
  };
  bool too_many(client::SessionNumber session) const;

  Service& service_;
  absl::btree_map<TransactionId, Wait> waits_;
};

}  // namespace perdure::nfs4
