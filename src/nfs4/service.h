// Service: NFSv4 of one vserver: takes COMPOUND calls, executes them through the processor, and
// rebuilds those that were in flight from the log. Thread: the vserver's loop.
#pragma once

#include <string>

#include "nfs4/callbacks.h"
#include "nfs4/compound.h"
#include "nfs4/recall.h"
#include "processor/processor.h"

namespace perdure::nfs4 {

enum class Squash : uint8_t { none, root, all };

class Service final : public wire::RpcProgram {
 public:
  struct Options {
    std::string server_owner;  // of the vserver, never of the blade
    std::string server_scope;
    uint64_t write_verifier = 0;  // changes when unstable data may have been lost
    Squash squash = Squash::root;
    uint32_t anonymous_uid = 65534, anonymous_gid = 65534;
    bool read_only = false;
    bool persistent_sessions = true;    // not at durability level memory
    uint32_t io_bytes_max = 1U << 20U;  // of one READ or WRITE
  };

  // `volume` is exported as the root.
  Service(fs::FileSystem& fs, client::ClientState& clients, processor::Processor& processor,
          fs::VolumeId volume, Options options);

  // Where replies go. Before the first call.
  void attach(wire::Transport& transport) {
    transport_ = &transport;
    callbacks_.attach(transport);
  }

  // wire::RpcProgram. Executes a call of the COMPOUND procedure; the reply is sent when the result may leave.
  // One whose COMPOUND4args has no valid header is answered with GARBAGE_ARGS.
  void call(wire::RpcCall&& call) override;
  void closed(wire::ConnectionId connection) override;
  void send(wire::ConnectionId connection, wire::Reply&& reply) {
    transport_->send(connection, std::move(reply));
  }

  // What clients answer to our own calls goes there.
  Callbacks& callbacks() { return callbacks_; }
  Recalls& recalls() { return recalls_; }

  fs::FileSystem& fs() { return fs_; }
  client::ClientState& clients() { return clients_; }
  processor::Processor& processor() { return processor_; }
  const Options& options() const { return options_; }
  const fs::VolumeRow& volume() const { return *fs_.volumes.peek({volume_}); }
  fs::VolumeId volume_id() const { return volume_; }
  FileHandle root() const { return {volume().root}; }
  fs::Principal squash(const wire::Credential& credential) const;

 private:
  fs::FileSystem& fs_;
  client::ClientState& clients_;
  processor::Processor& processor_;
  fs::VolumeId volume_;
  Options options_;
  wire::Transport* transport_ = nullptr;
  Callbacks callbacks_{[this](TransactionId id) { processor_.resume(id); }};
  Recalls recalls_{*this};
};

}  // namespace perdure::nfs4
