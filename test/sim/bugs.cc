#include "sim/bugs.h"

#include <fmt/format.h>

#include <algorithm>

namespace perdure::sim {

const std::vector<Bug>& bugs() {
  static const std::vector<Bug> all{
      // The log.
      {13, "a reply leaves before the log is durable", "nobody is told what a crash could take back", ""},
      {1, "the log is not synced", "a batch is durable when its write is done", ""},
      {1, "a failed log write is ignored", "a failed write of the log is never repeated or passed over", ""},
      {1, "a batch is durable before those in front of it", "batches become durable in their order", ""},
      {1, "a torn batch is taken", "the log ends at a torn batch", ""},
      {1, "a dead tail comes back to life", "the log ends at a broken chain or an older start number", ""},
      {1, "a damaged batch ends the log", "damage before the durable point is an error", ""},
      {1, "a start number is not durable", "a start number is durable before its first record", ""},
      {1, "what a start has read is not made durable", "what a start has read is durable", ""},
      {2, "a start does not wait for the writes of the dead process",
       "what a dead process writes lands before a start reads", ""},
      {7, "redo leaves out what was erased", "restoration redoes every change", ""},
      {5, "no room in the log is reserved", "transactions in flight always have room in the log", "flood"},
      // Checkpoints and caches.
      {6, "a checkpoint does not wait for the log", "a checkpoint is applied once its LSN is durable", ""},
      {7, "a checkpoint leaves out what was erased", "a checkpoint has every change", ""},
      {6, "a checkpoint counts as applied with its first part", "the applied LSN is in the last part",
       "growth"},
      {6, "the log's tail moves before the checkpoint is applied", "the tail moves behind the checkpoint",
       "flood"},
      {7, "a fetch is not repeated after a checkpoint", "a fetch sees the newest checkpoint", ""},
      {8, "what a faulted run needs is evicted", "fetched rows stay until their run has used them", "growth"},
      // File data.
      {9, "an extent names a block before it is flushed", "an extent names only blocks that are on disk",
       "files"},
      {11, "a freed block is used again at once", "a freed block waits for its checkpoint", "flood"},
      {11, "a freed block is used while it is being read", "a freed block waits for the I/O on it", "flood"},
      {9, "a block's checksum is not checked", "data is checked whenever it comes from the store", "files"},
      {10, "write-back maps a page that has changed", "a page is mapped as it is now", "files"},
      {18, "delegations are not recalled", "what is in a delegation's way waits for its return",
       "delegations"},
      {15, "a restart forgets delegations", "what a client was told to hold it holds after a restart",
       "delegations"},
      {11, "a shared block is not counted", "a block is free when no extent names it any more", "clones"},
      {10, "a truncated block keeps its end", "what lies behind the end of a file reads as zeros", ""},
      {9, "the write verifier stays after a crash", "lost unstable data changes the verifier", "files"},
      {5, "no blocks are reserved", "NFS4ERR_NOSPC comes at admission", "full"},
      {3, "a reclaim is forgotten at a restart", "each row of `transactions` goes on", "files"},
      {4, "a removed file leaves its extended attributes behind", "an object goes with all that it has",
       "xattrs"},
      {12, "change attributes begin anew with each start", "a change attribute is never given again",
       "exclusive"},
      {12, "what a client has changed gets no new change attribute",
       "what a client has changed in its own memory has a change attribute of its own", "delegated_sizes"},
      {12, "a change attribute that was told with a client's size stays",
       "a change attribute that was told with a client's size belongs to nothing else", "delegated_sizes"},
      // Steps and replies.
      {4, "an operation that fails keeps its changes", "an error takes an operation back to its savepoint",
       "shares"},
      {4, "a rename takes two steps", "an operation takes effect in one step", "tree"},
      {3, "a transaction that goes on forgets whose it is", "a machine has its user", "acls"},
      {13, "an absence does not count as read", "absences count as read for the release of replies",
       "glances"},
      {13, "a replay does not count as read", "replays wait for what they tell", "glances"},
      {14, "the slot is not in the record", "effect, slot and reply are one record", ""},
      {3, "the slot of a transaction in flight is not in its record",
       "a first record says that its slot is in use", "files"},
      {14, "a slot takes any sequence id", "only the next sequence id is new", ""},
      {14, "a reply is kept only if the client asks", "the reply of what changed something is cached", ""},
      {14, "a retransmission is executed beside its original", "a retransmission waits for its original", ""},
      {14, "a request outside any session that comes again is a new one",
       "a request that comes again has one effect", "version40"},
      // Client state.
      {14, "a restart forgets the requests of an address", "a request that comes again has one effect",
       "version40"},
      {15, "a restart forgets deny modes", "opens survive a restart", "shares"},
      {15, "a restart forgets locks", "locks survive a restart", "counters"},
      {15, "a lease ends while a request is in flight", "a slow server does not end leases", "leases"},
      {15, "a start has a grace period", "there is no grace period", "counters"},
      {16, "the server's owner is that of its start", "who the server is belongs to the vserver", ""},
      {17, "a callback does not wait for the log", "a callback's sequence id is durable before it is sent",
       "delegations"},
      {17, "a recall's time does not begin anew", "a restart takes nothing from a client's time",
       "delegations"},
      {18, "who waits for a recall keeps its slot", "who waits for others keeps a slot for a short time",
       "delegations"},
      // A pair.
      {19, "the mirror is not waited for", "durable means that the mirror has it", "", true},
      {19, "a takeover without compare-and-swap", "one primary at a time", "", true},
      {20, "an unknown outcome counts as success", "of a change of unknown outcome nothing is concluded", "",
       true},
      {20, "replies need no lease", "a primary with a mirror answers within its lease", "glances", true},
      {20, "a lease runs from its acknowledgement", "a lease runs from when it was asked for", "glances",
       true},
      {20, "a mirror does not wait for the lease", "no takeover before the lease has passed", "glances",
       true},
      {20, "a primary that hands over goes on answering", "who hands over has no lease any more", "glances",
       true},
      {19, "what the new epoch does not have is not dropped",
       "a blade that comes back drops what was not durable", "", true},
      {19, "a mirror's checkpoint has what may be taken back", "a checkpoint has only what is durable", "",
       true},
      {19, "a mirror is in sync before it has everything", "who is in sync has all that is durable", "",
       true},
      {9, "a mirror does not wait for the blocks that a batch names",
       "a mirror's log names only blocks that it has", "files", true},
      {19, "messages of several paths are taken as they come", "what a primary says comes in its order", "",
       true},
      {9, "a block that is on its way counts as being there", "a mirror's log names only blocks that it has",
       "counters", true},
      {19, "a copy forgets what the log has changed meanwhile", "who is in sync has all that is durable", "",
       true},
      {9, "a block in use is told of as dead", "a mirror's log names only blocks that it has", "files", true},
      {9, "what a mirror is only told of is not old", "a mirror's log names only blocks that it has", "files",
       true},
  };
  return all;
}

unsigned rules_not_broken() {
  unsigned missing = 0;
  for (unsigned rule = 1; rule <= rules; ++rule) {
    if (std::ranges::any_of(bugs(), [&](const Bug& bug) { return bug.rule == rule; })) continue;
    fmt::print("FAILED: no deliberate bug breaks rule {} of ARCHITECTURE.md\n", rule);
    ++missing;
  }
  return missing;
}

}  // namespace perdure::sim
