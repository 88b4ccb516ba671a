#include "client/sequence.h"

#include "base/mark.h"
#include "base/planted_bug.h"

namespace perdure::client {

namespace {

constexpr size_t followers_max = 4;

// RFC 8881 §2.10.6.1, and the one jump after a restoration (DESIGN.md §10 rule 14).
// Deviation: RFC 8881 §2.10.6.1 allows only the next seqid. A restored slot may lag behind its client by
// requests that changed nothing.
bool is_new(const SlotTwin& slot, uint32_t seqid) {
  const uint32_t ahead = seqid - slot.seqid;
  if (planted("a slot takes any sequence id")) return true;
  if (slot.may_jump && ahead > 1) PERDURE_MARK("a restored slot jumps forwards");
  return ahead == 1 || (slot.may_jump && ahead > 1 && ahead < (uint32_t{1} << 31U));
}

uint32_t status_flags(const SessionRow& session, const SessionTwin& twin, const ClientTwin& client) {
  const uint32_t revoked = client.revoked != 0 ? seq4_status_recallable_state_revoked : 0;
  // An open may be delegated, and locked, and then somebody may have to be told something of it.
  const bool may_be_called =
      client.delegations != client.revoked || client.opens != 0 || client.async_copies != 0;
  if (!may_be_called || !session.back_channel) return revoked;
  for (const SessionTwin::Connection& c : twin.connections)
    if (c.back) return revoked;
  if (client.sessions == 1) return revoked | seq4_status_cb_path_down | seq4_status_cb_path_down_session;
  return revoked | seq4_status_cb_path_down_session;
}

}  // namespace

Outcome<Sequenced> sequence(ClientState& cs, Run& run, const SequenceArgs& args) {
  const auto [number, row] = TRY(cs.find_session(run, args.session));
  SessionTwin& session = *cs.session_twin(number);
  ClientTwin& client = *cs.client_twin(row->client);
  if (args.slot >= session.slots.size()) return Status::bad_slot;
  SlotTwin& slot = session.slots[args.slot];
  const bool in_flight = slot.in_flight != TransactionId(0);

  Sequenced result{.replay = {},
                   .slot = {number, args.slot, args.seqid, args.checksum},
                   .client = row->client,
                   .fore = row->fore,
                   .highest_slot = static_cast<uint32_t>(session.slots.size() - 1),
                   .target_highest_slot = cs.slots_wanted(session) - 1};
  // Its run was abandoned, and executes again.
  const bool again = in_flight && slot.in_flight == run.transaction();
  if (!again && slot.used && args.seqid == slot.seqid) {
    if (args.checksum != slot.checksum) return Status::seq_false_retry;
    ++cs.replays;
    if (in_flight) {
      if (slot.followers.size() == followers_max) {
        PERDURE_MARK("too many retransmissions wait");
        return Status::delay;
      }
      if (planted("a retransmission is executed beside its original")) {
        result.slot = {};
        return result;
      }
      PERDURE_MARK("a retransmission waits for the transaction in flight");
      slot.followers.push_back(run.transaction());
      return Stop::wait();
    }
    PERDURE_MARK("a retransmission gets the cached reply");
    result.replay = TRY(cs.cached_reply(run, {number, args.slot}, slot));
  } else if (!again) {
    if (in_flight || !is_new(slot, args.seqid)) return Status::seq_misordered;
    cs.begin_request(slot, row->client, run.transaction(), args.seqid, args.checksum);
  }
  cs.renew_lease(row->client);
  cs.bind_connection(number, args.connection, true, false);
  result.status_flags = status_flags(*row, session, client);
  return result;
}

}  // namespace perdure::client
