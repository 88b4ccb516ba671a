// A transaction: the execution of one client request, or of one of the server's own jobs (freeing a removed
// file's blocks, expiring a client). A protocol implements it (nfs4/compound.h); the processor executes it.
//
// A transaction is a sequence of state machines. Its *machine* is the control and data values that fully
// define it between two runs. A transaction that reaches its end in one run leaves only its effects in the
// log. One that waits after it has changed something is a row of the `transactions` table, so that after a
// crash it is rebuilt from that row (Processor::restore) and goes on.
#pragma once

#include "base/ids.h"
#include "log/record.h"
#include "state/run.h"
#include "state/table.h"

namespace perdure::processor {

// Which factory rebuilds a machine. Part of the log's format.
enum class Kind : uint8_t {
  compound = 1,       // an NFSv4 COMPOUND (nfs4/)
  reclaim = 2,        // frees what a removal or truncation cut off (fs/)
  expire_client = 3,  // removes a dead client's sessions, opens and locks (client/)
  recall = 5,         // sees to the return of a delegation (nfs4/)
  lock_wait = 6,      // stands in line for a lock (nfs4/)
  async_copy = 7,     // copies without a client's waiting for it (nfs4/)
  unlogged = 4,       // nothing is lost if it ends with the process: each of its runs is complete in itself
};

enum class Progress : uint8_t {
  finished,  // the reply is complete (if there is one)
  waiting,   // registered with something that will call Processor::resume
  faulted,   // something is not in memory: it stands in the run's misses
};

class Transaction {
 public:
  Transaction(TransactionId id, Kind kind) : id_(id), kind_(kind) {}
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;
  virtual ~Transaction() = default;

  TransactionId id() const { return id_; }
  Kind kind() const { return kind_; }

  // One run: executes steps until the transaction ends, waits or faults. Calls run.end_step() after each step
  // but the last one, which the processor ends with control().
  virtual Progress execute(state::Run& run) = 0;
  // The control values of the last step.
  virtual log::ControlValues control() const = 0;
  // The run was abandoned: back to the registers and the reply as they were when it began.
  virtual void rewind() = 0;
  // The run was committed: the present registers are what rewind() goes back to from now on.
  virtual void keep() = 0;
  // The data values, for the `transactions` table. What the factory of kind() gets.
  virtual void encode_machine(Encoder& out) const = 0;
  // It has finished, and all that it did and saw is durable: the reply may leave. The last call.
  virtual void released() = 0;
  // While it waits: how many bytes it may still log, if others may depend on its going on (it holds
  // something, or has changed something already). 0: it may be kept from going on for as long as the log is
  // full.
  virtual uint64_t log_bytes_ahead() const { return 0; }
  // NFS client id, 0 if none.
  virtual uint64_t client() const { return 0; }

 private:
  friend class Processor;
  TransactionId id_;
  Kind kind_;
  bool logged_ = false;    // has a row in `transactions`
  bool resumed_ = false;   // resume() came before the run that waits had ended
  uint64_t reserved_ = 0;  // log_bytes_ahead() when it began to wait
  Lsn release_;            // what must be durable before the reply may leave, so far
  uint32_t fault_tick_ = 0;
  env::Instant since_{};
};

// A transaction in flight that has changed something: its machine.
struct TransactionRow {
  static constexpr state::TableId table = state::TableId::transaction;
  static constexpr state::Residence residence = state::Residence::resident;
  static constexpr const char* name = "transaction";
  struct Key {
    TransactionId transaction;
    auto operator<=>(const Key&) const = default;
    template <class Self, class V>
    static void fields(Self& k, V&& v) {
      v("transaction", k.transaction);
    }
  };
  Kind kind{};
  log::ControlValues control;
  ByteVector machine;
  template <class Self, class V>
  static void fields(Self& r, V&& v) {
    v("kind", r.kind), v("operation", r.control.operation), v("step", r.control.step),
        v("status", r.control.status);
    v("current", r.control.current), v("saved", r.control.saved), v("machine", r.machine);
  }
  size_t heap_bytes() const { return machine.capacity(); }
};

}  // namespace perdure::processor
