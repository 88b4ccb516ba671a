// COMPOUNDs that wait for other clients: until these have returned their delegations, or have said what they
// know of a file. A client must be able to go on, and above all to return delegations itself: of its
// session's slots at most half are held by such requests, each for a short time. Then who waits for a recall
// is answered NFS4ERR_DELAY, and the recall goes on.
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
  // `patience` counts from its first run on.
  Outcome<void> wait(const Compound& c, env::Duration patience = recall_patience);
  // It waits no more.
  void end(TransactionId id);

  // A delegation is mostly returned much sooner, and then nobody has to ask again.
  static constexpr env::Duration recall_patience = std::chrono::seconds(5);

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
