// Waiting for a lock (RFC 8881 §9.6, §18.10.3), as a transaction: it begins in the record of the run that
// denies a LOCK that would wait, and stands in line (client/lock_queue.h). When it is its turn it tells the
// client so (CB_NOTIFY_LOCK, §20.11), keeps the place for a moment, and ends when the client has the lock,
// has not come in time, or is gone. After a crash it goes on in its old place.
#pragma once

#include <absl/container/btree_map.h>

#include "client/lock.h"
#include "nfs4/back_call.h"

namespace perdure::nfs4 {

struct LockWaitRegisters {
  enum class Step : uint8_t {
    waits,   // somebody else has the lock, or his turn
    calls,   // it is free: the client is being told
    called,  // the client knows, and is to ask again
  };
  client::WantedLock wanted;
  Step step = Step::waits;
  BackCallRegisters call;
  template <class Self, class V>
  static void fields(Self& r, V&& v) {
    v("wanted", r.wanted), v("step", r.step), v("call", r.call);
  }
};

// What only the running process knows of them. Thread: the vserver's loop.
class LockWaits {
 public:
  explicit LockWaits(Service& service) : service_(service) {}
  ~LockWaits();

  // One run of the transaction. True: it has ended. Otherwise it waits.
  Outcome<bool> step(state::Run& run, LockWaitRegisters& registers);

 private:
  struct Time {
    env::Instant ends;
    env::TimerId timer{};
  };
  Outcome<bool> end(state::Run& run, LockWaitRegisters& registers);
  void set_time(TransactionId id, env::Duration duration);
  bool time_is_up(TransactionId id);

  Service& service_;
  absl::btree_map<TransactionId, Time> times_;  // of the step that each is in
};

}  // namespace perdure::nfs4
