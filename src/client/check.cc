#include "client/check.h"

#include <algorithm>
#include <map>

#include "client/check_files.h"

namespace perdure::client {

namespace {

struct CheckedClient {
  ClientId id;
  uint64_t owner_hash = 0;
  bool confirmed = false;
  ClientKind kind{};
  uint32_t named = 0;  // by client_owner rows
};

struct CheckedSession {
  SessionNumber number;
  ClientId client;
  uint32_t slots = 0;
};

class ClientCheck {
 public:
  ClientCheck(ClientState& cs, const CheckSurroundings& surroundings, state::Findings& findings)
      : cs_(cs), surroundings_(surroundings), findings_(findings) {}

  Result<Checked> run();

 private:
  auto damaged() {
    return [this](const std::string& what) { findings_.add("{}", what); };
  }
  const CheckedClient* find(ClientId id) const {
    auto it = std::ranges::lower_bound(clients_, id, {}, &CheckedClient::id);
    return it != clients_.end() && it->id == id ? &*it : nullptr;
  }
  const CheckedSession* find(SessionNumber number) {
    auto it = std::ranges::lower_bound(sessions_, number, {}, &CheckedSession::number);
    return it != sessions_.end() && it->number == number ? &*it : nullptr;
  }
  static const CheckedState* find(const std::vector<CheckedState>& states, StateKey key) {
    auto it = std::ranges::lower_bound(states, key, {}, &CheckedState::key);
    return it != states.end() && it->key == key ? &*it : nullptr;
  }
  bool alive(ClientId id) const { return find(id) != nullptr; }
  bool expiring(ClientId id) const { return std::ranges::binary_search(surroundings_.expiring, id); }
  bool in_flight(TransactionId id) const {
    return std::ranges::binary_search(surroundings_.transactions, id);
  }

  Result<void> read_clients();
  Result<void> check_owners();
  Result<void> check_sessions();
  Result<void> check_delegations();
  void check_holders();
  Result<void> check_state_owners();
  Result<void> check_closed_opens();
  Result<void> check_slots();

  ClientState& cs_;
  const CheckSurroundings& surroundings_;
  state::Findings& findings_;
  std::vector<CheckedClient> clients_;  // in order, like the rest
  std::vector<CheckedSession> sessions_;
  CheckedFiles files_;
  std::map<StateKey, StateOwnerRow::Key> closed_;  // by whose last request
  Checked checked_;
};

Result<Checked> ClientCheck::run() {
  TRY(read_clients());
  TRY(check_owners());
  TRY(check_sessions());
  files_ = TRY(check_files(cs_, [this](ClientId id) { return alive(id); }, findings_));
  TRY(check_delegations());
  check_holders();
  TRY(check_state_owners());
  TRY(check_closed_opens());
  TRY(check_slots());
  for (const CheckedState& open : files_.opens)
    if (checked_.open.empty() || checked_.open.back() != open.key.inode)
      checked_.open.push_back(open.key.inode);
  for (const CheckedState& delegation : files_.delegations) checked_.open.push_back(delegation.key.inode);
  std::ranges::sort(checked_.open);
  const auto [first_again, last_again] = std::ranges::unique(checked_.open);
  checked_.open.erase(first_again, last_again);
  checked_.figures.delegations = files_.delegations.size();
  checked_.figures.clients = clients_.size();
  checked_.figures.sessions = sessions_.size();
  checked_.figures.opens = files_.opens.size();
  checked_.figures.lock_states = files_.lock_states.size();
  checked_.figures.locks = files_.locks;
  return std::move(checked_);
}

Result<void> ClientCheck::read_clients() {
  state::RowReader<ClientRow> rows(cs_.clients, damaged());
  while (TRY(rows.next())) {
    const ClientRow& row = rows.row();
    clients_.push_back({rows.key().client, cs_.hash(row.owner), row.confirmed, row.kind});
    if (row.owner.empty()) findings_.add("{}: it has no owner", describe(rows.key().client));
  }
  return {};
}

Result<void> ClientCheck::check_owners() {
  state::RowReader<ClientOwnerRow> rows(cs_.client_owners, damaged());
  while (TRY(rows.next())) {
    const ClientOwnerRow& row = rows.row();
    if (row.confirmed == ClientId(0) && row.unconfirmed == ClientId(0))
      findings_.add("client owner {:x}/{}: it names no client", rows.key().hash, rows.key().n);
    for (const auto& [id, confirmed] : {std::pair(row.confirmed, true), std::pair(row.unconfirmed, false)}) {
      if (id == ClientId(0)) continue;
      auto* client = const_cast<CheckedClient*>(find(id));
      if (client == nullptr) {
        findings_.add("client owner {:x}/{}: {} does not exist", rows.key().hash, rows.key().n, describe(id));
        continue;
      }
      ++client->named;
      if (client->owner_hash != rows.key().hash)
        findings_.add("client owner {:x}/{}: {} has another owner", rows.key().hash, rows.key().n,
                      describe(id));
      if (client->confirmed != confirmed)
        findings_.add("client owner {:x}/{}: it says that {} is {}confirmed", rows.key().hash, rows.key().n,
                      describe(id), confirmed ? "" : "not ");
    }
  }
  for (const CheckedClient& client : clients_)
    if (client.named != 1) findings_.add("{}: {} owner rows name it", describe(client.id), client.named);
  return {};
}

Result<void> ClientCheck::check_sessions() {
  state::RowReader<SessionRow> rows(cs_.sessions, damaged());
  while (TRY(rows.next())) {
    const SessionRow& row = rows.row();
    const SessionNumber number = rows.key().session;
    sessions_.push_back({number, row.client, row.fore.slots});
    const CheckedClient* client = find(row.client);
    if (client == nullptr && !expiring(row.client))
      findings_.add("session {:#x}: its {} does not exist, and nobody removes what is left of it",
                    number.value, describe(row.client));
    if (client != nullptr && !client->confirmed)
      findings_.add("{}: not confirmed, but with a session", describe(row.client));
    if (client != nullptr && (client->kind == ClientKind::address) != (row.minor_version == 0))
      findings_.add("session {:#x} of {}: it is of version 4.{}", number.value, describe(row.client),
                    row.minor_version);
    if (row.id != cs_.make_session_id(number, row.client))
      findings_.add("session {:#x}: its id is not its own", number.value);
    if (row.fore.slots == 0 || row.fore.slots > 1024)
      findings_.add("session {:#x}: it has {} slots", number.value, row.fore.slots);
  }
  return {};
}

// A recalled one has a transaction that sees to it, and nobody else's open or delegation conflicts with one
// that is not.
Result<void> ClientCheck::check_delegations() {
  state::RowReader<DelegationRow> rows(cs_.delegations, damaged());
  StateKey writer{};  // of the file before it
  uint32_t in_file = 0;
  InodeId file;
  while (TRY(rows.next())) {
    const StateKey& key = rows.key();
    const DelegationRow& row = rows.row();
    const auto where = [&] {
      return fmt::format("delegation {:x} of inode {} to {}", key.number, key.inode, describe(row.client));
    };
    files_.delegations.push_back({key, row.client, 0});
    if (key.number >> Stateid::kind_shift != static_cast<uint32_t>(StateKind::delegation))
      findings_.add("{}: its number is not that of a delegation", where());
    if (!alive(row.client) || row.revoked) continue;
    const bool in_flight = std::ranges::binary_search(surroundings_.recalls, key);
    if (row.recalled != in_flight)
      findings_.add("{}: {}", where(),
                    in_flight ? "a transaction recalls it, but the row does not say so"
                              : "recalled, but no transaction sees to it");
    if (std::exchange(file, key.inode) != key.inode) in_file = 0, writer = {};
    if (row.write) writer = key;
    if (++in_file > 1 && writer.inode == key.inode)
      findings_.add("{}: beside a delegation for writing", where());
  }
  return {};
}

// Nothing is left of a client that has ended, or a transaction removes it.
void ClientCheck::check_holders() {
  for (const auto& [states, what] : {std::pair(&files_.opens, "open"),
                                     {&files_.lock_states, "lock state"},
                                     {&files_.delegations, "delegation"}})
    for (const CheckedState& state : *states)
      if (!alive(state.client) && !expiring(state.client))
        findings_.add("{} {:x} of inode {}: its {} does not exist, and nobody removes what is left of it",
                      what, state.key.number, state.key.inode, describe(state.client));
}

// An open-owner knows how much it has open.
Result<void> ClientCheck::check_state_owners() {
  using Owner = std::pair<ClientId, uint64_t>;  // client and hash
  std::map<Owner, int64_t> opens;               // found, less what the owners say
  for (const CheckedState& open : files_.opens)
    if (const CheckedClient* client = find(open.client);
        client != nullptr && client->kind == ClientKind::version40)
      ++opens[{open.client, open.owner_hash}];
  state::RowReader<StateOwnerRow> rows(cs_.state_owners, damaged());
  while (TRY(rows.next())) {
    const StateOwnerRow::Key& key = rows.key();
    const StateOwnerRow& row = rows.row();
    const auto where = [&] { return fmt::format("state_owner row ({})", state::describe(key)); };
    const CheckedClient* client = find(key.client);
    if (client == nullptr && !expiring(key.client))
      findings_.add("{}: the client does not exist, and nobody removes what is left of it", where());
    if (client != nullptr && client->kind != ClientKind::version40)
      findings_.add("{}: the client's version has no such owners", where());
    if (key.hash != cs_.hash(row.owner)) findings_.add("{}: its owner is another one", where());
    if (row.closed != StateKey{}) closed_.emplace(row.closed, key);
    if (client != nullptr && row.opens != 0) opens[{key.client, key.hash}] -= row.opens;
  }
  for (const auto& [owner, missing] : opens)
    if (missing != 0)
      findings_.add("open-owner {:x} of {}: it has {} more open than it knows of", owner.second,
                    describe(owner.first), missing);
  return {};
}

Result<void> ClientCheck::check_closed_opens() {
  state::RowReader<ClosedOpenRow> rows(cs_.closed_opens, damaged());
  while (TRY(rows.next())) {
    auto it = closed_.find(rows.key());
    if (it == closed_.end() || it->second != rows.row().owner)
      findings_.add("closed_open row ({}): its owner does not know of it", state::describe(rows.key()));
    else
      closed_.erase(it);
    if (find(files_.opens, rows.key()) != nullptr)
      findings_.add("closed_open row ({}): it is open", state::describe(rows.key()));
  }
  for (const auto& [key, owner] : closed_)
    findings_.add("state_owner row ({}): there is no row for what it has closed", state::describe(owner));
  return {};
}

Result<void> ClientCheck::check_slots() {
  state::RowReader<SlotRow> rows(cs_.slots, damaged());
  std::vector<CheckSurroundings::SlotInUse> in_use;  // as the slots say
  while (TRY(rows.next())) {
    const SlotRow::Key& key = rows.key();
    const SlotRow& row = rows.row();
    ++checked_.figures.slots;
    const auto where = [&] { return fmt::format("slot {} of session {:#x}", key.slot, key.session.value); };
    const CheckedSession* session = find(key.session);
    if (session == nullptr) findings_.add("{}: the session does not exist", where());
    if (session == nullptr || !alive(session->client)) continue;
    if (key.slot >= session->slots) findings_.add("{}: it has only {} slots", where(), session->slots);
    if (row.in_progress == TransactionId(0)) {
      if (row.reply.empty()) findings_.add("{}: its last request has no reply", where());
      continue;
    }
    if (!in_flight(row.in_progress))
      findings_.add("{}: transaction {:#x} is to answer it, but is not in flight", where(),
                    row.in_progress.value);
    in_use.push_back({{key.session, key.slot, row.seqid, row.checksum}, row.in_progress});
  }
  for (const auto& [slot, transaction] : surroundings_.slots) {
    const CheckedSession* session = find(slot.session);
    // Ended meanwhile: nobody waits for the reply.
    if (session == nullptr || !alive(session->client)) continue;
    const bool known = std::ranges::any_of(in_use, [&](const auto& other) {
      return other.transaction == transaction && other.slot.session == slot.session &&
             other.slot.slot == slot.slot && other.slot.seqid == slot.seqid;
    });
    if (!known)
      findings_.add("transaction {:#x}: slot {} of session {:#x} does not wait for it", transaction.value,
                    slot.slot, slot.session.value);
  }
  return {};
}

}  // namespace

Result<Checked> check(ClientState& cs, const CheckSurroundings& surroundings, state::Findings& findings) {
  return ClientCheck(cs, surroundings, findings).run();
}

}  // namespace perdure::client
