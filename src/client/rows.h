// The rows of client state. All are resident: reading them never faults. Their encodings follow from fields()
// (state/codec.h, docs/formats/rows.md).
//
// Whatever names a client whose ClientRow is not there counts as not there: erasing that one row is how a
// client ends, and the rest is removed step by step afterwards (expire.h).
#pragma once

#include <string>
#include <vector>

#include "client/stateid.h"
#include "state/table_id.h"

namespace perdure::client {

using state::Residence;
using state::TableId;

using SessionId = std::array<uint8_t, 16>;

// What made a client's record.
enum class ClientKind : uint8_t {
  session = 0,    // EXCHANGE_ID: NFSv4.1 and later
  version40 = 1,  // SETCLIENTID: NFSv4.0
  address = 2,    // a request outside any session: all of those from one address (duplicate_requests.h)
};

// The record of RFC 8881 §18.35.4: {ownerid, verifier, principal, clientid, confirmed}, and that of RFC 7530
// §16.33.5: {v, x, c, k, s}.
struct ClientRow {
  static constexpr TableId table = TableId::client;
  static constexpr Residence residence = Residence::resident;
  static constexpr const char* name = "client";
  struct Key {
    ClientId client;
    auto operator<=>(const Key&) const = default;
    template <class Self, class V>
    static void fields(Self& k, V&& v) {
      v("client", k.client);
    }
  };
  ClientKind kind{};
  ByteVector owner;            // co_ownerid; nfs_client_id4.id; the address
  uint64_t verifier = 0;       // co_verifier
  std::string principal;       // who called EXCHANGE_ID: flavor and name, as nfs4/ writes it
  std::string implementation;  // eia_client_impl_id as words, for people
  bool confirmed = false;
  bool reclaim_complete = false;
  uint32_t create_seqid = 0;  // of the last CREATE_SESSION, and its result; empty: there was none
  ByteVector create_reply;
  // NFSv4.0: setclientid_confirm and how it is called back, as nfs4/ writes it; and of an update that is not
  // confirmed yet (0: there is none).
  uint64_t confirm = 0, next_confirm = 0;
  ByteVector callback, next_callback;
  template <class Self, class V>
  static void fields(Self& r, V&& v) {
    v("kind", r.kind), v("owner", r.owner), v("verifier", r.verifier), v("principal", r.principal);
    v("implementation", r.implementation), v("confirmed", r.confirmed);
    v("reclaim_complete", r.reclaim_complete), v("create_seqid", r.create_seqid);
    v("create_reply", r.create_reply), v("confirm", r.confirm), v("next_confirm", r.next_confirm);
    v("callback", r.callback), v("next_callback", r.next_callback);
  }
  size_t heap_bytes() const {
    return owner.capacity() + principal.capacity() + implementation.capacity() + create_reply.capacity() +
           callback.capacity() + next_callback.capacity();
  }
};

// Which clients have this owner: at most one confirmed and one unconfirmed (0: none), never neither. Owners
// with the same hash are told apart by n, and by the owner in their ClientRow.
struct ClientOwnerRow {
  static constexpr TableId table = TableId::client_owner;
  static constexpr Residence residence = Residence::resident;
  static constexpr const char* name = "client_owner";
  struct Key {
    uint64_t hash = 0;
    uint32_t n = 0;
    auto operator<=>(const Key&) const = default;
    template <class Self, class V>
    static void fields(Self& k, V&& v) {
      v("hash", k.hash), v("n", k.n);
    }
  };
  ClientId confirmed, unconfirmed;
  template <class Self, class V>
  static void fields(Self& r, V&& v) {
    v("confirmed", r.confirmed), v("unconfirmed", r.unconfirmed);
  }
};

// As in RFC 8881's channel_attrs4.
struct ChannelAttributes {
  uint32_t request_bytes_max = 0, response_bytes_max = 0, cached_response_bytes_max = 0;
  uint32_t operations_max = 0, slots = 0;
  bool operator==(const ChannelAttributes&) const = default;
  template <class Self, class V>
  static void fields(Self& a, V&& v) {
    v("request_bytes_max", a.request_bytes_max), v("response_bytes_max", a.response_bytes_max);
    v("cached_response_bytes_max", a.cached_response_bytes_max), v("operations_max", a.operations_max);
    v("slots", a.slots);
  }
};

struct SessionRow {
  static constexpr TableId table = TableId::session;
  static constexpr Residence residence = Residence::resident;
  static constexpr const char* name = "session";
  struct Key {
    SessionNumber session;
    auto operator<=>(const Key&) const = default;
    template <class Self, class V>
    static void fields(Self& k, V&& v) {
      v("session", k.session);
    }
  };
  ClientId client;
  SessionId id{};
  ChannelAttributes fore, back;
  bool persistent = false;     // CREATE_SESSION4_FLAG_PERSIST was granted
  bool back_channel = false;   // CREATE_SESSION4_FLAG_CONN_BACK_CHAN was granted
  uint32_t minor_version = 1;  // in which it was made, and in which callbacks are made
  uint32_t callback_program = 0;
  ByteVector callback_security;  // what callbacks authenticate with, as nfs4/ writes it
  template <class Self, class V>
  static void fields(Self& r, V&& v) {
    v("client", r.client), v("id", r.id), v("fore", r.fore), v("back", r.back);
    v("persistent", r.persistent), v("back_channel", r.back_channel);
    v("minor_version", r.minor_version), v("callback_program", r.callback_program);
    v("callback_security", r.callback_security);
  }
  size_t heap_bytes() const { return callback_security.capacity(); }
};

// The last request on a slot that changed anything. Later ones that changed nothing are in the slot's
// volatile twin only (slots.h). No row: there was none.
struct SlotRow {
  static constexpr TableId table = TableId::slot;
  static constexpr Residence residence = Residence::resident;
  static constexpr const char* name = "slot";
  struct Key {
    SessionNumber session;
    uint32_t slot = 0;
    auto operator<=>(const Key&) const = default;
    template <class Self, class V>
    static void fields(Self& k, V&& v) {
      v("session", k.session), v("slot", k.slot);
    }
  };
  uint32_t seqid = 0;
  uint32_t checksum = 0;  // of the request
  TransactionId
      in_progress;  // the transaction that executes it, 0: it has finished, and `reply` is its reply
  ByteVector reply;
  template <class Self, class V>
  static void fields(Self& r, V&& v) {
    v("seqid", r.seqid), v("checksum", r.checksum), v("in_progress", r.in_progress), v("reply", r.reply);
  }
  size_t heap_bytes() const { return reply.capacity(); }
};

struct StateKey {
  InodeId inode;
  uint32_t number = 0;
  auto operator<=>(const StateKey&) const = default;
  template <class Self, class V>
  static void fields(Self& k, V&& v) {
    v("inode", k.inode), v("number", k.number);
  }
};

// All that one open-owner has opened of one file. The bits of access and deny are those of the protocol:
// 1 read, 2 write.
struct OpenRow {
  static constexpr TableId table = TableId::open;
  static constexpr Residence residence = Residence::resident;
  static constexpr const char* name = "open";
  using Key = StateKey;
  ClientId client;
  ByteVector owner;
  std::string principal;  // who opened it first
  uint8_t access = 0, deny = 0;
  uint16_t history = 0;      // bit 4 * access + deny: opened this way, and not downgraded since (open.h)
  uint32_t seqid = 0;        // of the stateid
  uint32_t lock_states = 0;  // LockStateRows that stand on it
  template <class Self, class V>
  static void fields(Self& r, V&& v) {
    v("client", r.client), v("owner", r.owner), v("principal", r.principal), v("access", r.access);
    v("deny", r.deny), v("history", r.history), v("seqid", r.seqid), v("lock_states", r.lock_states);
  }
  size_t heap_bytes() const { return owner.capacity(); }
};

// A lock-owner's locks in one file.
struct LockStateRow {
  static constexpr TableId table = TableId::lock_state;
  static constexpr Residence residence = Residence::resident;
  static constexpr const char* name = "lock_state";
  using Key = StateKey;
  ClientId client;
  ByteVector owner;
  uint32_t open = 0;   // number of the open that it stands on
  uint32_t seqid = 0;  // of the stateid
  uint32_t rows = 0;   // LockRows
  template <class Self, class V>
  static void fields(Self& r, V&& v) {
    v("client", r.client), v("owner", r.owner), v("open", r.open), v("seqid", r.seqid), v("rows", r.rows);
  }
  size_t heap_bytes() const { return owner.capacity(); }
};

// Up to ranges_max locks of one lock-owner, in order and disjoint. The rows of a lock-owner divide the file
// at their starts: a lock stands in the row with the largest start <= its first byte. Keyed downwards, so
// that this row, and then those below it, are one forward search (lock_rows.h).
struct LockRow {
  static constexpr TableId table = TableId::lock;
  static constexpr Residence residence = Residence::resident;
  static constexpr const char* name = "lock";
  static constexpr size_t ranges_max = 32;
  struct Key {
    InodeId inode;
    uint32_t number = 0;     // of the LockStateRow
    uint64_t not_start = 0;  // ~start
    auto operator<=>(const Key&) const = default;
    template <class Self, class V>
    static void fields(Self& k, V&& v) {
      v("inode", k.inode), v("number", k.number), v("not_start", k.not_start);
    }
  };
  std::vector<uint64_t> bounds;  // first and last byte of each
  uint32_t write = 0;            // bit i: the i-th one is a write lock
  template <class Self, class V>
  static void fields(Self& r, V&& v) {
    v("bounds", r.bounds), v("write", r.write);
  }
  size_t heap_bytes() const { return bounds.capacity() * sizeof(uint64_t); }
};

// What a client was delegated of a file (RFC 8881 §10.4): it need not ask before it opens, locks and reads
// it, nor, if `write`, before it changes it.
struct DelegationRow {
  static constexpr TableId table = TableId::delegation;
  static constexpr Residence residence = Residence::resident;
  static constexpr const char* name = "delegation";
  using Key = StateKey;
  ClientId client;
  bool write = false;
  bool recalled = false;  // a transaction is at work on its return (recall.h)
  bool revoked = false;   // it counts no more; the client is to free its stateid
  uint64_t change = 0;    // of the file, as its client knows it
  template <class Self, class V>
  static void fields(Self& r, V&& v) {
    v("client", r.client), v("write", r.write), v("recalled", r.recalled), v("revoked", r.revoked);
    v("change", r.change);
  }
};

// The one slot of a session's back channel that is used. No row: it was never used.
struct BackSlotRow {
  static constexpr TableId table = TableId::back_slot;
  static constexpr Residence residence = Residence::resident;
  static constexpr const char* name = "back_slot";
  using Key = SessionRow::Key;
  uint32_t seqid = 0;    // of the last callback that may have been sent
  TransactionId holder;  // whose callback it is, until it is answered; 0: nobody's
  template <class Self, class V>
  static void fields(Self& r, V&& v) {
    v("seqid", r.seqid), v("holder", r.holder);
  }
};

// An open-owner or lock-owner of an NFSv4.0 client (RFC 7530 §9.1.5): the order of its requests, and the
// result of the last one (owner_sequence.h). Owners with the same hash are told apart by n, and by the owner.
struct StateOwnerRow {
  static constexpr TableId table = TableId::state_owner;
  static constexpr Residence residence = Residence::resident;
  static constexpr const char* name = "state_owner";
  struct Key {
    ClientId client;
    uint8_t kind = 0;  // StateKind: open or lock
    uint64_t hash = 0;
    uint32_t n = 0;
    auto operator<=>(const Key&) const = default;
    template <class Self, class V>
    static void fields(Self& k, V&& v) {
      v("client", k.client), v("kind", k.kind), v("hash", k.hash), v("n", k.n);
    }
  };
  ByteVector owner;
  uint32_t seqid = 0;            // of its last request
  bool confirmed = false;        // a lock-owner is from the beginning
  std::vector<uint64_t> inodes;  // of a lock-owner: the files in which it has a lock state
  uint32_t opens = 0;            // of an open-owner
  InodeId opened;                // by its last request, if that was an OPEN
  StateKey closed;               // by its last request, if that was a CLOSE
  ByteVector result;             // of its last request: nfs_resop4
  Lsn settled;                   // of the record of its last request
  template <class Self, class V>
  static void fields(Self& r, V&& v) {
    v("owner", r.owner), v("seqid", r.seqid), v("confirmed", r.confirmed), v("inodes", r.inodes);
    v("opens", r.opens), v("opened", r.opened), v("closed", r.closed), v("result", r.result);
    v("settled", r.settled);
  }
  size_t heap_bytes() const {
    return owner.capacity() + inodes.capacity() * sizeof(uint64_t) + result.capacity();
  }
};

// Whose last request closed this open: so that the owner of a CLOSE that comes again is found.
struct ClosedOpenRow {
  static constexpr TableId table = TableId::closed_open;
  static constexpr Residence residence = Residence::resident;
  static constexpr const char* name = "closed_open";
  using Key = StateKey;
  StateOwnerRow::Key owner;
  template <class Self, class V>
  static void fields(Self& r, V&& v) {
    v("owner", r.owner);
  }
};

}  // namespace perdure::client
