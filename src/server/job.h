// A job: one of the server's own transactions, driven by a step function of fs/ or client/ over plain
// registers.
//
// The step function executes one bounded run. It returns true when the job has finished, false when there is
// more to do (the job goes on in the loop's next turn, so that no request waits behind it), a fault like
// every other code in a run, or a wait if it has arranged for Processor::resume. A job that changes rows in
// more than one run is logged with its registers, and goes on after a crash.
#pragma once

#include <functional>
#include <memory>

#include "processor/processor.h"
#include "state/codec.h"

namespace perdure::server {

// Numbers of the server's own operations in control values, behind those of NFS.
enum class InternalOperation : uint16_t {
  reclaim = 2001,
  expire_client = 2002,
  write_back = 2003,
  free_blocks = 2004,
  make_volume = 2005,
  begin_epoch = 2006,
  recall = 2007,
  set_exports = 2008,
  lock_wait = 2009,
  async_copy = 2010
};

template <class Registers>
class Job final : public processor::Transaction {
 public:
  using Step = std::function<Outcome<bool>(state::Run&, Registers&)>;
  using Ended = std::move_only_function<void(Status)>;

  Job(processor::Processor& processor, TransactionId id, processor::Kind kind, InternalOperation operation,
      Registers registers, Step step, Ended ended = nullptr)
      : Transaction(id, kind),
        processor_(processor),
        operation_(operation),
        registers_(registers),
        kept_(std::move(registers)),
        step_(std::move(step)),
        ended_(std::move(ended)) {}

  processor::Progress execute(state::Run& run) override {
    ++runs_;
    const state::Savepoint savepoint = run.savepoint();
    const Outcome<bool> finished = step_(run, registers_);
    if (!finished && finished.error().is_fault()) return processor::Progress::faulted;
    if (!finished && finished.error().is_wait()) return processor::Progress::waiting;
    if (!finished) {
      run.rollback(savepoint);
      status_ = finished.error().status();
      return processor::Progress::finished;
    }
    if (*finished) return processor::Progress::finished;
    processor_.resume(id());
    return processor::Progress::waiting;
  }
  log::ControlValues control() const override {
    return {.operation = static_cast<uint16_t>(operation_),
            .step = static_cast<uint16_t>(std::min<uint32_t>(runs_, UINT16_MAX)),
            .status = 0,
            .current = {},
            .saved = {}};
  }
  void rewind() override { registers_ = kept_; }
  void keep() override { kept_ = registers_; }
  void encode_machine(Encoder& out) const override { state::encode(out, registers_); }
  void released() override {
    if (ended_) ended_(status_);
  }

 private:
  processor::Processor& processor_;
  InternalOperation operation_;
  Registers registers_, kept_;
  Step step_;
  Ended ended_;
  Status status_ = Status::ok;
  uint32_t runs_ = 0;
};

}  // namespace perdure::server
