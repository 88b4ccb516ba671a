#include "nfs4/back_call.h"

#include <algorithm>

#include <spdlog/spdlog.h>

#include "base/mark.h"
#include "base/planted_bug.h"
#include "nfs4/service.h"
#include "state/database.h"

namespace perdure::nfs4 {

using client::BackSlotRow;
using client::ClientState;
using client::SessionRow;

using CallStep = BackCallRegisters::Step;

namespace {
constexpr env::Duration call_again_after = std::chrono::milliseconds(100);

// The first of the flavors that the client takes and that we have (RFC 8881 §18.36.3 on csa_sec_parms). They
// were checked when they came.
wire::Credential credential_for(Bytes security) {
  wire::XdrDecoder in(security);
  wire::Credential credential;
  const uint32_t count = in.get_count(16, 4);
  for (uint32_t i = 0; i < count && in.ok(); ++i) {
    credential.flavor = static_cast<wire::AuthFlavor>(in.get_u32());
    if (credential.flavor == wire::AuthFlavor::AUTH_NONE) break;
    if (credential.flavor != wire::AuthFlavor::AUTH_SYS) {
      in.get_u32();
      in.get_opaque(opaque_bytes_max);
      in.get_opaque(opaque_bytes_max);
      credential.flavor = wire::AuthFlavor::AUTH_NONE;
      continue;
    }
    in.get_u32();
    in.get_string(wire::auth_sys_machine_max);
    credential.uid = in.get_u32();
    credential.gid = in.get_u32();
    const uint32_t gids = in.get_count(wire::auth_sys_gids_max, 4);
    for (uint32_t g = 0; g < gids; ++g) credential.gids.push_back(in.get_u32());
    break;
  }
  return credential;
}

// Whom the call that has been chosen is for; nullopt: that is gone.
Outcome<std::optional<CallbackTarget>> find_target(ClientState& cs, state::Run& run, client::ClientId client,
                                                   const BackCallRegisters& registers) {
  using Target = std::optional<CallbackTarget>;
  if (registers.step == CallStep::choose) return Target();
  if (registers.session != client::SessionNumber(0)) {
    const SessionRow* session = TRY(cs.sessions.get(run, {registers.session}));
    if (session == nullptr) return Target();
    return Target(CallbackTarget{.program = session->callback_program,
                                 .minor_version = session->minor_version,
                                 .credential = credential_for(session->callback_security),
                                 .session = session->id});
  }
  const client::ClientRow* row = TRY(cs.clients.get(run, {client}));
  const auto place = row != nullptr ? parse_callback_place(row->callback) : std::nullopt;
  if (!place) return Target();
  return Target(
      CallbackTarget{.program = place->program,
                     .ident = place->ident,
                     .credential = {.flavor = wire::AuthFlavor::AUTH_SYS, .uid = 0, .gid = 0, .gids = {}}});
}

}  // namespace

BackCalls::~BackCalls() {
  for (const auto& [id, call] : calls_) service_.clients().env().cancel(call.timer);
}

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
    -> Outcome<std::optional<BackCallAnswer>> {
  ClientState& cs = service_.clients();
  Callbacks& callbacks = service_.callbacks();
  Call& call = calls_[run.transaction()];
  std::optional<BackCallAnswer> none;
  if (registers.step == CallStep::answered) return std::optional(BackCallAnswer());
  if (call.ended) {  // in this run: this is another call
    forget(run.transaction(), call);
    call = {};
  }
  std::optional<CallbackTarget> target = TRY(find_target(cs, run, client, registers));
  if (!target) {
    // What a sequence id waited for is of no use any more, and must not hold back a deadline. Nor must a slot
    // that is gone hold back others.
    call.assigned = Lsn(0);
    TRY(leave_slot(run, registers));
    registers.step = CallStep::choose;
    TRY(choose(run, client, registers, call));
    return none;
  }
  if (call.assigned != Lsn(0) && !cs.is_durable(call.assigned) &&
      !planted("a callback does not wait for the log"))
    return none;
  call.assigned = Lsn(0);
  if (callbacks.under_way(run.transaction())) {
    if (cs.env().now() - call.called_at < callback_patience(cs)) return none;
    PERDURE_MARK("a callback is not answered");
    callbacks.forget(run.transaction());
    path_failed(client, *call.called);
  }
  if (auto answer = callbacks.take_answer(run.transaction())) {
    const bool lost = answer->lost;
    auto ended = TRY(answered(run, client, registers, std::move(*answer)));
    if (ended || !lost) return ended;
  }
  if (cs.env().now() < call.not_before) return none;
  const std::optional<ClientState::BackPath> path = TRY(cs.back_path(run, client, registers.session));
  if (!path) {
    cs.wait_for_back_path(run, client);
    return none;
  }
  wire::XdrEncoder encoded;
  operation(encoded);
  call.called = path;
  call.called_at = cs.env().now();
  run.on_commit([this, id = run.transaction(), connection = wire::ConnectionId(path->connection.value),
                 to = std::move(*target), seqid = registers.seqid, bytes = encoded.flatten()] {
    service_.callbacks().send(id, connection, to, seqid, bytes);
    set_time(id, callback_patience(service_.clients()));
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
  uint32_t seqid = 0;
  if (path->session != client::SessionNumber(0)) {
    const BackSlotRow* old = TRY(cs.back_slots.get(run, {path->session}));
    BackSlotRow slot = old != nullptr ? *old : BackSlotRow{};
    if (slot.holder != TransactionId(0)) {
      std::vector<TransactionId>& waiters = slot_waiters_[path->session];
      if (std::ranges::find(waiters, run.transaction()) == waiters.end())
        waiters.push_back(run.transaction());
      return {};
    }
    slot.holder = run.transaction();
    seqid = ++slot.seqid;
    cs.back_slots.put(run, {path->session}, slot);
  }
  registers = {.step = CallStep::call, .session = path->session, .seqid = seqid};
  call.assigned = run.lsn();
  run.on_commit([this, id = run.transaction(), lsn = run.lsn()] {
    // Without a session, and so a sequence id, the run may have changed nothing.
    if (!service_.clients().is_logged(lsn)) {
      if (const auto it = calls_.find(id); it != calls_.end()) it->second.assigned = Lsn(0);
      return service_.processor().resume(id);
    }
    service_.clients().when_durable(lsn, [this, id, alive = std::weak_ptr(alive_)] {
      if (!alive.expired()) service_.processor().resume(id);
    });
  });
  return {};
}

// nullopt: it is to be made again. Of a lost one at once, over whatever connection there is.
auto BackCalls::answered(state::Run& run, client::ClientId client, BackCallRegisters& registers,
                         Callbacks::Answer answer) -> Outcome<std::optional<BackCallAnswer>> {
  using enum Nfsstat4;
  std::optional<BackCallAnswer> none;
  if (answer.lost) {
    PERDURE_MARK("a callback was lost");
    return none;
  }
  Call& call = calls_.at(run.transaction());
  const auto refused = [&] { call_again(run.transaction(), call); };
  if (answer.malformed) {
    refused();
    return none;
  }
  switch (answer.sequence) {
    case NFS4_OK:
      break;
    case NFS4ERR_RETRY_UNCACHED_REP:  // it was executed, and its answer is lost
      PERDURE_MARK("a client says that a callback had arrived");
      TRY(leave_slot(run, registers));
      registers.step = CallStep::answered;
      return std::optional(BackCallAnswer{.repeated = true});
    case NFS4ERR_DELAY:
      refused();
      return none;
    case NFS4ERR_SEQ_MISORDERED:  // an earlier call has never arrived, and was given up
      PERDURE_MARK("a callback's sequence id goes back");
      refused();
      TRY(leave_slot(run, registers, true));
      return none;
    default:
      spdlog::warn("client {:x} does not take callbacks: CB_SEQUENCE {}", client, name(answer.sequence));
      if (const auto path = TRY(service_.clients().back_path(run, client, registers.session)))
        path_failed(client, *path);
      refused();
      TRY(leave_slot(run, registers));
      return none;
  }
  TRY(leave_slot(run, registers));
  registers.step = CallStep::answered;
  return std::optional(BackCallAnswer{.status = answer.operation, .result = std::move(answer.result)});
}

void BackCalls::again(state::Run& run, BackCallRegisters& registers) {
  registers = {};
  call_again(run.transaction(), calls_[run.transaction()]);
}

// The client is called no sooner, whatever wakes the transaction meanwhile.
void BackCalls::call_again(TransactionId id, Call& call) {
  call.not_before = service_.clients().env().now() + call_again_after;
  set_time(id, call_again_after);
}

Outcome<void> BackCalls::end(state::Run& run, BackCallRegisters& registers) {
  TRY(leave_slot(run, registers));
  const auto here = calls_.find(run.transaction());
  if (here == calls_.end()) return {};
  here->second.ended = true;
  run.on_commit([this, id = run.transaction()] {
    const auto it = calls_.find(id);
    if (it == calls_.end() || !it->second.ended) return;
    forget(id, it->second);
    calls_.erase(it);
  });
  return {};
}

// Another callback may have it; and this one begins again, unless it has gone further. `back`: the next call
// is to have the sequence id before this one's.
Outcome<void> BackCalls::leave_slot(state::Run& run, BackCallRegisters& registers, bool back) {
  const client::SessionNumber session = registers.session;
  if (session == client::SessionNumber(0)) {
    registers = {};
    return {};
  }
  ClientState& cs = service_.clients();
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

void BackCalls::path_failed(client::ClientId client, const ClientState::BackPath& path) {
  if (path.session == client::SessionNumber(0))
    service_.callback_links().failed(client);
  else
    service_.clients().back_path_failed(path);
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

void BackCalls::forget(TransactionId id, const Call& call) {
  service_.clients().env().cancel(call.timer);
  service_.callbacks().forget(id);
}

// There is one timer for each call: what was to come before is of no use any more.
void BackCalls::set_time(TransactionId id, env::Duration duration) {
  env::Env& env = service_.clients().env();
  Call& call = calls_.at(id);
  env.cancel(call.timer);
  call.timer = env.after(duration, [this, id] { service_.processor().resume(id); });
}

}  // namespace perdure::nfs4
