#include "sim/bugs.h"

namespace perdure::sim {

const std::vector<Bug>& bugs() {
  static const std::vector<Bug> all{
      // The log.
      {"a reply leaves before the log is durable", "nobody is told what a crash could take back", ""},
      {"the log is not synced", "a batch is durable when its write is done", ""},
      {"a failed log write is ignored", "a failed write of the log is never repeated or passed over", ""},
      {"a batch is durable before those in front of it", "batches become durable in their order", ""},
      {"a torn batch is taken", "the log ends at a torn batch", ""},
      {"a dead tail comes back to life", "the log ends at a broken chain or an older start number", ""},
      {"a damaged batch ends the log", "damage before the durable point is an error", ""},
      {"a start number is not durable", "a start number is durable before its first record", ""},
      {"what a start has read is not made durable", "what a start has read is durable", ""},
      {"redo leaves out what was erased", "restoration redoes every change", ""},
      {"no room in the log is reserved", "transactions in flight always have room in the log", "flood"},
      // Checkpoints and caches.
      {"a checkpoint does not wait for the log", "a checkpoint is applied once its LSN is durable", ""},
      {"a checkpoint leaves out what was erased", "a checkpoint has every change", ""},
      {"the log's tail moves before the checkpoint is applied", "the tail moves behind the checkpoint",
       "flood"},
      {"a fetch is not repeated after a checkpoint", "a fetch sees the newest checkpoint", ""},
      {"what a faulted run needs is evicted", "fetched rows stay until their run has used them", "growth"},
      // File data.
      {"an extent names a block before it is flushed", "an extent names only blocks that are on disk",
       "files"},
      {"a freed block is used again at once", "a freed block waits for its checkpoint", "flood"},
      {"a block's checksum is not checked", "data is checked whenever it comes from the store", "files"},
      {"write-back maps a page that has changed", "a page is mapped as it is now", "files"},
      {"delegations are not recalled", "what is in a delegation's way waits for its return", "delegations"},
      {"a restart forgets delegations", "what a client was told to hold it holds after a restart",
       "delegations"},
      {"a shared block is not counted", "a block is free when no extent names it any more", "clones"},
      {"a truncated block keeps its end", "what lies behind the end of a file reads as zeros", ""},
      {"the write verifier stays after a crash", "lost unstable data changes the verifier", "files"},
      {"no blocks are reserved", "NFS4ERR_NOSPC comes at admission", "full"},
      {"a reclaim is forgotten at a restart", "each row of `transactions` goes on", "files"},
      {"a removed file leaves its extended attributes behind", "an object goes with all that it has",
       "xattrs"},
      {"change attributes begin anew with each start", "a change attribute is never given again",
       "exclusive"},
      // Steps and replies.
      {"an operation that fails keeps its changes", "an error takes an operation back to its savepoint",
       "shares"},
      {"an absence does not count as read", "absences count as read for the release of replies", "glances"},
      {"a replay does not count as read", "replays wait for what they tell", "glances"},
      {"the slot is not in the record", "effect, slot and reply are one record", ""},
      {"the slot of a transaction in flight is not in its record",
       "a first record says that its slot is in use", "files"},
      {"a slot takes any sequence id", "only the next sequence id is new", ""},
      {"a retransmission is executed beside its original", "a retransmission waits for its original", ""},
      {"a request outside any session that comes again is a new one",
       "a request that comes again has one effect", "version40"},
      // Client state.
      {"a restart forgets the requests of an address", "a request that comes again has one effect",
       "version40"},
      {"a restart forgets deny modes", "opens survive a restart", "shares"},
      {"a restart forgets locks", "locks survive a restart", "counters"},
      {"a lease ends while a request is in flight", "a slow server does not end leases", "leases"},
      // A pair.
      {"the mirror is not waited for", "durable means that the mirror has it", "", true},
      {"a takeover without compare-and-swap", "one primary at a time", "", true},
      {"an unknown outcome counts as success", "of a change of unknown outcome nothing is concluded", "",
       true},
      {"replies need no lease", "a primary with a mirror answers within its lease", "glances", true},
      {"a lease runs from its acknowledgement", "a lease runs from when it was asked for", "glances", true},
      {"a mirror does not wait for the lease", "no takeover before the lease has passed", "glances", true},
      {"a primary that hands over goes on answering", "who hands over has no lease any more", "glances",
       true},
      {"what the new epoch does not have is not dropped",
       "a blade that comes back drops what was not durable", "", true},
      {"a mirror's checkpoint has what may be taken back", "a checkpoint has only what is durable", "", true},
      {"a mirror is in sync before it has everything", "who is in sync has all that is durable", "", true},
      {"a mirror does not wait for the blocks that a batch names",
       "a mirror's log names only blocks that it has", "files", true},
      {"a block that is on its way counts as being there", "a mirror's log names only blocks that it has",
       "counters", true},
  };
  return all;
}

}  // namespace perdure::sim
