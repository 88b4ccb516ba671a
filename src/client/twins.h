// The volatile parts of client state: what is derived from the rows, and what only the running process knows.
//
// What is derived (counts, lock indexes, which sessions and clients there are) changes together with the
// rows, inside the run, and is taken back with them (Run::on_undo). Leases, connections and who is in flight
// are not taken back: an abandoned run executes again, and finds itself in flight.
#pragma once

#include <absl/container/flat_hash_map.h>
#include <absl/container/inlined_vector.h>

#include <deque>
#include <list>
#include <memory>
#include <vector>

#include "client/lock_index.h"
#include "client/rows.h"
#include "env/env.h"

namespace perdure::client {

using ConnectionId = Strong<struct ConnectionIdTag>;  // given by the server to each connection; 0: none

// A slot as it really stands. Ahead of the SlotRow by the requests that changed nothing.
struct SlotTwin {
  enum class Reply : uint8_t {
    none,  // not cached
    row,   // in the SlotRow
    here,  // of a request that changed nothing
  };
  uint32_t seqid = 0;     // of the last request, in flight or finished
  uint32_t checksum = 0;  // of its bytes
  TransactionId in_flight;
  bool used = false;      // there was a request
  bool may_jump = false;  // restored, and no new request since (DESIGN.md §10 rule 14)
  Reply reply_is = Reply::none;
  Lsn release;                                      // what must be durable before `reply` may leave
  ByteVector reply;                                 // Reply::here
  absl::InlinedVector<TransactionId, 1> followers;  // retransmissions that wait for the one in flight
};

// What the session of an address knows of its slots (duplicate_requests.h).
struct UnsequencedSlots {
  static uint64_t name(uint32_t xid, uint32_t checksum) { return uint64_t{xid} << 32U | checksum; }
  absl::flat_hash_map<uint64_t, uint32_t> by_name;  // of those that are used
  std::deque<uint32_t> oldest_first;                // that are not in flight; the free ones stand in front
};

struct SessionTwin {
  struct Connection {
    ConnectionId id;
    bool fore = false, back = false;
  };
  ClientId client;
  std::vector<SlotTwin> slots;
  absl::InlinedVector<Connection, 2> connections;
  std::unique_ptr<UnsequencedSlots> unsequenced;  // of an address's session
};

// What a client holds: a session (inode 0, owner_hash its number), a lock state, an open or a delegation
// (owner_hash 0). For expiry, and to find an owner's open or lock state in a file.
struct HeldState {
  ClientId client;
  StateKind kind{};
  InodeId inode;
  uint64_t owner_hash = 0;
  uint32_t number = 0;
  auto operator<=>(const HeldState&) const = default;
};

struct ClientTwin {
  ClientKind kind{};
  bool courtesy = false;  // it may go on beyond its lease: confirmed, and no address
  env::Instant renewed;   // by the lease clock: the lease runs from here
  Lsn told;  // its last finished request is answered when this is durable: until then the lease does not end
  std::list<ClientId>::iterator place;  // in the list of clients, least recently renewed first
  uint32_t in_flight = 0;               // transactions; meanwhile the lease does not end
  bool expiring = false;                // given to a job that decides whether it ends
  uint32_t sessions = 0;
  uint64_t opens = 0, lock_states = 0, locks = 0;
  uint64_t delegations = 0;  // revoked ones included
  uint64_t revoked = 0;
  ConnectionId callback_link;         // of a client of NFSv4.0: over which it can be called
  bool callback_link_failed = false;  // there is none: it was tried
  uint32_t async_copies = 0;          // that are under way (nfs4/async_copy.h)
  Lsn held_changed;                   // the newest record that changed what it holds
  uint64_t owners = 0;                // StateOwnerRows
  StateOwnerRow::Key next_owner{};    // where the search for an idle one goes on
};

// The opens, locks and delegations of one file, counted.
struct FileTwin {
  uint32_t opens = 0;
  uint32_t delegations = 0;                  // that are not revoked
  std::array<uint32_t, 2> access{}, deny{};  // opens with the bit: read, write
  LockIndex read_locks, write_locks;
  // The newest record that changed a deny mode or a lock: who is told that there is none waits for it. (Who
  // is affected by access modes changes something himself, and waits for that.)
  Lsn changed;
  env::Instant no_delegations_until;  // somebody was in the way of one a moment ago
  bool empty() const { return opens == 0 && delegations == 0 && read_locks.empty() && write_locks.empty(); }
};

}  // namespace perdure::client
