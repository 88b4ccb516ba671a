// A COMPOUND as a transaction: decodes and executes one operation after another (RFC 8881 §2.10, §16.2; RFC
// 7530 §1.4.2).
//
// Its machine is Registers, the arguments, and the reply so far. Each operation is a plain function in a file
// of its own (op_rename.cc), found through the table of operations.h. It reads its arguments from `args`,
// works on the tables, and writes its result behind its status into `reply`. It ends with
//   NFS4_OK           the result is complete;
//   another Nfsstat4  it failed; the result is what it wrote (mostly nothing), its changes are taken back;
//   a status          the same, with the status translated and what it wrote taken back as well;
//   a fault           the whole run is taken back;
//   a wait            before it, the operation has set registers.step and registers.own. It is called again
//   when it is
//                     resumed, in this process or, restored from the log, in a later one, and decodes its
//                     arguments anew.
// After a failure the COMPOUND ends.
#pragma once

#include <memory>
#include <variant>

#include "base/ids.h"
#include "client/client_state.h"
#include "fs/allocate.h"
#include "fs/clone.h"
#include "fs/commit.h"
#include "fs/file_system.h"
#include "fs/seek.h"
#include "fs/write.h"
#include "nfs4/back_call.h"
#include "nfs4/file_handle.h"
#include "nfs4/owner_names.h"
#include "nfs4/types.h"
#include "processor/transaction.h"
#include "wire/rpc_service.h"

namespace perdure::nfs4 {

using state::Run;

class Service;
struct Export;
struct Operation;
struct OwnerTurn;

struct OffloadCancelRegisters {
  bool waits = false;  // for the copy's end
  template <class Self, class V>
  static void fields(Self& r, V&& v) {
    v("waits", r.waits);
  }
};

// GETATTR asks the client that has the file delegated (holder_attributes.h).
struct AskHolderRegisters {
  uint32_t number = 0;  // of the delegation
  bool asked = false;   // in vain: it is called back
  BackCallRegisters call;
  template <class Self, class V>
  static void fields(Self& r, V&& v) {
    v("number", r.number), v("asked", r.asked), v("call", r.call);
  }
};

// The registers of the operations that take more than one step. Plain data.
using OperationRegisters = std::variant<std::monostate, fs::WriteRegisters, fs::CommitRegisters,
                                        fs::SeekRegisters, fs::AllocateRegisters, fs::DeallocateRegisters,
                                        fs::CloneRegisters, OffloadCancelRegisters, AskHolderRegisters>;

class Compound final : public processor::Transaction {
 public:
  Compound(Service& service, TransactionId id, wire::RpcCall call);
  // From the machine of a row of `transactions`; null if it cannot be read.
  static std::unique_ptr<Compound> restore(Service& service, TransactionId id, Bytes machine);
  ~Compound() override;

  // The control and data values between two steps, plain data: copied when a run is committed, for rewind().
  struct Registers {
    bool started = false;      // the reply has its header
    bool ended = false;        // the reply is complete
    bool in_progress = false;  // an earlier run has changed something: the slot's row says so
    bool cache_this = false;   // sa_cachethis
    bool unstable = false;     // has written unstably: changed what is not logged, and not in the machine
    uint16_t step = 0;         // of the operation under way, if it takes several
    uint32_t minor_version = 0;
    uint32_t operation = 0;  // index of the operation that is under way or next
    uint32_t operations = 0;
    uint32_t reply_bytes_max = 0;  // of the whole RPC message; 0: no session yet
    uint64_t arguments_at = 0;     // where the number of `operation` stands in the arguments
    Nfsstat4 status = Nfsstat4::NFS4_OK;
    OperationRegisters own;
    FileHandle current, saved;
    client::Stateid current_stateid, saved_stateid;  // all zero: none (RFC 8881 §16.2.3.1.2)
    client::SlotHandle slot;  // once SEQUENCE has succeeded; in NFSv4.0 from the first operation on
    uint64_t client = 0;
  };

  // For operations.
  Registers registers;
  wire::XdrDecoder args;
  wire::Reply reply;
  Service& service() { return service_; }
  fs::FileSystem& fs();
  client::ClientState& clients();
  const wire::Credential& credential() const { return call_.credential; }
  // How the object is exported to this client; nullptr: not at all (any more).
  const Export* exported(InodeId object) const;
  // The caller after the squash rules of the object's export. Valid until it is asked of another volume's.
  const fs::Principal& principal(InodeId object);
  const fs::Principal& principal() { return principal(registers.current.inode); }
  // The object's file system is somewhere else.
  bool is_absent(InodeId object) const;
  // The export of the current file handle allows no changes.
  bool read_only() const;
  wire::ConnectionId connection() const { return call_.connection; }
  const wire::Address& peer() const { return call_.peer; }
  uint32_t xid() const { return call_.xid; }
  Opnum4 operation() const { return operation_; }  // under way
  // All of COMPOUND4args, for the slot's checksum.
  Bytes arguments() const { return call_.arguments; }
  // What their memory is made of, if it is pages.
  const PageRun* argument_pages() const { return call_.chunk.pages(); }
  // It will wait for another client: what it came in is given back, with its place among the requests of its
  // connection. Views of the arguments become invalid.
  void let_go();
  // Of the whole RPC message. Nothing is known of it in a restored COMPOUND.
  size_t request_bytes() const { return call_.message_bytes; }
  // A new current file handle; the current stateid does not belong to it.
  void set_current(FileHandle handle) {
    registers.current = handle;
    registers.current_stateid = {};
  }
  // Without SEQUENCE: it is this client's request.
  void comes_from(client::ClientId client) {
    if (registers.client == 0) registers.client = client.value;
  }
  // This is a retransmission: `result`, a COMPOUND4res, is the reply.
  void replay(Bytes result);
  // It is not answered at all.
  void drop();
  // NFSv4.0: so is the operation, and `result`, an nfs_resop4, is its result.
  void repeat_result(Bytes result);
  // NFSv4.0: the operation has its owner's turn (version40.h).
  std::unique_ptr<OwnerTurn> turn;
  // Bytes that the result of the operation may still take.
  size_t reply_room() const;
  // Of names of users and groups.
  OwnerLookup owners;

  // processor::Transaction
  processor::Progress execute(Run& run) override;
  log::ControlValues control() const override;
  void rewind() override;
  void keep() override;
  void encode_machine(Encoder& out) const override;
  void released() override;
  uint64_t log_bytes_ahead() const override;
  uint64_t client() const override { return registers.client; }

 private:
  void start();
  Outcome<Nfsstat4> execute_operation(Run& run);
  Outcome<Nfsstat4> execute_found(Run& run, const Operation& operation);
  Nfsstat4 put_status(Opnum4 operation, Nfsstat4 status);
  Nfsstat4 check_place(const Operation& operation) const;
  void end(Run& run);

  Service& service_;
  wire::RpcCall call_;  // connection 0: restored from the log, nobody waits
  ByteVector restored_arguments_;
  fs::Principal principal_;      // in the exports of one volume
  fs::VolumeId principal_of_;    // 0: not known yet
  uint32_t principal_from_ = 0;  // Exports::generation()
  Registers kept_;               // as they were when the run began
  size_t kept_reply_ = 0;
  Opnum4 operation_{};    // executing, or executed last
  size_t result_at_ = 0;  // in the reply: of its result
  Nfsstat4 last_status_{};
};

}  // namespace perdure::nfs4
