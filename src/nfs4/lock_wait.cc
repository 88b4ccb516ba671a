#include "nfs4/lock_wait.h"

#include "base/mark.h"
#include "nfs4/results.h"
#include "nfs4/service.h"

namespace perdure::nfs4 {

using client::ClientState;
using client::LockQueues;
using WaitStep = LockWaitRegisters::Step;

namespace {
// How long others wait for one who was told that it is his turn.
constexpr env::Duration turn = std::chrono::seconds(5);
}  // namespace

LockWaits::~LockWaits() {
  for (const auto& [id, time] : times_) service_.clients().env().cancel(time.timer);
}

Outcome<bool> LockWaits::step(state::Run& run, LockWaitRegisters& registers) {
  ClientState& cs = service_.clients();
  BackCalls& calls = service_.back_calls();
  const client::WantedLock& wanted = registers.wanted;
  const TransactionId id = run.transaction();
  const env::Duration lease = std::chrono::seconds(cs.options().lease_seconds);
  LockQueues::Waiter& waiter = cs.lock_queues().add(id, wanted);

  if (TRY(cs.clients.get(run, {wanted.client})) == nullptr || !cs.has_open(wanted.client, wanted.inode) ||
      TRY(client::has_lock(cs, run, wanted)))
    return end(run, registers);
  const bool reachable =
      TRY(cs.back_path(run, wanted.client)).has_value() && !cs.lease_has_ended(wanted.client);
  if (registers.step != WaitStep::waits) {
    const bool late = time_is_up(id);
    // Whom nobody can tell, and who has come and was denied, keeps the place.
    if ((registers.step == WaitStep::calls && !reachable) ||
        (waiter.asked && (registers.step == WaitStep::called || late))) {
      TRY(calls.end(run, registers.call));
      registers.step = WaitStep::waits;
    } else if (late) {
      PERDURE_MARK("a client does not come for its lock");
      return end(run, registers);
    }
  }

  if (registers.step == WaitStep::waits) {
    const auto conflict =
        TRY(client::lockt(cs, run,
                          {.client = wanted.client,
                           .inode = wanted.inode,
                           .type = wanted.write ? client::LockType::write : client::LockType::read,
                           .range = wanted.range,
                           .owner = wanted.owner}));
    if (!reachable) cs.wait_for_back_path(run, wanted.client);
    const bool free = reachable && !conflict && cs.lock_queues().called_before(wanted) == nullptr;
    run.on_commit([&cs, id, inode = wanted.inode, free] {
      LockQueues::Waiter& w = *cs.lock_queues().find(inode, id);
      w.asked = false;
      if (std::exchange(w.called, free) && !free) cs.locks_freed(inode);
    });
    // Whoever is in the way may lose it without a word: when his lease has ended (ClientState::gives_way).
    set_time(id, free ? lease / 4 : lease);
    if (!free) return Stop::wait();
    registers.step = WaitStep::calls;
    registers.call = {};
  } else if (!times_.contains(id)) {
    waiter.called = true;  // as before a restart
    set_time(id, registers.step == WaitStep::calls ? lease / 4 : turn);
  }
  if (registers.step == WaitStep::calls) {
    const std::optional<BackCallAnswer> answer =
        TRY(calls.step(run, wanted.client, registers.call, [&](wire::XdrEncoder& out) {
          out.put_u32(static_cast<uint32_t>(CallbackOp::OP_CB_NOTIFY_LOCK));
          put_file_handle(out, {wanted.inode}, *service_.volume_of(wanted.inode));
          out.put_u64(wanted.client.value);
          out.put_opaque(wanted.owner);
        }));
    if (!answer) return Stop::wait();
    if (answer->status == Nfsstat4::NFS4ERR_DELAY) {
      calls.again(run, registers.call);
      return Stop::wait();
    }
    if (answer->status != Nfsstat4::NFS4_OK) return end(run, registers);  // it will ask of its own accord
    registers.step = WaitStep::called;
    set_time(id, turn);
    if (waiter.asked) service_.processor().resume(id);
  }
  return Stop::wait();
}

Outcome<bool> LockWaits::end(state::Run& run, LockWaitRegisters& registers) {
  TRY(service_.back_calls().end(run, registers.call));
  run.on_commit([this, id = run.transaction(), inode = registers.wanted.inode] {
    auto it = times_.find(id);
    if (it != times_.end()) {
      service_.clients().env().cancel(it->second.timer);
      times_.erase(it);
    }
    service_.clients().lock_queues().remove(inode, id);
    service_.clients().locks_freed(inode);
  });
  return true;
}

void LockWaits::set_time(TransactionId id, env::Duration duration) {
  env::Env& env = service_.clients().env();
  Time& time = times_[id];
  env.cancel(time.timer);
  time = {.ends = env.now() + duration,
          .timer = env.after(duration, [this, id] { service_.processor().resume(id); })};
}

// Not while what the client has asked for may wait in here.
bool LockWaits::time_is_up(TransactionId id) {
  auto it = times_.find(id);
  if (it == times_.end() || service_.clients().env().now() < it->second.ends) return false;
  if (!service_.processor().requests_wait() && !service_.back_calls().waits_for_log(id)) return true;
  set_time(id, std::chrono::seconds(1));
  return false;
}

}  // namespace perdure::nfs4
