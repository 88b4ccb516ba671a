#include "nfs4/recall.h"

#include <spdlog/spdlog.h>

#include "base/mark.h"
#include "nfs4/results.h"
#include "nfs4/service.h"
#include "state/database.h"

namespace perdure::nfs4 {

using client::BackSlotRow;
using client::ClientState;
using client::DelegationRow;
using client::SessionRow;
using Step = RecallRegisters::Step;

namespace {
constexpr env::Duration call_again_after = std::chrono::milliseconds(100);

// How long a client may take to answer a callback until its connection counts as broken: SEQUENCE then tells
// it to make a new one, before its time is over.
env::Duration patience(const client::ClientState& cs) {
  return std::chrono::milliseconds(cs.options().lease_seconds * 1000 / 8);
}
}  // namespace

Recalls::~Recalls() {
  for (const auto& [id, recall] : recalls_) service_.clients().env().cancel(recall.timer);
}

Outcome<bool> Recalls::step(state::Run& run, RecallRegisters& registers) {
  ClientState& cs = service_.clients();
  const client::StateKey key{registers.inode, registers.number};
  const DelegationRow* row = TRY(cs.delegations.get(run, key));
  const bool over = row == nullptr || row->revoked || TRY(cs.clients.get(run, {registers.client})) == nullptr;
  Recall& recall = begin(run.transaction());
  // A slow log of ours takes nothing from the client's time.
  const bool late = cs.env().now() >= recall.deadline && recall.assigned == Lsn(0);
  if (!over && late) {
    spdlog::warn("client {:x} has not returned its delegation of inode {} in time: it is revoked",
                 registers.client, registers.inode);
    TRY(client::revoke_delegation(cs, run, key, *row));
  }
  if (over || late) {
    TRY(leave_slot(run, registers));
    run.on_commit([this, id = run.transaction()] { end(id); });
    return true;
  }
  switch (registers.step) {
    case Step::choose:
      return choose(run, registers, recall);
    case Step::call:
      return call(run, registers, recall);
    case Step::waiting:
      return wait(run, registers);
  }
  CHECK(false);
}

auto Recalls::begin(TransactionId id) -> Recall& {
  auto [it, fresh] = recalls_.try_emplace(id);
  if (fresh) give_time(id, it->second);
  return it->second;
}

void Recalls::give_time(TransactionId id, Recall& recall) {
  ClientState& cs = service_.clients();
  const env::Duration lease = std::chrono::seconds(cs.options().lease_seconds);
  cs.env().cancel(recall.timer);
  recall.deadline = cs.env().now() + lease;
  recall.timer = cs.env().after(lease, [this, id] { service_.processor().resume(id); });
}

void Recalls::end(TransactionId id) {
  auto it = recalls_.find(id);
  if (it == recalls_.end()) return;
  service_.clients().env().cancel(it->second.timer);
  recalls_.erase(it);
  service_.callbacks().forget(id);
}

// For the delegation's end, or the deadline.
Outcome<bool> Recalls::wait(state::Run& run, const RecallRegisters& registers) {
  service_.clients().wait_for_delegations(run, registers.inode);
  return Stop::wait();
}

Outcome<bool> Recalls::choose(state::Run& run, RecallRegisters& registers, Recall& recall) {
  ClientState& cs = service_.clients();
  const std::optional<ClientState::BackPath> path = TRY(cs.back_path(run, registers.client));
  if (!path) {
    PERDURE_MARK("a recall waits for a way to its client");
    cs.wait_for_back_path(run, registers.client);
    return wait(run, registers);
  }
  const BackSlotRow* old = TRY(cs.back_slots.get(run, {path->session}));
  BackSlotRow slot = old != nullptr ? *old : BackSlotRow{};
  if (slot.holder != TransactionId(0)) {
    slot_waiters_[path->session].push_back(run.transaction());
    return wait(run, registers);
  }
  slot.holder = run.transaction();
  ++slot.seqid;
  cs.back_slots.put(run, {path->session}, slot);
  registers.step = Step::call;
  registers.session = path->session;
  registers.seqid = slot.seqid;
  recall.assigned = run.lsn();
  run.on_commit([this, id = run.transaction(), lsn = run.lsn()] {
    service_.clients().when_durable(lsn, [this, id, alive = std::weak_ptr(alive_)] {
      if (!alive.expired()) service_.processor().resume(id);
    });
  });
  return wait(run, registers);
}

// Whatever woke it, this is what there is to do. It has the slot until the client has answered.
Outcome<bool> Recalls::call(state::Run& run, RecallRegisters& registers, Recall& recall) {
  ClientState& cs = service_.clients();
  Callbacks& callbacks = service_.callbacks();
  const SessionRow* session = TRY(cs.sessions.get(run, {registers.session}));
  if (session == nullptr) {
    // What its sequence id waited for is of no use any more, and must not hold back the deadline.
    recall.assigned = Lsn(0);
    registers.step = Step::choose;
    return choose(run, registers, recall);
  }
  if (recall.assigned != Lsn(0) && !cs.is_durable(recall.assigned)) return wait(run, registers);
  recall.assigned = Lsn(0);
  if (callbacks.under_way(run.transaction())) {
    if (cs.env().now() - recall.called_at < patience(cs)) return wait(run, registers);
    PERDURE_MARK("a callback is not answered");
    callbacks.forget(run.transaction());
    cs.back_path_failed(*recall.called);
  }
  if (const auto answer = callbacks.take_answer(run.transaction())) {
    bool call_again = false;
    TRY(answered(run, registers, *answer, call_again));
    if (call_again) resume_later(run.transaction(), call_again_after);
    if (registers.step != Step::call || call_again) return wait(run, registers);
  }
  const std::optional<ClientState::BackPath> path =
      TRY(cs.back_path(run, registers.client, registers.session));
  if (!path) {
    cs.wait_for_back_path(run, registers.client);
    return wait(run, registers);
  }
  wire::XdrEncoder operation;
  operation.put_u32(static_cast<uint32_t>(CallbackOp::OP_CB_RECALL));
  put_stateid(operation, {1, registers.inode, registers.number});
  operation.put_bool(false);  // truncate
  put_file_handle(operation, {registers.inode}, *service_.volume_of(registers.inode));
  if (!recall.called) give_time(run.transaction(), recall);
  recall.called = path;
  recall.called_at = cs.env().now();
  run.on_commit([this, id = run.transaction(), path = *path, row = *session, seqid = registers.seqid,
                 bytes = operation.flatten()] {
    service_.callbacks().send(id, path, row, seqid, bytes);
    resume_later(id, patience(service_.clients()));
  });
  return wait(run, registers);
}

Outcome<void> Recalls::answered(state::Run& run, RecallRegisters& registers, const Callbacks::Answer& answer,
                                bool& call_again) {
  using enum Nfsstat4;
  if (answer.lost) {
    PERDURE_MARK("a callback was lost");
    return {};  // the same again, over whatever connection there is
  }
  if (answer.malformed) {
    call_again = true;
    return {};
  }
  switch (answer.sequence) {
    case NFS4_OK:
      break;
    case NFS4ERR_RETRY_UNCACHED_REP:  // it was executed, and its answer is lost
      PERDURE_MARK("a client says that a callback had arrived");
      registers.step = Step::waiting;
      return leave_slot(run, registers);
    case NFS4ERR_DELAY:
      call_again = true;
      return {};
    case NFS4ERR_SEQ_MISORDERED:  // an earlier call has never arrived, and was given up
      PERDURE_MARK("a callback's sequence id goes back");
      call_again = true;
      return leave_slot(run, registers, true);
    default:
      spdlog::warn("client {:x} does not take callbacks: CB_SEQUENCE {}", registers.client,
                   name(answer.sequence));
      if (const auto path = TRY(service_.clients().back_path(run, registers.client, registers.session)))
        service_.clients().back_path_failed(*path);
      return leave_slot(run, registers);
  }
  TRY(leave_slot(run, registers));
  // It may not know the delegation yet, while its OPEN's answer is still on the way to it.
  if (answer.operation == NFS4_OK)
    registers.step = Step::waiting;
  else
    call_again = true;
  return {};
}

// Another callback may have it; and this one begins again, unless it has gone further. `back`: the next call
// is to have the sequence id before this one's.
Outcome<void> Recalls::leave_slot(state::Run& run, RecallRegisters& registers, bool back) {
  if (registers.session == client::SessionNumber(0)) return {};
  ClientState& cs = service_.clients();
  const client::SessionNumber session = registers.session;
  const BackSlotRow* old = TRY(cs.back_slots.get(run, {session}));
  if (old != nullptr && old->holder == run.transaction()) {
    BackSlotRow slot = *old;
    slot.holder = TransactionId(0);
    if (back) slot.seqid = registers.seqid - 2;
    cs.back_slots.put(run, {session}, slot);
    run.on_commit([this, session] {
      auto it = slot_waiters_.find(session);
      if (it == slot_waiters_.end()) return;
      const std::vector<TransactionId> waiting = std::move(it->second);
      slot_waiters_.erase(it);
      for (const TransactionId id : waiting) service_.processor().resume(id);
    });
  }
  registers.session = {};
  if (registers.step == Step::call) registers.step = Step::choose;
  return {};
}

void Recalls::resume_later(TransactionId id, env::Duration later) {
  service_.clients().env().after(later, [this, id, alive = std::weak_ptr(alive_)] {
    if (!alive.expired()) service_.processor().resume(id);
  });
}

}  // namespace perdure::nfs4
