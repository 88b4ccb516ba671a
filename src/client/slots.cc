#include "client/slots.h"

#include "base/mark.h"
#include "base/planted_bug.h"
#include "client/client_state.h"

namespace perdure::client {

const SlotTwin* ClientState::slot_twin(const SlotHandle& slot) const {
  auto it = session_twins_.find(slot.session);
  if (it == session_twins_.end() || slot.slot >= it->second->slots.size()) return nullptr;
  return &it->second->slots[slot.slot];
}

SlotTwin* ClientState::slot_twin(const SlotHandle& slot) {
  return const_cast<SlotTwin*>(std::as_const(*this).slot_twin(slot));
}

void ClientState::mark_in_progress(Run& run, const SlotHandle& slot, TransactionId transaction) {
  if (slot_twin(slot) == nullptr) return;  // the session has been destroyed meanwhile
  if (planted("the slot of a transaction in flight is not in its record")) return;
  slots.put(run, {slot.session, slot.slot}, {slot.seqid, slot.checksum, transaction, {}});
}

void ClientState::begin_request(SlotTwin& slot, ClientId client, TransactionId transaction, uint32_t seqid,
                                uint32_t checksum) {
  slot.in_flight = transaction;
  slot.seqid = seqid;
  slot.checksum = checksum;
  slot.used = true;
  slot.may_jump = false;
  slot.reply_is = SlotTwin::Reply::none;
  slot.reply.clear();
  ++client_twin(client)->in_flight;
  renew_lease(client);
}

Outcome<Bytes> ClientState::cached_reply(Run& run, const SlotRow::Key& key, const SlotTwin& slot) {
  switch (slot.reply_is) {
    case SlotTwin::Reply::none:
      PERDURE_MARK("a retransmission of what was not cached");
      return Status::retry_uncached;
    case SlotTwin::Reply::here:
      if (!planted("a replay does not count as read")) run.observe(slot.release);
      return Bytes(slot.reply);
    case SlotTwin::Reply::row:
      break;
  }
  const SlotRow* row = TRY(slots.get(run, key));
  CHECK(row != nullptr && row->seqid == slot.seqid && row->in_progress == TransactionId(0));
  return Bytes(row->reply);
}

namespace {

// An answer of this run leaves when that is durable.
Lsn told_at(const Run& run) {
  return run.changed() ? run.lsn() : run.seen();
}

}  // namespace

void ClientState::answer(Run& run, ClientId client) {
  run.on_commit([this, client, told = told_at(run)] { answered(client, told); });
}

void ClientState::answered(ClientId client, Lsn told) {
  if (ClientTwin* twin = client_twin(client)) twin->told = std::max(twin->told, told);
  renew_lease(client);
}

void ClientState::finish(Run& run, const SlotHandle& slot, ByteVector reply, bool changed, bool cached) {
  const SlotTwin* twin = slot_twin(slot);
  if (twin == nullptr) return;  // the session has been destroyed, by this transaction or meanwhile
  CHECK(twin->in_flight == run.transaction() && twin->seqid == slot.seqid);
  SlotTwin::Reply reply_is = cached ? SlotTwin::Reply::here : SlotTwin::Reply::none;
  if (changed && !planted("the slot is not in the record")) {
    slots.put(run, {slot.session, slot.slot},
              {slot.seqid, slot.checksum, TransactionId(0), std::move(reply)});
    reply_is = SlotTwin::Reply::row;
    reply = {};
  }
  run.on_commit([this, slot, transaction = run.transaction(), release = run.seen(), told = told_at(run),
                 reply_is, bytes = std::move(reply)]() mutable {
    finished(slot, transaction, release, told, reply_is, std::move(bytes));
  });
}

void ClientState::finished(const SlotHandle& slot, TransactionId transaction, Lsn release, Lsn told,
                           SlotTwin::Reply reply_is, ByteVector reply) {
  SlotTwin* twin = slot_twin(slot);
  if (twin == nullptr || twin->in_flight != transaction) return;
  twin->in_flight = TransactionId(0);
  twin->reply_is = reply_is;
  twin->release = release;
  twin->reply = std::move(reply);
  SessionTwin& session = *session_twin(slot.session);
  if (session.unsequenced) {
    twin->used = reply_is != SlotTwin::Reply::none;
    if (twin->used) {
      session.unsequenced->oldest_first.push_back(slot.slot);
    } else {
      session.unsequenced->by_name.erase(UnsequencedSlots::name(slot.seqid, slot.checksum));
      session.unsequenced->oldest_first.push_front(slot.slot);
    }
  }
  const ClientId client = session.client;
  if (ClientTwin* c = client_twin(client)) --c->in_flight;
  answered(client, told);
  for (const TransactionId follower : std::exchange(twin->followers, {})) hooks_.resume(follower);
}

bool ClientState::has_followers(const SlotHandle& slot) const {
  const SlotTwin* twin = slot_twin(slot);
  return twin != nullptr && !twin->followers.empty();
}

void ClientState::resumed(const SlotHandle& slot, TransactionId transaction) {
  const SlotTwin* twin = slot_twin(slot);
  CHECK(twin == nullptr || (twin->in_flight == transaction && twin->seqid == slot.seqid));
}

}  // namespace perdure::client
