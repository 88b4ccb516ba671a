#include "nfs4/back_call.h"

#include <algorithm>

#include <spdlog/spdlog.h>

#include "base/mark.h"
#include "nfs4/service.h"
#include "state/database.h"

namespace perdure::nfs4 {

using client::BackSlotRow;
using client::ClientState;
using client::SessionRow;

using CallStep = BackCallRegisters::Step;

namespace {
constexpr env::Duration call_again_after = std::chrono::milliseconds(100);

// How long a client may take to answer a callback until its connection counts as broken: SEQUENCE then tells
// it to make a new one, before its time is over.
env::Duration patience(const client::ClientState& cs) {
  return std::chrono::milliseconds(cs.options().lease_seconds * 1000 / 8);
}
}  // namespace

bool BackCalls::was_made(TransactionId id) const {
  auto it = calls_.find(id);
  return it != calls_.end() && it->second.called;
}

bool BackCalls::waits_for_log(TransactionId id) const {
  auto it = calls_.find(id);
  return it != calls_.end() && it->second.assigned != Lsn(0);
}

// Whatever woke the transaction, this is what there is to do. It has the slot until the client has answered.
auto BackCalls::step(state::Run& run, client::ClientId client, BackCallRegisters& registers,
                     absl::FunctionRef<void(wire::XdrEncoder&)> operation)
    -> Outcome<std::optional<Nfsstat4>> {
  ClientState& cs = service_.clients();
  Callbacks& callbacks = service_.callbacks();
  Call& call = calls_[run.transaction()];
  const std::optional<Nfsstat4> none;
  if (registers.step == CallStep::answered) return std::optional(Nfsstat4::NFS4_OK);
  const SessionRow* session =
      registers.step == CallStep::choose ? nullptr : TRY(cs.sessions.get(run, {registers.session}));
  if (session == nullptr) {
    // What a sequence id waited for is of no use any more, and must not hold back a deadline. Nor must a slot
    // that is gone hold back others.
    call.assigned = Lsn(0);
    TRY(leave_slot(run, registers));
    registers.step = CallStep::choose;
    TRY(choose(run, client, registers, call));
    return none;
  }
  if (call.assigned != Lsn(0) && !cs.is_durable(call.assigned)) return none;
  call.assigned = Lsn(0);
  if (callbacks.under_way(run.transaction())) {
    if (cs.env().now() - call.called_at < patience(cs)) return none;
    PERDURE_MARK("a callback is not answered");
    callbacks.forget(run.transaction());
    cs.back_path_failed(*call.called);
  }
  if (const auto answer = callbacks.take_answer(run.transaction())) {
    const auto status = TRY(answered(run, client, registers, *answer));
    if (status || !answer->lost) return status;
  }
  const std::optional<ClientState::BackPath> path = TRY(cs.back_path(run, client, registers.session));
  if (!path) {
    cs.wait_for_back_path(run, client);
    return none;
  }
  wire::XdrEncoder encoded;
  operation(encoded);
  call.called = path;
  call.called_at = cs.env().now();
  run.on_commit([this, id = run.transaction(), path = *path, row = *session, seqid = registers.seqid,
                 bytes = encoded.flatten()] {
    service_.callbacks().send(id, path, row, seqid, bytes);
    resume_later(id, patience(service_.clients()));
  });
  return none;
}

Outcome<void> BackCalls::choose(state::Run& run, client::ClientId client, BackCallRegisters& registers,
                                Call& call) {
  ClientState& cs = service_.clients();
  const std::optional<ClientState::BackPath> path = TRY(cs.back_path(run, client));
  if (!path) {
    PERDURE_MARK("a callback waits for a way to its client");
    cs.wait_for_back_path(run, client);
    return {};
  }
  const BackSlotRow* old = TRY(cs.back_slots.get(run, {path->session}));
  BackSlotRow slot = old != nullptr ? *old : BackSlotRow{};
  if (slot.holder != TransactionId(0)) {
    std::vector<TransactionId>& waiters = slot_waiters_[path->session];
    if (std::ranges::find(waiters, run.transaction()) == waiters.end()) waiters.push_back(run.transaction());
    return {};
  }
  slot.holder = run.transaction();
  ++slot.seqid;
  cs.back_slots.put(run, {path->session}, slot);
  registers = {.step = CallStep::call, .session = path->session, .seqid = slot.seqid};
  call.assigned = run.lsn();
  run.on_commit([this, id = run.transaction(), lsn = run.lsn()] {
    service_.clients().when_durable(lsn, [this, id, alive = std::weak_ptr(alive_)] {
      if (!alive.expired()) service_.processor().resume(id);
    });
  });
  return {};
}

// nullopt: it is to be made again. Of a lost one at once, over whatever connection there is.
auto BackCalls::answered(state::Run& run, client::ClientId client, BackCallRegisters& registers,
                         const Callbacks::Answer& answer) -> Outcome<std::optional<Nfsstat4>> {
  using enum Nfsstat4;
  const std::optional<Nfsstat4> none;
  if (answer.lost) {
    PERDURE_MARK("a callback was lost");
    return none;
  }
  const auto call_again = [&] { resume_later(run.transaction(), call_again_after); };
  if (answer.malformed) {
    call_again();
    return none;
  }
  switch (answer.sequence) {
    case NFS4_OK:
      break;
    case NFS4ERR_RETRY_UNCACHED_REP:  // it was executed, and its answer is lost
      PERDURE_MARK("a client says that a callback had arrived");
      TRY(leave_slot(run, registers));
      registers.step = CallStep::answered;
      return std::optional(NFS4_OK);
    case NFS4ERR_DELAY:
      call_again();
      return none;
    case NFS4ERR_SEQ_MISORDERED:  // an earlier call has never arrived, and was given up
      PERDURE_MARK("a callback's sequence id goes back");
      call_again();
      TRY(leave_slot(run, registers, true));
      return none;
    default:
      spdlog::warn("client {:x} does not take callbacks: CB_SEQUENCE {}", client, name(answer.sequence));
      if (const auto path = TRY(service_.clients().back_path(run, client, registers.session)))
        service_.clients().back_path_failed(*path);
      call_again();
      TRY(leave_slot(run, registers));
      return none;
  }
  TRY(leave_slot(run, registers));
  registers.step = CallStep::answered;
  return std::optional(answer.operation);
}

void BackCalls::again(state::Run& run, BackCallRegisters& registers) {
  registers = {};
  resume_later(run.transaction(), call_again_after);
}

Outcome<void> BackCalls::end(state::Run& run, BackCallRegisters& registers) {
  TRY(leave_slot(run, registers));
  run.on_commit([this, id = run.transaction()] {
    calls_.erase(id);
    service_.callbacks().forget(id);
  });
  return {};
}

// Another callback may have it; and this one begins again, unless it has gone further. `back`: the next call
// is to have the sequence id before this one's.
Outcome<void> BackCalls::leave_slot(state::Run& run, BackCallRegisters& registers, bool back) {
  if (registers.session == client::SessionNumber(0)) return {};
  ClientState& cs = service_.clients();
  const client::SessionNumber session = registers.session;
  const BackSlotRow* old = TRY(cs.back_slots.get(run, {session}));
  if (old != nullptr && old->holder == run.transaction()) {
    BackSlotRow slot = *old;
    slot.holder = TransactionId(0);
    if (back) slot.seqid = registers.seqid - 2;
    cs.back_slots.put(run, {session}, slot);
    wake_slot_waiters(run, session);
  } else if (old == nullptr) {
    wake_slot_waiters(run, session);  // with its session
  }
  registers = {};
  return {};
}

void BackCalls::wake_slot_waiters(state::Run& run, client::SessionNumber session) {
  run.on_commit([this, session] {
    auto it = slot_waiters_.find(session);
    if (it == slot_waiters_.end()) return;
    const std::vector<TransactionId> waiting = std::move(it->second);
    slot_waiters_.erase(it);
    for (const TransactionId id : waiting) service_.processor().resume(id);
  });
}

void BackCalls::resume_later(TransactionId id, env::Duration later) {
  service_.clients().env().after(later, [this, id, alive = std::weak_ptr(alive_)] {
    if (!alive.expired()) service_.processor().resume(id);
  });
}

}  // namespace perdure::nfs4
