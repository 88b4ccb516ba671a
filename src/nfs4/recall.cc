#include "nfs4/recall.h"

#include <spdlog/spdlog.h>

#include "base/planted_bug.h"
#include "nfs4/results.h"
#include "nfs4/service.h"

namespace perdure::nfs4 {

using client::ClientState;
using client::DelegationRow;

namespace {

env::Duration lease_of(const ClientState& cs) {
  return std::chrono::seconds(cs.options().lease_seconds);
}

}  // namespace

Recalls::~Recalls() {
  for (const auto& [id, recall] : recalls_) service_.clients().env().cancel(recall.timer);
}

Outcome<bool> Recalls::step(state::Run& run, RecallRegisters& registers) {
  ClientState& cs = service_.clients();
  BackCalls& calls = service_.back_calls();
  const client::StateKey key{registers.inode, registers.number};
  const DelegationRow* row = TRY(cs.delegations.get(run, key));
  const bool over = row == nullptr || row->revoked || TRY(cs.clients.get(run, {registers.client})) == nullptr;
  Recall& recall = begin(run.transaction(), registers);
  // A slow log of ours takes nothing from the client's time.
  const env::Instant now = cs.env().now();
  const env::Duration passed = now - std::exchange(recall.looked_at, now);
  if (calls.waits_for_log(run.transaction()))
    set_deadline(run.transaction(), recall, recall.deadline + passed);
  const bool late = now >= recall.deadline;
  if (!over && late) {
    spdlog::warn("client {:x} has not returned its delegation of inode {} in time: it is revoked",
                 registers.client, registers.inode);
    TRY(client::revoke_delegation(cs, run, key, *row));
  }
  if (over || late) {
    TRY(calls.end(run, registers.call));
    run.on_commit([this, id = run.transaction()] { end(id); });
    return true;
  }
  const bool was_made = calls.was_made(run.transaction());
  const std::optional<BackCallAnswer> answer =
      TRY(calls.step(run, registers.client, registers.call, [&](wire::XdrEncoder& out) {
        out.put_u32(static_cast<uint32_t>(CallbackOp::OP_CB_RECALL));
        put_stateid(out, {1, registers.inode, registers.number});
        out.put_bool(false);  // truncate
        put_file_handle(out, {registers.inode}, *service_.volume_of(registers.inode));
      }));
  if (!was_made && calls.was_made(run.transaction()))
    set_deadline(run.transaction(), recall, now + lease_of(cs));
  // It may not know the delegation yet, while its OPEN's answer is still on the way to it. And what was
  // executed under this sequence id may have been another call, which was given up.
  if (answer && (answer->status != Nfsstat4::NFS4_OK || answer->repeated)) calls.again(run, registers.call);
  // For the delegation's end, or the deadline.
  cs.wait_for_delegations(run, registers.inode);
  return Stop::wait();
}

auto Recalls::begin(TransactionId id, const RecallRegisters& registers) -> Recall& {
  auto [it, fresh] = recalls_.try_emplace(id);
  ClientState& cs = service_.clients();
  if (fresh) it->second.looked_at = cs.env().now();
  if (fresh) set_deadline(id, it->second, cs.env().now() + lease_of(cs));
  const bool goes_on = fresh && registers.call.step != BackCallRegisters::Step::choose;
  if (goes_on && planted("a recall's time does not begin anew")) it->second.deadline = {};
  return it->second;
}

void Recalls::set_deadline(TransactionId id, Recall& recall, env::Instant deadline) {
  env::Env& env = service_.clients().env();
  env.cancel(recall.timer);
  recall.deadline = deadline;
  recall.timer = env.after(std::max(deadline - env.now(), env::Duration(0)),
                           [this, id] { service_.processor().resume(id); });
}

void Recalls::end(TransactionId id) {
  auto it = recalls_.find(id);
  if (it == recalls_.end()) return;
  service_.clients().env().cancel(it->second.timer);
  recalls_.erase(it);
}

}  // namespace perdure::nfs4
