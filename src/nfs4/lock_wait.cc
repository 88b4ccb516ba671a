#include "nfs4/lock_wait.h"

#include "base/mark.h"
#include "nfs4/results.h"
#include "nfs4/service.h"

namespace perdure::nfs4 {

using client::ClientState;
using client::LockQueues;
using Step = LockWaitRegisters::Step;

namespace {
// How long others wait for one whose turn it is.
constexpr env::Duration turn = std::chrono::seconds(5);
}  // namespace

LockWaits::~LockWaits() {
  for (const auto& [id, turn] : turns_) service_.clients().env().cancel(turn.timer);
}

Outcome<bool> LockWaits::step(state::Run& run, LockWaitRegisters& registers) {
  ClientState& cs = service_.clients();
  BackCalls& calls = service_.back_calls();
  const client::WantedLock& wanted = registers.wanted;
  const TransactionId id = run.transaction();
  LockQueues::Waiter& waiter = cs.lock_queues().add(id, wanted);

  if (TRY(cs.clients.get(run, {wanted.client})) == nullptr || !cs.has_open(wanted.client, wanted.inode) ||
      TRY(client::has_lock(cs, run, wanted)))
    return end(run, registers);
  const bool reachable = TRY(cs.back_path(run, wanted.client)).has_value();
  if (const auto mine = turns_.find(id);
      mine != turns_.end() && cs.env().now() >= mine->second.ends && !calls.waits_for_log(id)) {
    if (registers.step == Step::called || reachable) {
      PERDURE_MARK("a client does not come for its lock");
      return end(run, registers);
    }
    TRY(calls.end(run, registers.call));
    registers.step = Step::waits;
  }

  if (registers.step == Step::called && waiter.asked) registers.step = Step::waits;
  if (registers.step == Step::waits) {
    const auto conflict =
        TRY(client::lockt(cs, run,
                          {.client = wanted.client,
                           .inode = wanted.inode,
                           .type = wanted.write ? client::LockType::write : client::LockType::read,
                           .range = wanted.range,
                           .owner = wanted.owner}));
    // Whom nobody can tell keeps the place, but nobody waits for him.
    if (!reachable) cs.wait_for_back_path(run, wanted.client);
    const bool free = reachable && !conflict && cs.lock_queues().called_before(wanted) == nullptr;
    run.on_commit([this, &cs, id, inode = wanted.inode, free] {
      LockQueues::Waiter& w = *cs.lock_queues().find(inode, id);
      w.asked = false;
      if (std::exchange(w.called, free) && !free) cs.locks_freed(inode);
      if (!free) end_turn(id);
    });
    if (!free) return Stop::wait();
    registers.step = Step::calls;
    registers.call = {};
    begin_turn(id);
  } else if (!turns_.contains(id)) {
    waiter.called = true;  // as before a restart
    begin_turn(id);
  }
  if (registers.step == Step::calls) {
    const std::optional<Nfsstat4> answer =
        TRY(calls.step(run, wanted.client, registers.call, [&](wire::XdrEncoder& out) {
          out.put_u32(static_cast<uint32_t>(CallbackOp::OP_CB_NOTIFY_LOCK));
          put_file_handle(out, {wanted.inode}, *service_.volume_of(wanted.inode));
          out.put_u64(wanted.client.value);
          out.put_opaque(wanted.owner);
        }));
    if (answer && *answer != Nfsstat4::NFS4_OK) return end(run, registers);  // it will ask of its own accord
    if (answer) {
      registers.step = Step::called;
      if (waiter.asked) service_.processor().resume(id);
    }
  }
  return Stop::wait();
}

Outcome<bool> LockWaits::end(state::Run& run, LockWaitRegisters& registers) {
  TRY(service_.back_calls().end(run, registers.call));
  run.on_commit([this, id = run.transaction(), inode = registers.wanted.inode] {
    end_turn(id);
    service_.clients().lock_queues().remove(inode, id);
    service_.clients().locks_freed(inode);
  });
  return true;
}

void LockWaits::begin_turn(TransactionId id) {
  ClientState& cs = service_.clients();
  end_turn(id);
  turns_[id] = {.ends = cs.env().now() + turn,
                .timer = cs.env().after(turn, [this, id] { service_.processor().resume(id); })};
}

void LockWaits::end_turn(TransactionId id) {
  auto it = turns_.find(id);
  if (it == turns_.end()) return;
  service_.clients().env().cancel(it->second.timer);
  turns_.erase(it);
}

}  // namespace perdure::nfs4
