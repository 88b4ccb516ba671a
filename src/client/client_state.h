// ClientState: the frame of NFS client state: its tables, the volatile parts beside them, ids and limits. The
// operations are free functions over it, one file each: exchange_id.h, create_session.h, sequence.h, open.h,
// lock.h, ... No XDR: arguments and results are plain values, errors are Status.
//
// Promises: what a client was told to hold is a row, so it is still there after a crash; nobody needs to
// reclaim anything (DESIGN.md §5). The tables are resident: nothing here faults, except where a hook does.
// Invariants:
//   a SessionRow, OpenRow, LockStateRow or DelegationRow is there  <=>  held() names it
//   a session has a SessionTwin  <=>  its client is there
//   FileTwin::opens == number of the file's OpenRows; its lock indexes hold the locks of its LockRows, but
//   for those of dead clients that were met and dropped OpenRow::lock_states == number of LockStateRows that
//   stand on it (of a client that is there)
// Thread: the vserver's loop. All functions that take a Run are called inside it.
#pragma once

#include <absl/container/btree_set.h>
#include <absl/container/flat_hash_map.h>

#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <vector>

#include "base/siphash.h"
#include "client/lease_clock.h"
#include "client/lock_queue.h"
#include "client/rows.h"
#include "client/slots.h"
#include "client/twins.h"
#include "state/table.h"

namespace perdure::client {

using state::Run;

class ClientState {
 public:
  // What client state asks of the layers above it.
  struct Hooks {
    // The last open of a file is gone (fs::released). May fault.
    std::function<Outcome<void>(Run&, InodeId)> released;
    // Starts, within this run, the job that removes what is left of a client (expire.h).
    std::function<void(Run&, ClientId)> start_expire;
    // Starts, within this run, the transaction that recalls a delegation (nfs4/recall.h). Left out: none is
    // given.
    std::function<void(Run&, ClientId, StateKey)> start_recall;
    // Starts, within this run, the transaction that waits for a lock (nfs4/lock_wait.h). Left out: nobody is
    // told when he may have it.
    std::function<void(Run&, WantedLock)> start_lock_wait;
    // Somebody wants to call a client of NFSv4.0, and there is no connection to it (callback_link()).
    std::function<void(ClientId)> want_callback_link;
    // A waiting transaction can go on.
    std::function<void(TransactionId)> resume;
  };
  struct Options {
    bool persistent = true;  // sessions survive: not at durability level memory
    uint32_t lease_seconds = 90;
    // So long, beyond its lease, a client keeps what it has as long as nobody needs it (gives_way()).
    uint32_t courtesy_seconds = 0;
    uint32_t clients_max = 100'000;
    uint32_t sessions_per_client_max = 16;
    uint32_t slots_per_session_max = 64;  // at most 1024
    // Where all sessions together have more, each is asked to use its share only (slots_wanted()).
    uint32_t slots_total = 65'536;
    uint32_t opens_per_client_max = 2'000'000;
    uint32_t lock_states_per_client_max = 2'000'000;
    uint32_t locks_per_client_max = 4'000'000;
    bool delegations = true;
    uint32_t delegations_per_client_max = 100'000;
    // Waits for locks of which the server knows; whoever waits beside them asks again and again.
    uint32_t lock_waits_max = 16'384, lock_waits_per_client_max = 256, lock_waits_per_file_max = 256;
    uint32_t lock_rows_per_owner_max = 131'072;  // in one file: all of them fit into one record
    uint32_t request_bytes_max = (1U << 20U) + 8192, response_bytes_max = (1U << 20U) + 8192;
    uint32_t cached_response_bytes_max = 64U << 10U;
    uint32_t operations_max = 128;
    uint32_t requests_per_address_max = 1024;  // outside sessions: so many replies are kept; at most 1024
    uint32_t owners_per_client_max = 65'536;   // of an NFSv4.0 client
    uint64_t hash_mask = UINT64_MAX;           // of owners; tests let them collide
  };

  // Tables register with `database`.
  ClientState(env::Env& env, state::Database& database, Options options, Hooks hooks);
  ~ClientState();

  // In which this primary serves: it makes ids unique. Below 2^32. Before any run.
  void set_epoch(Epoch epoch) {
    CHECK(epoch.value < (uint64_t{1} << 32U));
    epoch_ = epoch;
  }
  // The vserver's secret: the same at every start. Before anything is hashed, so before restored().
  void set_key(SipKey key) { key_ = key; }
  // After restoration (the tables are loaded and the log is redone): makes the volatile parts from the rows.
  // Leases run from now.
  void restored();

  const Options& options() const { return options_; }
  Hooks& hooks() { return hooks_; }
  env::Env& env() { return env_; }

  // ---- slots: slots.h says what a handle is

  // The transaction goes on after a first record: that record says that the slot is in use.
  void mark_in_progress(Run& run, const SlotHandle& slot, TransactionId transaction);
  // The transaction ends with this run. `changed`: it has changed a row, in this run or an earlier one; then
  // its reply is kept in the slot's row in any case. Otherwise it is kept in memory if `cached`.
  void finish(Run& run, const SlotHandle& slot, ByteVector reply, bool changed, bool cached);
  // A request of `transaction` begins on the slot, which is not in flight.
  void begin_request(SlotTwin& slot, ClientId client, TransactionId transaction, uint32_t seqid,
                     uint32_t checksum);
  // Of the last request on the slot, which has finished. Valid until the run ends.
  //   retry_uncached    it was not kept
  Outcome<Bytes> cached_reply(Run& run, const SlotRow::Key& key, const SlotTwin& slot);
  // A retransmission waits for this transaction's reply: it should be cached.
  bool has_followers(const SlotHandle& slot) const;
  // The transaction that was in flight on the slot at a crash has been restored.
  void resumed(const SlotHandle& slot, TransactionId transaction);

  // ---- connections (volatile)

  // Gives the connection to the session, as a fore or back channel or both; once is enough.
  void bind_connection(SessionNumber session, ConnectionId connection, bool fore, bool back);
  void connection_closed(ConnectionId connection);
  // Over this connection a client of NFSv4.0 can be called. 0: over none, as far as is known.
  void callback_link(ClientId client, ConnectionId connection);
  // It cannot be called: it was tried.
  void callback_link_failed(ClientId client);
  // A connection over which the client can be called; nullopt: there is none now. `session`: only of this
  // one. A client of NFSv4.0 has none, and is called over a connection that the server has made.
  struct BackPath {
    SessionNumber session;
    ConnectionId connection;
  };
  Outcome<std::optional<BackPath>> back_path(Run& run, ClientId client, SessionNumber session = {});
  // It has a session with a back channel, though perhaps no connection for that now.
  Outcome<bool> may_be_called(Run& run, ClientId client);
  // The session's connection has not carried a call to the client.
  void back_path_failed(const BackPath& path);

  // The run of this LSN has made a record.
  bool is_logged(Lsn lsn) const;
  bool is_durable(Lsn lsn) const;
  void when_durable(Lsn lsn, env::Task task);

  // ---- who waits (volatile: after a restart transactions look again)

  // For a delegation of the file to end; for a back path to the client.
  void wait_for_delegations(const Run& run, InodeId inode);
  void wait_for_back_path(const Run& run, ClientId client);
  // Whoever waits for a back path to the client looks again.
  void back_path_changed(ClientId client);
  bool awaits_delegations(InodeId inode) const { return delegation_waiters_.contains(inode); }
  // When the run commits, whoever waits for the file's delegations looks again.
  void delegation_ended(Run& run, InodeId inode);
  LockQueues& lock_queues() { return lock_queues_; }
  // A lock or an open of the file, or somebody's turn to have a lock, has ended: whoever waits looks again.
  // `called`: also who was told that it is his turn.
  void locks_freed(InodeId inode, bool called = false);

  // ---- leases

  void renew_lease(ClientId client);
  // The run ends a request that came without SEQUENCE (EXCHANGE_ID, CREATE_SESSION): the client's lease does
  // not end before its answer has left.
  void answer(Run& run, ClientId client);
  LeaseClock& lease_clock() { return lease_clock_; }
  // The one place that decides whether a client may be expired now, because somebody needs what it has.
  bool lease_has_ended(ClientId client) const;
  // The same, though nobody needs it: the time of courtesy has ended as well.
  bool courtesy_has_ended(ClientId client) const;
  // Up to `max` of those, each to be given to a job (expire.h). Each is named once, until its job has run.
  std::vector<ClientId> take_expired(size_t max);
  // The client, which is there, is in somebody's way. True: its lease had ended when leases were looked at
  // last (take_expired()), and so has, with this run, the client. Only then is it known that nothing from it
  // waits where nobody has looked: the process may have stood still a moment ago.
  Outcome<bool> gives_way(Run& run, ClientId client);
  // There is room for one more client; for that, a client whose lease has ended may be ended.
  //   delay
  Outcome<void> make_room_for_client(Run& run, size_t freed);

  // ---- for the operations

  // nullptr: no such client.
  Outcome<const ClientRow*> find_client(Run& run, ClientId client) { return clients.get(run, {client}); }
  struct FoundSession {
    SessionNumber number;
    const SessionRow* row;
  };
  // Status::bad_session: none with this id, or its client is gone.
  Outcome<FoundSession> find_session(Run& run, const SessionId& id);
  SessionId make_session_id(SessionNumber session, ClientId client) const;
  ClientId new_client_id() { return ClientId((epoch_.value << 32U) | ++last_client_); }
  // It may be the id of a client that has ended.
  bool may_have_given(ClientId client) const;
  // An earlier start has made it.
  bool is_older(ClientId client) const { return client.value >> 32U != epoch_.value; }
  uint64_t new_confirm_verifier();
  SessionNumber new_session_number() { return SessionNumber((epoch_.value << 32U) | ++last_session_); }
  // The number of a new open or lock state in a file. Used numbers do not come back for a long time: a
  // stateid that has ended, or that an earlier start has given, names nothing.
  Outcome<uint32_t> new_state_number(Run& run, StateKind kind, InodeId inode);
  uint64_t hash(Bytes owner) const { return siphash(key_, owner) & options_.hash_mask; }

  // The row is gone from this run on, and its sessions answer no more; what belongs to it no longer counts.
  // Its owner's row is kept true. `start_job`: if there is anything left to remove, starts the job that does
  // it.
  Outcome<void> remove_client(Run& run, ClientId client, const ClientRow& row, bool start_job);
  // The client, which is there, has a session, open, lock state or delegation.
  bool holds_anything(Run& run, ClientId client);
  // It has the file open, without which it can have no lock there.
  bool has_open(ClientId client, InodeId inode) const;
  // There is anything of it beside its ClientRow.
  Outcome<bool> has_rows(Run& run, ClientId client);
  void erase_state_owner(Run& run, const StateOwnerRow::Key& key, const StateOwnerRow& row);
  // The rows of a session that has no slots any more.
  void erase_session(Run& run, SessionNumber session, ClientId client);
  // What all clients hold, in order. Looking at it observes nothing: whoever gets the row of what is there
  // does.
  const absl::btree_set<HeldState>& held() const { return held_; }

  // The volatile parts, changed at once and taken back with the run.
  // Together with the row of what is held.
  void hold(Run& run, const HeldState& held);
  void let_go(Run& run, const HeldState& held);
  void add_client(Run& run, ClientId client, ClientKind kind);
  // From now on it is shown courtesy.
  void client_confirmed(Run& run, ClientId client);
  void add_session(Run& run, SessionNumber session, ClientId client, size_t slots);
  void add_unsequenced_session(Run& run, SessionNumber session, ClientId client);
  // Nothing is answered through it any more.
  void drop_session(Run& run, SessionNumber session, ClientId client);
  void count_open(Run& run, InodeId inode, ClientId client, uint8_t access, uint8_t deny, bool more);
  void count_lock_state(Run& run, ClientId client, bool more);
  void count_state_owner(Run& run, ClientId client, bool more);
  void count_delegation(Run& run, InodeId inode, const DelegationRow& row, bool more);
  void pause_delegations(InodeId inode, env::Duration pause);
  struct LockChange {
    LockIndex::Lock lock;
    bool write = false, added = false;
  };
  void change_locks(Run& run, InodeId inode, ClientId client, std::vector<LockChange> changes);

  ClientTwin* client_twin(ClientId client);
  const ClientTwin* client_twin(ClientId client) const;
  SessionTwin* session_twin(SessionNumber session);
  // So many slots of it the server would have its client use at present, at least one: all, or its share
  // (RFC 8881 §2.10.6.1, §18.46: sr_target_highest_slotid).
  uint32_t slots_wanted(const SessionTwin& session) const;
  SlotTwin* slot_twin(const SlotHandle& slot);
  const SlotTwin* slot_twin(const SlotHandle& slot) const;
  // nullptr: no open and no lock. What the run sees thereby is observed.
  const FileTwin* file_twin(Run& run, InodeId inode);

  struct Figures {
    size_t clients = 0, sessions = 0, opens = 0, lock_states = 0, lock_rows = 0, delegations = 0;
    uint64_t replays = 0, expired = 0;
  };
  Figures figures() const;
  uint64_t replays = 0, expired = 0;  // since the start

  // Every derived part in words, in order: the same before and after a restart (tests, perdure check).
  std::string describe_twins() const;

  state::Table<ClientRow> clients;
  state::Table<ClientOwnerRow> client_owners;
  state::Table<SessionRow> sessions;
  state::Table<SlotRow> slots;
  state::Table<OpenRow> opens;
  state::Table<LockStateRow> lock_states;
  state::Table<LockRow> locks;
  state::Table<DelegationRow> delegations;
  state::Table<BackSlotRow> back_slots;
  state::Table<StateOwnerRow> state_owners;
  state::Table<ClosedOpenRow> closed_opens;

 private:
  void finished(const SlotHandle& slot, TransactionId transaction, Lsn release, Lsn told,
                SlotTwin::Reply reply_is, ByteVector reply);
  void answered(ClientId client, Lsn told);
  bool was_told(const ClientTwin& twin) const;
  bool is_renewed(const ClientTwin& twin) const;
  void insert_client(ClientId client, std::unique_ptr<ClientTwin> twin);
  std::unique_ptr<ClientTwin> extract_client(ClientId client);
  void insert_new_session(Run& run, SessionNumber session, std::unique_ptr<SessionTwin> twin);
  void insert_session(SessionNumber session, std::unique_ptr<SessionTwin> twin);
  std::unique_ptr<SessionTwin> extract_session(SessionNumber session);
  void apply_open(InodeId inode, ClientId client, uint8_t access, uint8_t deny, bool more, Lsn lsn);
  void apply_locks(InodeId inode, ClientId client, const std::vector<LockChange>& changes, bool undo,
                   Lsn lsn);
  void apply_delegation(InodeId inode, const DelegationRow& row, bool more);
  FileTwin& touch_file(InodeId inode, Lsn lsn);
  void drop_if_empty(InodeId inode);

  env::Env& env_;
  state::Database& database_;
  Options options_;
  Hooks hooks_;
  SipKey key_;
  uint64_t last_client_ = 0, last_session_ = 0, last_confirm_ = 0;
  Epoch epoch_;
  uint32_t last_state_ = 0;
  absl::flat_hash_map<ClientId, std::unique_ptr<ClientTwin>> client_twins_;
  LeaseClock lease_clock_{env_};
  env::Instant leases_judged_{};  // when take_expired() was called last, by the lease clock
  // Least recently renewed first: those that are due when their lease has ended, and those who are shown
  // courtesy.
  std::array<std::list<ClientId>, 2> by_lease_;
  absl::flat_hash_map<SessionNumber, std::unique_ptr<SessionTwin>> session_twins_;
  absl::btree_set<HeldState> held_;
  absl::flat_hash_map<InodeId, std::unique_ptr<FileTwin>> file_twins_;
  absl::flat_hash_map<ConnectionId, absl::InlinedVector<SessionNumber, 1>> connections_;
  LockQueues lock_queues_;
  using Waiting = absl::InlinedVector<TransactionId, 1>;
  absl::flat_hash_map<InodeId, Waiting> delegation_waiters_;
  absl::flat_hash_map<ClientId, Waiting> back_path_waiters_;
  Lsn emptied_;  // the newest FileTwin::changed of those that are gone
};

}  // namespace perdure::client
