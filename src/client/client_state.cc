#include "client/client_state.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <ranges>

#include "base/mark.h"
#include "base/planted_bug.h"
#include "client/lock_rows.h"

namespace perdure::client {

namespace {

constexpr size_t slots_share_min = 4;

template <class Waiting>
void add_waiter(Waiting& waiting, const Run& run) {
  if (std::ranges::find(waiting, run.transaction()) == waiting.end()) waiting.push_back(run.transaction());
}

// Whoever waits for `key`; each will look again.
template <class Waiters, class Key>
void resume_waiters(Waiters& waiters, Key key, const ClientState::Hooks& hooks) {
  auto it = waiters.find(key);
  if (it == waiters.end()) return;
  const auto waiting = std::move(it->second);
  waiters.erase(it);
  for (const TransactionId id : waiting) hooks.resume(id);
}

HeldState held_session(SessionNumber session, ClientId client) {
  return {client, StateKind::session, InodeId(0), session.value, 0};
}

// After a restart. Which request is the oldest stands nowhere: the hosts that we know count their transaction
// ids up, so behind the widest gap among them the count began. That decides only which reply is dropped
// first.
void order_unsequenced(SessionTwin& session) {
  UnsequencedSlots& slots = *session.unsequenced;
  std::vector<uint32_t> used;
  for (uint32_t i = 0; i < session.slots.size(); ++i) {
    const SlotTwin& slot = session.slots[i];
    if (slot.used)
      slots.by_name[UnsequencedSlots::name(slot.seqid, slot.checksum)] = i;
    else
      slots.oldest_first.push_back(i);
    if (slot.used && slot.in_flight == TransactionId(0)) used.push_back(i);
  }
  const auto xid = [&](uint32_t i) { return session.slots[i].seqid; };
  std::ranges::sort(used, {}, xid);
  size_t oldest = 0;
  uint32_t widest = 0;
  for (size_t i = 0; i < used.size(); ++i) {
    const uint32_t gap = xid(used[i]) - xid(used[i == 0 ? used.size() - 1 : i - 1]);
    if (gap > widest) widest = gap, oldest = i;
  }
  std::ranges::rotate(used, used.begin() + static_cast<ptrdiff_t>(oldest));
  slots.oldest_first.insert(slots.oldest_first.end(), used.begin(), used.end());
}

}  // namespace

ClientState::ClientState(env::Env& env, state::Database& database, Options options, Hooks hooks)
    : clients(database),
      client_owners(database),
      sessions(database),
      slots(database),
      opens(database),
      lock_states(database),
      locks(database),
      delegations(database),
      back_slots(database),
      state_owners(database),
      closed_opens(database),
      env_(env),
      database_(database),
      options_(options),
      hooks_(std::move(hooks)) {
  CHECK(options_.slots_per_session_max >= 1 && options_.slots_per_session_max <= 1024);
}

ClientState::~ClientState() = default;

void ClientState::restored() {
  client_twins_.clear(), by_lease_ = {}, session_twins_.clear(), file_twins_.clear(), connections_.clear();
  delegation_waiters_.clear(), back_path_waiters_.clear(), lock_queues_ = {};
  leases_judged_ = lease_clock_.now();
  std::vector<HeldState> held;
  held.reserve(sessions.size() + opens.size() + delegations.size() + lock_states.size());
  clients.for_each([&](const ClientRow::Key& key, const ClientRow& row) {
    auto twin = std::make_unique<ClientTwin>();
    twin->kind = row.kind;
    twin->courtesy = row.confirmed && row.kind != ClientKind::address;
    twin->renewed = lease_clock_.now();
    insert_client(key.client, std::move(twin));
  });
  sessions.for_each([&](const SessionRow::Key& key, const SessionRow& row) {
    held.push_back(held_session(key.session, row.client));
    if (client_twin(row.client) == nullptr) return;  // it is being removed
    auto twin = std::make_unique<SessionTwin>();
    twin->client = row.client;
    if (row.minor_version == 0)
      twin->unsequenced = std::make_unique<UnsequencedSlots>();
    else
      twin->slots.resize(row.fore.slots);
    for (SlotTwin& slot : twin->slots) slot.may_jump = true;
    insert_session(key.session, std::move(twin));
  });
  slots.for_each([&](const SlotRow::Key& key, const SlotRow& row) {
    if (SessionTwin* session = session_twin(key.session); session != nullptr && session->unsequenced) {
      if (planted("a restart forgets the requests of an address")) return;
      session->slots.resize(std::max<size_t>(session->slots.size(), key.slot + 1));
    }
    SlotTwin* slot = slot_twin({.session = key.session, .slot = key.slot});
    if (slot == nullptr) return;  // its client has been removed, it comes next
    slot->used = true;
    slot->seqid = row.seqid;
    slot->checksum = row.checksum;
    slot->in_flight = row.in_progress;
    slot->reply_is = SlotTwin::Reply::row;
    slot->may_jump = row.in_progress == TransactionId(0);  // else the client waits for just this reply
    ClientTwin* client = client_twin(session_twin(key.session)->client);
    if (client != nullptr && slot->in_flight != TransactionId(0)) ++client->in_flight;
  });
  for (const auto& [session, twin] : session_twins_)
    if (twin->unsequenced) order_unsequenced(*twin);
  state_owners.for_each([&](const StateOwnerRow::Key& key, const StateOwnerRow&) {
    if (ClientTwin* client = client_twin(key.client)) ++client->owners;
  });
  opens.for_each([&](const StateKey& key, const OpenRow& row) {
    held.push_back({row.client, StateKind::open, key.inode, hash(row.owner), key.number});
    if (planted("a restart forgets deny modes"))
      return apply_open(key.inode, row.client, row.access, 0, true, Lsn(0));
    apply_open(key.inode, row.client, row.access, row.deny, true, Lsn(0));
  });
  delegations.for_each([&](const StateKey& key, const DelegationRow& row) {
    held.push_back({row.client, StateKind::delegation, key.inode, 0, key.number});
    if (planted("a restart forgets delegations")) return;
    apply_delegation(key.inode, row, true);
  });
  lock_states.for_each([&](const StateKey& key, const LockStateRow& row) {
    held.push_back({row.client, StateKind::lock, key.inode, hash(row.owner), key.number});
    if (ClientTwin* client = client_twin(row.client)) ++client->lock_states;
  });
  std::sort(held.begin(), held.end());
  held_ = absl::btree_set<HeldState>(held.begin(), held.end());
  std::vector<LockChange> changes;
  locks.for_each([&](const LockRow::Key& key, const LockRow& row) {
    if (planted("a restart forgets locks")) return;
    const LockStateRow* state = lock_states.peek({key.inode, key.number});
    CHECK(state != nullptr);
    changes.clear();
    for (const LockRange& range : ranges_of(row))
      changes.push_back({{range.first, range.last, key.number}, range.write, true});
    apply_locks(key.inode, state->client, changes, false, Lsn(0));
  });
}

// ------------------------------------------------------------------------------------------------ clients

auto ClientState::client_twin(ClientId client) -> ClientTwin* {
  auto it = client_twins_.find(client);
  return it == client_twins_.end() ? nullptr : it->second.get();
}

auto ClientState::client_twin(ClientId client) const -> const ClientTwin* {
  auto it = client_twins_.find(client);
  return it == client_twins_.end() ? nullptr : it->second.get();
}

void ClientState::insert_client(ClientId client, std::unique_ptr<ClientTwin> twin) {
  std::list<ClientId>& all = by_lease_[twin->courtesy ? 1 : 0];
  auto place = all.end();
  while (place != all.begin() && client_twin(*std::prev(place))->renewed > twin->renewed) --place;
  twin->place = all.insert(place, client);
  CHECK(client_twins_.emplace(client, std::move(twin)).second);
}

auto ClientState::extract_client(ClientId client) -> std::unique_ptr<ClientTwin> {
  auto it = client_twins_.find(client);
  CHECK(it != client_twins_.end());
  std::unique_ptr<ClientTwin> twin = std::move(it->second);
  by_lease_[twin->courtesy ? 1 : 0].erase(twin->place);
  client_twins_.erase(it);
  return twin;
}

void ClientState::add_client(Run& run, ClientId client, ClientKind kind) {
  auto twin = std::make_unique<ClientTwin>();
  twin->kind = kind;
  twin->renewed = lease_clock_.now();
  insert_client(client, std::move(twin));
  run.on_undo([this, client] { extract_client(client); });
}

void ClientState::hold(Run& run, const HeldState& held) {
  CHECK(held_.insert(held).second);
  if (ClientTwin* twin = client_twin(held.client)) twin->held_changed = run.lsn();
  run.on_undo([this, held] { held_.erase(held); });
}

void ClientState::let_go(Run& run, const HeldState& held) {
  CHECK(held_.erase(held) == 1);
  if (ClientTwin* twin = client_twin(held.client)) twin->held_changed = run.lsn();
  run.on_undo([this, held] { held_.insert(held); });
}

bool ClientState::holds_anything(Run& run, ClientId client) {
  if (const ClientTwin* twin = client_twin(client)) run.observe(twin->held_changed);
  const auto it = held_.lower_bound({.client = client});
  return it != held_.end() && it->client == client;
}

Outcome<bool> ClientState::has_rows(Run& run, ClientId client) {
  if (holds_anything(run, client)) return true;
  const auto found =
      TRY(state_owners.first(run, {client, 0, 0, 0}, {client, UINT8_MAX, UINT64_MAX, UINT32_MAX}));
  return static_cast<bool>(found);
}

bool ClientState::has_open(ClientId client, InodeId inode) const {
  auto it = held_.lower_bound({client, StateKind::open, inode, 0, 0});
  return it != held_.end() && it->client == client && it->kind == StateKind::open && it->inode == inode;
}

void ClientState::erase_state_owner(Run& run, const StateOwnerRow::Key& key, const StateOwnerRow& row) {
  if (row.closed != StateKey{}) closed_opens.erase(run, row.closed);
  state_owners.erase(run, key);
  count_state_owner(run, key.client, false);
}

bool ClientState::may_have_given(ClientId client) const {
  const uint64_t epoch = client.value >> 32U, counter = client.value & UINT32_MAX;
  if (epoch == 0 || counter == 0) return false;
  return epoch < epoch_.value || (epoch == epoch_.value && counter <= last_client_);
}

uint64_t ClientState::new_confirm_verifier() {
  Encoder seal;
  seal.put(epoch_.value);
  seal.put(++last_confirm_);
  const uint64_t verifier = siphash(key_, seal.bytes());
  return verifier != 0 ? verifier : 1;
}

Outcome<void> ClientState::remove_client(Run& run, ClientId client, const ClientRow& row, bool start_job) {
  const uint64_t owner_hash = hash(row.owner);
  ClientOwnerRow::Key from{owner_hash, 0};
  const ClientOwnerRow::Key last{owner_hash, UINT32_MAX};
  for (auto found = TRY(client_owners.first(run, from, last)); found;
       found = TRY(client_owners.next(run, from, last))) {
    from = found.key;
    if (found.row->confirmed != client && found.row->unconfirmed != client) continue;
    ClientOwnerRow owner = *found.row;
    (owner.confirmed == client ? owner.confirmed : owner.unconfirmed) = ClientId(0);
    if (owner.confirmed == ClientId(0) && owner.unconfirmed == ClientId(0))
      client_owners.erase(run, from);
    else
      client_owners.put(run, from, owner);
    break;
  }
  clients.erase(run, {client});
  for (auto it = held_.lower_bound({.client = client});
       it != held_.end() && it->client == client && it->kind == StateKind::session; ++it)
    drop_session(run, SessionNumber(it->owner_hash), client);
  run.on_undo(
      [this, client, twin = extract_client(client)]() mutable { insert_client(client, std::move(twin)); });
  if (start_job && TRY(has_rows(run, client))) hooks_.start_expire(run, client);
  run.on_commit([this, client] { back_path_changed(client); });
  return {};
}

bool ClientState::is_durable(Lsn lsn) const {
  return database_.commit().durable() > lsn;
}
bool ClientState::is_logged(Lsn lsn) const {
  return database_.commit().next_lsn() > lsn;
}
void ClientState::when_durable(Lsn lsn, env::Task task) {
  database_.commit().when_durable(lsn, std::move(task));
}

// ------------------------------------------------------------------------------------------------ leases

void ClientState::renew_lease(ClientId client) {
  ClientTwin* twin = client_twin(client);
  if (twin == nullptr) return;
  twin->renewed = lease_clock_.now();
  std::list<ClientId>& all = by_lease_[twin->courtesy ? 1 : 0];
  all.splice(all.end(), all, twin->place);
}

// What has been answered has left.
bool ClientState::was_told(const ClientTwin& twin) const {
  return twin.told == Lsn(0) || database_.commit().durable() > twin.told;
}

bool ClientState::is_renewed(const ClientTwin& twin) const {
  return lease_clock_.now() - twin.renewed <= std::chrono::seconds(options_.lease_seconds);
}

bool ClientState::lease_has_ended(ClientId client) const {
  const ClientTwin* twin = client_twin(client);
  if (twin == nullptr || is_renewed(*twin)) return false;
  return (twin->in_flight == 0 && was_told(*twin)) || planted("a lease ends while a request is in flight");
}

namespace {

// How long a client may be silent before it is ended though nobody needs what it has.
std::chrono::seconds silence_max(const ClientState::Options& options, bool courtesy) {
  return std::chrono::seconds(options.lease_seconds + (courtesy ? options.courtesy_seconds : 0));
}

}  // namespace

bool ClientState::courtesy_has_ended(ClientId client) const {
  const ClientTwin* twin = client_twin(client);
  if (twin == nullptr || !lease_has_ended(client)) return false;
  return lease_clock_.now() - twin->renewed > silence_max(options_, twin->courtesy);
}

std::vector<ClientId> ClientState::take_expired(size_t max) {
  leases_judged_ = lease_clock_.now();
  std::vector<ClientId> expired_clients;
  for (const std::list<ClientId>& all : by_lease_) {
    for (const ClientId client : all) {
      ClientTwin& twin = *client_twin(client);
      const bool silent = lease_clock_.now() - twin.renewed > silence_max(options_, twin.courtesy);
      if (expired_clients.size() == max || !silent) break;
      if (twin.expiring || !lease_has_ended(client)) continue;
      twin.expiring = true;
      expired_clients.push_back(client);
    }
  }
  return expired_clients;
}

Outcome<bool> ClientState::gives_way(Run& run, ClientId client) {
  if (!lease_has_ended(client)) return false;
  const auto lease = std::chrono::seconds(options_.lease_seconds);
  if (leases_judged_ - client_twin(client)->renewed <= lease) return false;
  const ClientRow* row = TRY(clients.get(run, {client}));
  CHECK(row != nullptr);
  PERDURE_MARK("a client whose lease has ended gives way");
  spdlog::info(
      "client {:x} has not been heard of for a lease time, and is in the way: what it has open and "
      "locked ends",
      client);
  run.on_commit([this] { ++expired; });
  TRY(remove_client(run, client, *row, true));
  return true;
}

Outcome<void> ClientState::make_room_for_client(Run& run, size_t freed) {
  while (clients.size() - freed >= options_.clients_max) {
    const std::list<ClientId>& all = by_lease_.back();
    if (all.empty() || !TRY(gives_way(run, all.front()))) return Status::delay;
  }
  return {};
}

void ClientState::client_confirmed(Run& run, ClientId client) {
  const auto move = [this, client](bool courtesy) {
    std::unique_ptr<ClientTwin> twin = extract_client(client);
    twin->courtesy = courtesy;
    insert_client(client, std::move(twin));
  };
  move(true);
  run.on_undo([move] { move(false); });
}

// ---------------------------------------------------------------------------------------------- sessions

SessionId ClientState::make_session_id(SessionNumber session, ClientId client) const {
  Encoder seal;
  seal.put(session.value);
  seal.put(client.value);
  const uint64_t words[2] = {std::byteswap(session.value), siphash(key_, seal.bytes())};
  SessionId id;
  static_assert(sizeof words == sizeof id);
  std::memcpy(id.data(), words, sizeof words);
  return id;
}

auto ClientState::find_session(Run& run, const SessionId& id) -> Outcome<FoundSession> {
  uint64_t number = 0;
  std::memcpy(&number, id.data(), sizeof number);
  const SessionNumber session(std::byteswap(number));
  const SessionRow* row = TRY(sessions.get(run, {session}));
  if (row == nullptr || row->id != id) return Status::bad_session;
  if (TRY(clients.get(run, {row->client})) == nullptr) return Status::bad_session;
  return FoundSession{session, row};
}

auto ClientState::session_twin(SessionNumber session) -> SessionTwin* {
  auto it = session_twins_.find(session);
  return it == session_twins_.end() ? nullptr : it->second.get();
}

uint32_t ClientState::slots_wanted(const SessionTwin& session) const {
  const size_t share = std::max<size_t>(options_.slots_total / session_twins_.size(), slots_share_min);
  return static_cast<uint32_t>(std::min(session.slots.size(), share));
}

void ClientState::insert_session(SessionNumber session, std::unique_ptr<SessionTwin> twin) {
  if (ClientTwin* client = client_twin(twin->client)) ++client->sessions;
  CHECK(session_twins_.emplace(session, std::move(twin)).second);
}

auto ClientState::extract_session(SessionNumber session) -> std::unique_ptr<SessionTwin> {
  auto it = session_twins_.find(session);
  CHECK(it != session_twins_.end());
  std::unique_ptr<SessionTwin> twin = std::move(it->second);
  if (ClientTwin* client = client_twin(twin->client)) --client->sessions;
  session_twins_.erase(it);
  return twin;
}

void ClientState::add_session(Run& run, SessionNumber session, ClientId client, size_t slot_count) {
  auto twin = std::make_unique<SessionTwin>();
  twin->client = client;
  twin->slots.resize(slot_count);
  insert_new_session(run, session, std::move(twin));
}

void ClientState::add_unsequenced_session(Run& run, SessionNumber session, ClientId client) {
  auto twin = std::make_unique<SessionTwin>();
  twin->client = client;
  twin->unsequenced = std::make_unique<UnsequencedSlots>();
  insert_new_session(run, session, std::move(twin));
}

void ClientState::insert_new_session(Run& run, SessionNumber session, std::unique_ptr<SessionTwin> twin) {
  hold(run, held_session(session, twin->client));
  insert_session(session, std::move(twin));
  run.on_undo([this, session] { extract_session(session); });
}

void ClientState::erase_session(Run& run, SessionNumber session, ClientId client) {
  sessions.erase(run, {session});
  back_slots.erase(run, {session});
  let_go(run, held_session(session, client));
}

// Who waited for a reply on one of its slots is told when the run has been committed: there will be none.
void ClientState::drop_session(Run& run, SessionNumber session, ClientId client) {
  auto twin = std::make_shared<std::unique_ptr<SessionTwin>>(extract_session(session));
  run.on_undo([this, session, twin] { insert_session(session, std::move(*twin)); });
  run.on_commit([this, session, client, twin] {
    ClientTwin* owner = client_twin(client);
    for (SlotTwin& slot : (*twin)->slots) {
      if (owner != nullptr && slot.in_flight != TransactionId(0)) --owner->in_flight;
      for (const TransactionId follower : slot.followers) hooks_.resume(follower);
    }
    for (const SessionTwin::Connection& connection : (*twin)->connections) {
      auto it = connections_.find(connection.id);
      if (it == connections_.end()) continue;
      it->second.erase(std::remove(it->second.begin(), it->second.end(), session), it->second.end());
      if (it->second.empty()) connections_.erase(it);
    }
  });
}

void ClientState::bind_connection(SessionNumber session, ConnectionId connection, bool fore, bool back) {
  constexpr size_t connections_max = 64;  // of one session; Linux has at most 16 (nconnect)
  SessionTwin* twin = session_twin(session);
  if (twin == nullptr || connection == ConnectionId(0)) return;
  for (SessionTwin::Connection& c : twin->connections) {
    if (c.id != connection) continue;
    c.fore = c.fore || fore;
    if (back && !std::exchange(c.back, true)) back_path_changed(twin->client);
    return;
  }
  if (twin->connections.size() == connections_max) {
    const ConnectionId oldest = twin->connections.front().id;
    auto it = connections_.find(oldest);
    it->second.erase(std::remove(it->second.begin(), it->second.end(), session), it->second.end());
    if (it->second.empty()) connections_.erase(it);
    twin->connections.erase(twin->connections.begin());
  }
  twin->connections.push_back({connection, fore, back});
  connections_[connection].push_back(session);
  if (back) back_path_changed(twin->client);
}

void ClientState::back_path_changed(ClientId client) {
  resume_waiters(back_path_waiters_, client, hooks_);
}

void ClientState::callback_link(ClientId client, ConnectionId connection) {
  if (ClientTwin* twin = client_twin(client)) {
    twin->callback_link = connection;
    if (connection != ConnectionId(0)) twin->callback_link_failed = false;
  }
  back_path_changed(client);
}

void ClientState::callback_link_failed(ClientId client) {
  if (ClientTwin* twin = client_twin(client)) twin->callback_link = {}, twin->callback_link_failed = true;
}

auto ClientState::back_path(Run& run, ClientId client, SessionNumber only)
    -> Outcome<std::optional<BackPath>> {
  const ClientTwin* called = client_twin(client);
  if (called != nullptr && called->kind == ClientKind::version40) {
    if (called->callback_link != ConnectionId(0)) return std::optional(BackPath{{}, called->callback_link});
    if (hooks_.want_callback_link) hooks_.want_callback_link(client);
    return std::optional<BackPath>();
  }
  const HeldState last = held_session(only.value == 0 ? SessionNumber(UINT64_MAX) : only, client);
  for (auto it = held_.lower_bound(held_session(only, client)); it != held_.end() && *it <= last; ++it) {
    const SessionNumber number(it->owner_hash);
    const SessionRow* row = TRY(sessions.get(run, {number}));
    const SessionTwin* twin = session_twin(number);
    if (row == nullptr || !row->back_channel || twin == nullptr) continue;
    // The newest: of an older one the client may know nothing any more.
    for (const SessionTwin::Connection& c : std::views::reverse(twin->connections))
      if (c.back) return std::optional(BackPath{number, c.id});
  }
  return std::optional<BackPath>();
}

Outcome<bool> ClientState::may_be_called(Run& run, ClientId client) {
  const HeldState last = held_session(SessionNumber(UINT64_MAX), client);
  for (auto it = held_.lower_bound(held_session({}, client)); it != held_.end() && *it <= last; ++it) {
    const SessionRow* row = TRY(sessions.get(run, {SessionNumber(it->owner_hash)}));
    if (row != nullptr && row->back_channel) return true;
  }
  return false;
}

void ClientState::back_path_failed(const BackPath& path) {
  SessionTwin* twin = session_twin(path.session);
  if (twin == nullptr) return;
  for (SessionTwin::Connection& c : twin->connections)
    if (c.id == path.connection) c.back = false;
}

void ClientState::connection_closed(ConnectionId connection) {
  auto it = connections_.find(connection);
  if (it == connections_.end()) return;
  for (const SessionNumber session : it->second) {
    auto& all = session_twin(session)->connections;
    all.erase(std::remove_if(all.begin(), all.end(), [&](const auto& c) { return c.id == connection; }),
              all.end());
  }
  connections_.erase(it);
}

// ------------------------------------------------------------------------------------------ opens and locks

Outcome<uint32_t> ClientState::new_state_number(Run& run, StateKind kind, InodeId inode) {
  // Each epoch counts from a place of its own, far from those of the epochs before it.
  const uint32_t base = static_cast<uint32_t>(epoch_.value) * 0x9E3779B1U;
  for (;;) {
    const uint32_t number = (static_cast<uint32_t>(kind) << Stateid::kind_shift) |
                            ((base + ++last_state_) & Stateid::counter_mask);
    const StateKey key{inode, number};
    const bool taken = kind == StateKind::open         ? TRY(opens.get(run, key)) != nullptr
                       : kind == StateKind::delegation ? TRY(delegations.get(run, key)) != nullptr
                                                       : TRY(lock_states.get(run, key)) != nullptr;
    if (!taken) return number;
  }
}

FileTwin& ClientState::touch_file(InodeId inode, Lsn lsn) {
  std::unique_ptr<FileTwin>& file = file_twins_[inode];
  if (file == nullptr) file = std::make_unique<FileTwin>();
  file->changed = std::max(file->changed, lsn);
  return *file;
}

void ClientState::drop_if_empty(InodeId inode) {
  auto it = file_twins_.find(inode);
  if (!it->second->empty()) return;
  emptied_ = std::max(emptied_, it->second->changed);
  file_twins_.erase(it);
}

const FileTwin* ClientState::file_twin(Run& run, InodeId inode) {
  auto it = file_twins_.find(inode);
  run.observe(it == file_twins_.end() ? emptied_ : it->second->changed);
  return it == file_twins_.end() ? nullptr : it->second.get();
}

void ClientState::count_open(Run& run, InodeId inode, ClientId client, uint8_t access, uint8_t deny,
                             bool more) {
  apply_open(inode, client, access, deny, more, run.lsn());
  if (!more && lock_queues_.anybody(inode)) run.on_commit([this, inode] { locks_freed(inode, true); });
  run.on_undo(
      [this, inode, client, access, deny, more] { apply_open(inode, client, access, deny, !more, Lsn(0)); });
}

void ClientState::apply_open(InodeId inode, ClientId client, uint8_t access, uint8_t deny, bool more,
                             Lsn lsn) {
  const uint32_t one = more ? 1 : UINT32_MAX;  // wraps: minus one
  FileTwin& file = touch_file(inode, deny != 0 ? lsn : Lsn(0));
  file.opens += one;
  for (unsigned bit = 0; bit < 2; ++bit) {
    if ((access >> bit & 1U) != 0) file.access[bit] += one;
    if ((deny >> bit & 1U) != 0) file.deny[bit] += one;
  }
  if (ClientTwin* twin = client_twin(client)) twin->opens += more ? 1 : UINT64_MAX;
  drop_if_empty(inode);
}

void ClientState::count_lock_state(Run& run, ClientId client, bool more) {
  const auto apply = [this, client](bool add) {
    if (ClientTwin* twin = client_twin(client)) twin->lock_states += add ? 1 : UINT64_MAX;
  };
  apply(more);
  run.on_undo([apply, more] { apply(!more); });
}

void ClientState::count_state_owner(Run& run, ClientId client, bool more) {
  const auto apply = [this, client](bool add) {
    if (ClientTwin* twin = client_twin(client)) twin->owners += add ? 1 : UINT64_MAX;
  };
  apply(more);
  run.on_undo([apply, more] { apply(!more); });
}

void ClientState::count_delegation(Run& run, InodeId inode, const DelegationRow& row, bool more) {
  apply_delegation(inode, row, more);
  run.on_undo([this, inode, row, more] { apply_delegation(inode, row, !more); });
}

// Whoever is told that there is none in his way changes something himself, or was told by a recall.
void ClientState::apply_delegation(InodeId inode, const DelegationRow& row, bool more) {
  if (ClientTwin* twin = client_twin(row.client)) {
    twin->delegations += more ? 1 : UINT64_MAX;
    if (row.revoked) twin->revoked += more ? 1 : UINT64_MAX;
  }
  if (row.revoked) return;
  touch_file(inode, Lsn(0)).delegations += more ? 1 : UINT32_MAX;
  drop_if_empty(inode);
}

void ClientState::pause_delegations(InodeId inode, env::Duration pause) {
  auto it = file_twins_.find(inode);
  if (it != file_twins_.end()) it->second->no_delegations_until = env_.now() + pause;
}

void ClientState::wait_for_delegations(const Run& run, InodeId inode) {
  add_waiter(delegation_waiters_[inode], run);
}

void ClientState::wait_for_back_path(const Run& run, ClientId client) {
  add_waiter(back_path_waiters_[client], run);
}

void ClientState::delegation_ended(Run& run, InodeId inode) {
  run.on_commit([this, inode] { resume_waiters(delegation_waiters_, inode, hooks_); });
}

void ClientState::locks_freed(InodeId inode, bool called) {
  lock_queues_.for_each(inode, [&](TransactionId id, const LockQueues::Waiter& waiter) {
    if (called || !waiter.called) hooks_.resume(id);
  });
}

void ClientState::change_locks(Run& run, InodeId inode, ClientId client, std::vector<LockChange> changes) {
  if (changes.empty()) return;
  apply_locks(inode, client, changes, false, run.lsn());
  if (lock_queues_.anybody(inode) && !std::ranges::all_of(changes, &LockChange::added))
    run.on_commit([this, inode] { locks_freed(inode); });
  run.on_undo(
      [this, inode, client, undo = std::move(changes)] { apply_locks(inode, client, undo, true, Lsn(0)); });
}

// A lock of a dead client need not be there: such are dropped when they are met (lock.cc).
void ClientState::apply_locks(InodeId inode, ClientId client, const std::vector<LockChange>& changes,
                              bool undo, Lsn lsn) {
  FileTwin& file = touch_file(inode, lsn);
  ClientTwin* twin = client_twin(client);
  const auto apply = [&](const LockChange& change) {
    LockIndex& index = change.write ? file.write_locks : file.read_locks;
    const bool add = change.added != undo;
    if (add)
      index.insert(change.lock);
    else
      CHECK(index.erase(change.lock) || twin == nullptr);
    if (twin != nullptr) twin->locks += add ? 1 : UINT64_MAX;
  };
  // A lock may be erased and another one added at the same place.
  if (undo)
    std::for_each(changes.rbegin(), changes.rend(), apply);
  else
    std::for_each(changes.begin(), changes.end(), apply);
  drop_if_empty(inode);
}

// ----------------------------------------------------------------------------------------------- for people

auto ClientState::figures() const -> Figures {
  return {.clients = clients.size(),
          .sessions = sessions.size(),
          .opens = opens.size(),
          .lock_states = lock_states.size(),
          .lock_rows = locks.size(),
          .delegations = delegations.size(),
          .replays = replays,
          .expired = expired};
}

std::string ClientState::describe_twins() const {
  std::vector<std::string> lines;
  for (const auto& [client, twin] : client_twins_)
    lines.push_back(
        fmt::format("client {}: {} sessions, {} opens, {} lock states, {} locks, {} delegations ({} "
                    "revoked), {} owners, {} in flight",
                    client, twin->sessions, twin->opens, twin->lock_states, twin->locks, twin->delegations,
                    twin->revoked, twin->owners, twin->in_flight));
  for (const auto& [session, twin] : session_twins_)
    lines.push_back(
        fmt::format("session {}: client {}, {} slots", session, twin->client, twin->slots.size()));
  for (const HeldState& held : held_)
    lines.push_back(fmt::format("client {}: kind {} {} of inode {}, owner {:x}", held.client,
                                static_cast<int>(held.kind), held.number, held.inode, held.owner_hash));
  for (const auto& [inode, file] : file_twins_) {
    std::string line =
        fmt::format("inode {}: {} opens, access {}/{}, deny {}/{}, {} delegations", inode, file->opens,
                    file->access[0], file->access[1], file->deny[0], file->deny[1], file->delegations);
    for (const auto& [index, type] : {std::pair{&file->read_locks, 'r'}, std::pair{&file->write_locks, 'w'}})
      index->for_each([&, t = type](const LockIndex::Lock& lock) {
        line += fmt::format(" {}{}-{}:{:x}", t, lock.first, lock.last, lock.owner);
      });
    lines.push_back(std::move(line));
  }
  std::sort(lines.begin(), lines.end());
  std::string all;
  for (const std::string& line : lines) all += line + '\n';
  return all;
}

}  // namespace perdure::client
