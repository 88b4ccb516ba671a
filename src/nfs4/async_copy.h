// Asynchronous COPY (RFC 7862 §4.8, §15.2): a transaction that begins in the record of the request, copies
// part by part, tells the client when it is over (CB_OFFLOAD, §16.1), and is asked about (OFFLOAD_STATUS,
// §15.9) and ended (OFFLOAD_CANCEL, §15.8) by its stateid. It is all in its machine: after a crash it goes on
// from the part that it had reached.
#pragma once

#include <absl/container/btree_map.h>

#include "fs/access.h"
#include "fs/clone.h"
#include "nfs4/back_call.h"

namespace perdure::nfs4 {

struct AsyncCopyRegisters {
  enum class Step : uint8_t { copies, calls };
  client::ClientId client;
  client::Stateid stateid;  // of the copy
  InodeId from;
  uint64_t from_offset = 0, to_offset = 0, count = 0;
  uint32_t uid = 0, gid = 0;
  std::vector<uint32_t> groups;
  Step step = Step::copies;
  uint64_t done = 0;
  uint32_t status = 0;  // Nfsstat4 with which it has ended
  fs::CloneRegisters part;
  BackCallRegisters call;
  template <class Self, class V>
  static void fields(Self& r, V&& v) {
    v("client", r.client), v("stateid", r.stateid), v("from", r.from), v("from_offset", r.from_offset);
    v("to_offset", r.to_offset), v("count", r.count), v("uid", r.uid), v("gid", r.gid);
    v("groups", r.groups), v("step", r.step), v("done", r.done), v("status", r.status);
    v("part", r.part), v("call", r.call);
  }
  InodeId to() const { return stateid.inode; }
};

struct CopyProgress {
  uint64_t done = 0;  // bytes
  std::optional<Nfsstat4> ended;
};

// What only the running process knows of them. Thread: the vserver's loop.
class AsyncCopies {
 public:
  explicit AsyncCopies(Service& service) : service_(service) {}

  // Starts the transaction within a run. Set by the vserver.
  std::function<void(state::Run&, AsyncCopyRegisters)> start;

  // The client asked for such a copy, and can be told when it is over: it may have one, if that takes long.
  Outcome<bool> may_begin(state::Run& run, client::ClientId client, const fs::CloneRange& range) const;
  // Begins within this run. Gives the stateid.
  Outcome<client::Stateid> begin(state::Run& run, client::ClientId client, const fs::Principal& who,
                                 const fs::CloneRange& range);

  // One run of the transaction. True: it has ended. False: there is more to do. Otherwise it waits, or a
  // fault.
  Outcome<bool> step(state::Run& run, AsyncCopyRegisters& registers);

  // nullopt: the client has no such copy.
  Outcome<std::optional<CopyProgress>> progress(state::Run& run, client::ClientId client,
                                                const client::Stateid& stateid);
  // Waits until it is gone; `began`: the caller has waited for that already. bad_stateid: the client has no
  // such copy.
  Outcome<void> cancel(state::Run& run, client::ClientId client, const client::Stateid& stateid, bool& began);

 private:
  struct Copy {
    TransactionId id;
    client::ClientId client;
    CopyProgress progress;
    bool cancelled = false;
    std::vector<TransactionId> waiting;  // for its end
  };
  Outcome<bool> copy(state::Run& run, AsyncCopyRegisters& registers);
  Outcome<bool> end(state::Run& run, AsyncCopyRegisters& registers);
  Copy* find(client::ClientId client, const client::Stateid& stateid);

  Service& service_;
  absl::btree_map<client::StateKey, Copy> copies_;
  Lsn ended_;  // the newest record that ended one: whoever is told that there is none waits for it
};

}  // namespace perdure::nfs4
