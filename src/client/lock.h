// LOCK, LOCKT, LOCKU: RFC 8881 §18.10 to §18.12. Locks are advisory, and requests never wait here: a client
// that wants to wait stands in line (lock_queue.h), and asks again when it is told to.
#pragma once

#include "client/client_state.h"
#include "client/lock_rows.h"

namespace perdure::client {

enum class LockType : uint8_t { read, write };

// The bytes that offset and length name. A length of all ones reaches to the end of the file, wherever that
// is.
//   invalid_argument    length 0, or beyond 2^64
Outcome<ByteRange> lock_range(uint64_t offset, uint64_t length);

// Who is in the way.
struct Conflict {
  ByteRange range = {};
  LockType type{};
  ClientId client = {};
  Bytes owner = {};  // valid until the run ends
};

struct LockArgs {
  ClientId client = {};
  InodeId inode = {};
  LockType type{};
  ByteRange range = {};
  bool reclaim = false;
  bool waits = false;    // READW_LT, WRITEW_LT
  Stateid stateid = {};  // the lock stateid; of a new lock-owner: the open stateid
  bool new_owner = false;
  Bytes owner = {};  // of a new lock-owner
};

// Either `conflict` is set, and no lock was changed (NFS4ERR_DENIED), or `stateid` is that of the lock state.
struct Locked {
  Stateid stateid = {};
  std::optional<Conflict> conflict = {};
};

// Status, with nothing changed:
//   bad_stateid, old_stateid, open_mode
//   grace, no_grace, expired    reclaim_complete.h
//   resource
// A lock-owner that is not new after all (it has a lock state in this file) goes on with what it has; from
// then on that stands on the open that was given.
Outcome<Locked> lock(ClientState& cs, Run& run, const LockArgs& args);

struct LocktArgs {
  ClientId client = {};
  InodeId inode = {};
  LockType type{};
  ByteRange range = {};
  Bytes owner = {};
};
Outcome<std::optional<Conflict>> lockt(ClientState& cs, Run& run, const LocktArgs& args);

//   bad_stateid, old_stateid
//   resource     unlocking the middle of a lock makes two, and there are too many
Outcome<Stateid> locku(ClientState& cs, Run& run, ClientId client, InodeId inode, const Stateid& stateid,
                       ByteRange range);

// The owner has the lock, or more.
Outcome<bool> has_lock(ClientState& cs, Run& run, const WantedLock& wanted);

// Erases the lock states that stand on an open, with their locks; `open` is not stored.
//   locks_held     they have more rows than one step may change
Outcome<void> erase_lock_states(ClientState& cs, Run& run, InodeId inode, uint32_t number,
                                const OpenRow& open);

// Erases at most `rows_max` LockRows of a lock state. True: there are none left.
Outcome<bool> erase_locks(ClientState& cs, Run& run, StateKey key, ClientId client, size_t rows_max);

}  // namespace perdure::client
