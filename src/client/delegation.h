// Delegations (RFC 8881 §10.4): giving them, calling them back, and how they end.
//
// A delegation that is in somebody's way is recalled: its row says so, and in the same record begins a
// transaction that sees to its return (nfs4/recall.h). Whoever is hindered waits for its end, as a
// transaction in flight; after a crash it looks again. What its client does not return in time is revoked,
// and nothing else of that client.
#pragma once

#include <optional>

#include "client/client_state.h"

namespace perdure::client {

// What is to be done with a file: `reads` hinders only those who may write without asking.
enum class Use : uint8_t { reads, changes };

// Waits as long as other clients have delegations of the file that this would go past. To be asked before
// anything is changed. `is_own`: where the request does not say whose it is, who may be its client.
Outcome<void> recall_others(ClientState& cs, Run& run, ClientId client, InodeId inode, Use use,
                            const std::function<bool(ClientId)>& is_own = nullptr);

// Who may be changing the file without our knowing: of another client a write delegation that nobody has
// asked for yet. At most one.
struct Holder {
  StateKey key;
  ClientId client;
  uint64_t change = 0;  // the file's when it was given
};
Outcome<std::optional<Holder>> find_writing_holder(ClientState& cs, Run& run, ClientId client, InodeId inode,
                                                   const std::function<bool(ClientId)>& is_own = nullptr);

// `client` has just opened the file, which has this change attribute. Gives it a delegation, if that hinders
// nobody, the client can be called back, and nobody was in the way of one a moment ago.
Outcome<std::optional<Stateid>> delegate(ClientState& cs, Run& run, ClientId client, InodeId inode,
                                         bool write, uint64_t change);

// DELEGRETURN (§18.6). bad_stateid, old_stateid; of a revoked one: delegation_revoked. May fault in
// Hooks::released.
Outcome<void> delegreturn(ClientState& cs, Run& run, ClientId client, InodeId inode, const Stateid& stateid);

// FREE_STATEID of a revoked one; locks_held of any other.
Outcome<void> free_delegation(ClientState& cs, Run& run, ClientId client, const Stateid& stateid);

// It does not count any more, and its client is told so by SEQUENCE; one of NFSv4.0 has no way to hear of it
// and to free it: there it is gone. May fault in Hooks::released.
Outcome<void> revoke_delegation(ClientState& cs, Run& run, StateKey key, const DelegationRow& row);

// Erases its rows. May fault in Hooks::released.
Outcome<void> erase_delegation(ClientState& cs, Run& run, StateKey key, const DelegationRow& row);

}  // namespace perdure::client
