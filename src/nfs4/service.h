// Service: NFSv4 of one vserver: takes COMPOUND calls, executes them through the processor, and
// rebuilds those that were in flight from the log. Thread: the vserver's loop.
#pragma once

#include <string>

#include "nfs4/async_copy.h"
#include "nfs4/callback_links.h"
#include "nfs4/callbacks.h"
#include "nfs4/compound.h"
#include "nfs4/exports.h"
#include "nfs4/lock_wait.h"
#include "nfs4/owner_names.h"
#include "nfs4/recall.h"
#include "nfs4/recall_wait.h"
#include "processor/processor.h"

namespace perdure::nfs4 {

class Service final : public wire::RpcProgram {
 public:
  struct Options {
    std::string server_owner;  // of the vserver, never of the blade
    std::string server_scope;
    uint64_t write_verifier = 0;  // changes when unstable data may have been lost
    std::vector<Export> exports{Export{}};
    uint32_t io_bytes_max = 1U << 20U;  // of one READ or WRITE
    // Who knows the names of users and groups; null: there are only numbers. Must outlive the service.
    NameService* names = nullptr;
    OwnerNames::Options owner_names{};
    // A COPY of as many bytes is asynchronous, if the client allows it: what a synchronous one would do in
    // several requests anyway. Not less: after a crash a client that waits for an answer sends its request
    // again at once, but one that waits for a call has no reason to connect before it renews its lease.
    uint64_t async_shared_bytes_min = fs::copy_bytes_max, async_moved_bytes_min = uint64_t{1} << 30U;
  };

  // Before the first call, its exports are to be applied.
  Service(fs::FileSystem& fs, client::ClientState& clients, processor::Processor& processor, Options options);

  // Where replies go. Before the first call.
  void attach(wire::Transport& transport) {
    transport_ = &transport;
    callbacks_.attach(transport);
    callback_links_.attach(transport);
  }

  // wire::RpcProgram. Executes a call of the COMPOUND procedure; the reply is sent when the result may leave.
  // One whose COMPOUND4args has no valid header is answered with GARBAGE_ARGS.
  void call(wire::RpcCall&& call) override;
  void closed(wire::ConnectionId connection) override;
  void send(wire::ConnectionId connection, wire::Reply&& reply) {
    transport_->send(connection, std::move(reply));
  }

  // What clients answer to our own calls goes there.
  OwnerNames& owner_names() { return owner_names_; }
  Callbacks& callbacks() { return callbacks_; }
  CallbackLinks& callback_links() { return callback_links_; }
  BackCalls& back_calls() { return back_calls_; }
  Recalls& recalls() { return recalls_; }
  RecallWaits& recall_waits() { return recall_waits_; }
  LockWaits& lock_waits() { return lock_waits_; }
  AsyncCopies& async_copies() { return async_copies_; }

  fs::FileSystem& fs() { return fs_; }
  client::ClientState& clients() { return clients_; }
  processor::Processor& processor() { return processor_; }
  const Options& options() const { return options_; }
  Exports& exports() { return exports_; }
  // Of an inode; nullptr: there is no such volume.
  const fs::VolumeRow* volume_of(InodeId inode) const { return fs_.volumes.peek({fs::volume_of(inode)}); }
  // Who that is in an export; nullptr: in none, so nobody.
  static fs::Principal squash(const wire::Credential& credential, const Export* exported);

 private:
  fs::FileSystem& fs_;
  client::ClientState& clients_;
  processor::Processor& processor_;
  Options options_;
  Exports exports_;
  OwnerNames owner_names_;
  wire::Transport* transport_ = nullptr;
  Callbacks callbacks_{[this](TransactionId id) { processor_.resume(id); }};
  CallbackLinks callback_links_{*this};
  BackCalls back_calls_{*this};
  Recalls recalls_{*this};
  RecallWaits recall_waits_{*this};
  LockWaits lock_waits_{*this};
  AsyncCopies async_copies_{*this};
};

}  // namespace perdure::nfs4
