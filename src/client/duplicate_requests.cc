#include "client/duplicate_requests.h"

#include "base/mark.h"
#include "base/planted_bug.h"
#include "client/client_owner.h"

namespace perdure::client {

namespace {

constexpr size_t followers_max = 32;

// The session of an address, which is made if there is none.
Outcome<SessionNumber> find_session_of(ClientState& cs, Run& run, Bytes address) {
  const FoundOwner owner = TRY(find_owner(cs, run, ClientKind::address, address));
  if (const ClientId client = owner.row.confirmed; client != ClientId(0)) {
    const auto session = cs.held().lower_bound({client, StateKind::session, InodeId(0), 0, 0});
    CHECK(session != cs.held().end() && session->client == client && session->kind == StateKind::session);
    return SessionNumber(session->owner_hash);
  }
  ClientRow row;
  row.kind = ClientKind::address;
  row.owner.assign(address.begin(), address.end());
  const ClientId client = TRY(add_client(cs, run, owner, row, false));
  row.confirmed = row.reclaim_complete = true;
  TRY(confirm_client(cs, run, client, row));
  cs.clients.put(run, {client}, std::move(row));

  const SessionNumber number = cs.new_session_number();
  SessionRow session;
  session.client = client;
  session.id = cs.make_session_id(number, client);
  session.persistent = cs.options().persistent;
  session.fore.slots = cs.options().requests_per_address_max;
  session.minor_version = 0;
  cs.sessions.put_new(run, {number}, std::move(session));
  cs.add_unsequenced_session(run, number, client);
  return number;
}

// For a new request: one that is free, a new one, or that of the oldest request. UINT32_MAX: all are in
// flight.
uint32_t take_slot(SessionTwin& session, size_t slots_max) {
  std::deque<uint32_t>& oldest_first = session.unsequenced->oldest_first;
  const bool free = !oldest_first.empty() && !session.slots[oldest_first.front()].used;
  if (!free && session.slots.size() < slots_max) {
    session.slots.emplace_back();
    return static_cast<uint32_t>(session.slots.size() - 1);
  }
  if (oldest_first.empty()) return UINT32_MAX;
  const uint32_t slot = oldest_first.front();
  oldest_first.pop_front();
  return slot;
}

}  // namespace

Outcome<AdmittedRequest> admit_request(ClientState& cs, Run& run, const UnsequencedRequest& request) {
  const SessionNumber number = TRY(find_session_of(cs, run, request.address));
  SessionTwin& session = *cs.session_twin(number);
  UnsequencedSlots& known = *session.unsequenced;
  const uint64_t name = UnsequencedSlots::name(request.xid, request.checksum);
  AdmittedRequest result{.replay = {}, .slot = {number, 0, request.xid, request.checksum}};
  const auto it = known.by_name.find(name);
  if (it != known.by_name.end() && !planted("a request outside any session that comes again is a new one")) {
    result.slot.slot = it->second;
    SlotTwin& slot = session.slots[it->second];
    if (slot.in_flight == run.transaction()) return result;  // its run was abandoned, and executes again
    ++cs.replays;
    if (slot.in_flight != TransactionId(0)) {
      if (slot.followers.size() == followers_max) {
        PERDURE_MARK("too many copies of a request wait");
        result.drop = true;
        return result;
      }
      PERDURE_MARK("a request outside any session waits for itself");
      slot.followers.push_back(run.transaction());
      return Stop::wait();
    }
    PERDURE_MARK("a request outside any session gets the cached reply");
    result.replay = TRY(cs.cached_reply(run, {number, it->second}, slot));
    return result;
  }
  const uint32_t index = take_slot(session, cs.options().requests_per_address_max);
  if (index == UINT32_MAX) return Status::delay;
  SlotTwin& slot = session.slots[index];
  if (slot.used) known.by_name.erase(UnsequencedSlots::name(slot.seqid, slot.checksum));
  result.slot.slot = index;
  cs.begin_request(slot, session.client, run.transaction(), request.xid, request.checksum);
  known.by_name[name] = index;
  return result;
}

}  // namespace perdure::client
