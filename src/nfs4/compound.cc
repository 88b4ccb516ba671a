#include "nfs4/compound.h"

#include <spdlog/spdlog.h>

#include "base/planted_bug.h"
#include "fs/data.h"
#include "nfs4/machine.h"
#include "nfs4/operations.h"
#include "nfs4/service.h"
#include "nfs4/status.h"
#include "nfs4/version40.h"

namespace perdure::nfs4 {

using processor::Progress;

namespace {
// Where COMPOUND4res begins in the reply: behind the RPC header.
constexpr size_t result_at = wire::reply_header_bytes;
}  // namespace

Compound::Compound(Service& service, TransactionId id, wire::RpcCall call)
    : Transaction(id, processor::Kind::compound),
      args(call.arguments),
      owners(&service.owner_names()),
      service_(service),
      call_(std::move(call)) {}

Compound::~Compound() = default;

fs::FileSystem& Compound::fs() {
  return service_.fs();
}
client::ClientState& Compound::clients() {
  return service_.clients();
}

const Export* Compound::exported(InodeId object) const {
  return service_.exports().find(fs::volume_of(object), call_.peer);
}

const fs::Principal& Compound::principal(InodeId object) {
  const fs::VolumeId volume = fs::volume_of(object);
  const uint32_t generation = service_.exports().generation();
  if (volume != principal_of_ || generation != principal_from_) {
    principal_ = Service::squash(call_.credential, exported(object));
    principal_of_ = volume;
    principal_from_ = generation;
  }
  return principal_;
}

bool Compound::is_absent(InodeId object) const {
  if (!service_.exports().any_absent()) return false;
  const Export* e = exported(object);
  return e != nullptr && !e->locations.empty();
}

bool Compound::read_only() const {
  const Export* e = exported(registers.current.inode);
  return e == nullptr || e->read_only;
}

// ---------------------------------------------------------------------------------------------- execution

Progress Compound::execute(Run& run) {
  if (!registers.started) start();
  bool first_step = true;
  while (!registers.ended) {
    if (registers.operation == registers.operations || registers.status != Nfsstat4::NFS4_OK) {
      end(run);
      break;
    }
    if (!std::exchange(first_step, false)) run.end_step(control());
    const size_t reply_at = reply.size();
    const auto* asks = std::get_if<AskHolderRegisters>(&registers.own);
    std::optional<BackCallRegisters> call = asks != nullptr ? std::optional(asks->call) : std::nullopt;
    const Outcome<Nfsstat4> outcome = execute_operation(run);
    if (!outcome && outcome.error().is_fault()) return Progress::faulted;
    if (!outcome && outcome.error().is_wait()) {
      reply.truncate(reply_at);
      if (run.changed() || registers.in_progress) {
        if (registers.slot) clients().mark_in_progress(run, registers.slot, id());
        registers.in_progress = true;
      }
      return Progress::waiting;
    }
    if (registers.ended) break;  // a replay
    service_.recall_waits().end(id());
    // Also of what has failed, whose changes are taken back, nobody waits for an answer any more.
    if (call && !service_.back_calls().end(run, *call)) return Progress::faulted;
    last_status_ = registers.status = *outcome;
    if (*outcome != Nfsstat4::NFS4_OK)
      spdlog::debug("transaction {} client {:x}: {} on inode {}: {}", id(), registers.client,
                    name(operation_), registers.current.inode, name(*outcome));
    // What changes something is kept with all of its reply, and no client has agreed on how much that may be.
    if (registers.minor_version == 0 && run.changed())
      registers.reply_bytes_max =
          std::min(registers.reply_bytes_max, clients().options().cached_response_bytes_max);
    registers.step = 0;
    registers.own = {};
    registers.arguments_at = args.position();
    ++registers.operation;
  }
  return Progress::finished;
}

// Puts the headers; their status and number of results are patched when the COMPOUND ends.
void Compound::start() {
  wire::begin_reply(reply, call_.xid);
  const Bytes tag = args.get_opaque(tag_bytes_max);
  registers.minor_version = args.get_u32();
  registers.operations = args.get_u32();
  registers.arguments_at = args.position();
  reply.put_u32(0);
  reply.put_opaque(tag);
  reply.put_u32(0);
  registers.started = true;
  // Later versions agree on it when they make a session.
  if (registers.minor_version == 0) registers.reply_bytes_max = clients().options().response_bytes_max;
  if (registers.minor_version > 2) {
    registers.status = Nfsstat4::NFS4ERR_MINOR_VERS_MISMATCH;
    registers.operations = 0;
  }
}

// Begins a result: what stood there is written over. In NFSv4.0 some statuses have other names.
Nfsstat4 Compound::put_status(Opnum4 operation, Nfsstat4 status) {
  if (registers.minor_version == 0) status = status40(operation, status);
  reply.truncate(result_at_);
  reply.put_u32(static_cast<uint32_t>(operation));
  reply.put_u32(static_cast<uint32_t>(status));
  return status;
}

// Executes the operation under way and writes its result. A value is its final status; a Stop is a fault or a
// wait.
Outcome<Nfsstat4> Compound::execute_operation(Run& run) {
  args.seek(registers.arguments_at);
  const uint32_t number = args.get_u32();
  result_at_ = reply.size();
  operation_ = static_cast<Opnum4>(number);
  if (!args.ok()) return put_status(Opnum4::OP_ILLEGAL, Nfsstat4::NFS4ERR_BADXDR);
  if (!is_legal(number, registers.minor_version)) {
    operation_ = Opnum4::OP_ILLEGAL;
    return put_status(Opnum4::OP_ILLEGAL, Nfsstat4::NFS4ERR_OP_ILLEGAL);
  }
  if (registers.minor_version == 0 && registers.operation == 0 && !registers.slot) {
    const Outcome<void> admitted = admit(*this, run);
    if (!admitted && !admitted.error().is_status()) return admitted.error();
    if (!admitted) return put_status(operation_, to_nfsstat4(admitted.error().status()));
    if (registers.ended) return Nfsstat4::NFS4_OK;
  }
  const Operation* operation = find_operation(operation_, registers.minor_version);
  if (operation == nullptr) {
    const bool lost = registers.operation == 0 && registers.minor_version != 0;
    return put_status(operation_, lost ? Nfsstat4::NFS4ERR_OP_NOT_IN_SESSION : Nfsstat4::NFS4ERR_NOTSUPP);
  }
  turn.reset();
  const Outcome<Nfsstat4> outcome = execute_found(run, *operation);
  if (outcome && turn) TRY(end_turn(*this, run, *turn, *outcome, reply.flatten(result_at_)));
  return outcome;
}

Outcome<Nfsstat4> Compound::execute_found(Run& run, const Operation& operation) {
  const auto failed = [&](Nfsstat4 status) {
    status = put_status(operation_, status);
    if (operation.empty_bitmap_on_error) reply.put_u32(0);
    return status;
  };
  if (const Nfsstat4 status = check_place(operation); status != Nfsstat4::NFS4_OK) return failed(status);

  put_status(operation_, Nfsstat4::NFS4_OK);
  const size_t status_at = result_at_ + 4;
  const state::Savepoint savepoint = run.savepoint();
  const Outcome<Nfsstat4> outcome = operation.execute(*this, run);
  if (std::vector<OwnerNames::Question> missed = owners.take_missed(); !missed.empty()) {
    for (OwnerNames::Question& question : missed) run.miss(service_.owner_names().fetch(std::move(question)));
    return Stop::fault();
  }
  if (!outcome && !outcome.error().is_status()) return outcome;
  if (registers.ended) return Nfsstat4::NFS4_OK;
  const bool fits = registers.reply_bytes_max == 0 || reply.size() <= registers.reply_bytes_max;
  if (outcome && *outcome == Nfsstat4::NFS4_OK && fits) return *outcome;
  if (outcome && operation.keeps_error && fits) {
    reply.patch_u32(status_at, static_cast<uint32_t>(*outcome));
    return *outcome;
  }
  // Of what does not fit only an operation that changes nothing comes here: the others made sure of their
  // room. It may be an error as well: LOCKT's names an owner.
  if (!planted("an operation that fails keeps its changes")) run.rollback(savepoint);
  if (outcome && !fits)
    return failed(registers.cache_this ? Nfsstat4::NFS4ERR_REP_TOO_BIG_TO_CACHE
                                       : Nfsstat4::NFS4ERR_REP_TOO_BIG);
  if (!outcome) return failed(to_nfsstat4(outcome.error().status()));
  // What it has written belongs to this error.
  const Nfsstat4 status = registers.minor_version == 0 ? status40(operation_, *outcome) : *outcome;
  reply.patch_u32(status_at, static_cast<uint32_t>(status));
  if (operation.empty_bitmap_on_error) reply.put_u32(0);
  return status;
}

// Whether the operation may stand here, has the file handles that it needs, and room for its result.
Nfsstat4 Compound::check_place(const Operation& operation) const {
  using enum Nfsstat4;
  const bool leads = registers.operation == 0;
  if (registers.minor_version == 0) {
    if (registers.operation >= operations_max) return NFS4ERR_RESOURCE;
  } else {
    switch (operation.place) {
      case Operation::first:
        if (!leads) return NFS4ERR_SEQUENCE_POS;
        break;
      case Operation::sole:
        if (leads && registers.operations != 1) return NFS4ERR_NOT_ONLY_OP;
        break;
      case Operation::alone:
        if (registers.operations != 1) return NFS4ERR_NOT_ONLY_OP;
        break;
      case Operation::in_session:
        if (leads) return NFS4ERR_OP_NOT_IN_SESSION;
        break;
    }
  }
  if (operation.needs_current && !registers.current) return NFS4ERR_NOFILEHANDLE;
  if (operation.needs_saved && !registers.saved) return NFS4ERR_NOFILEHANDLE;
  if (operation.needs_current && !operation.asks_where && is_absent(registers.current.inode))
    return NFS4ERR_MOVED;
  if (operation.needs_saved && is_absent(registers.saved.inode)) return NFS4ERR_MOVED;
  if (operation.writes && read_only()) return NFS4ERR_ROFS;
  if (operation.result_bytes_max > reply_room())
    return registers.cache_this ? NFS4ERR_REP_TOO_BIG_TO_CACHE : NFS4ERR_REP_TOO_BIG;
  return NFS4_OK;
}

size_t Compound::reply_room() const {
  if (registers.reply_bytes_max == 0) return SIZE_MAX;
  return registers.reply_bytes_max > reply.size() ? registers.reply_bytes_max - reply.size() : 0;
}

void Compound::drop() {
  call_.connection = {};
  registers.ended = true;
}

void Compound::repeat_result(Bytes result) {
  reply.truncate(result_at_);
  reply.put_raw(result);
}

void Compound::replay(Bytes result) {
  reply.truncate(result_at);
  reply.put_raw(result);
  registers.ended = true;
}

// Completes the reply, and makes it the slot's.
void Compound::end(Run& run) {
  const Bytes tag = wire::XdrDecoder(call_.arguments).get_opaque(tag_bytes_max);
  reply.patch_u32(result_at, static_cast<uint32_t>(registers.status));
  reply.patch_u32(result_at + 8 + wire::padded(tag.size()), registers.operation);
  registers.ended = true;
  // A slot's client is told so by finish().
  if (registers.client != 0 && (!registers.slot || registers.minor_version == 0))
    clients().answer(run, client::ClientId(registers.client));
  if (!registers.slot) return;
  const bool changed = run.changed() || registers.in_progress;
  // An unstable write that was executed again would be newer than what others have written meanwhile.
  const bool cached =
      changed || registers.unstable || registers.cache_this || clients().has_followers(registers.slot);
  const bool kept = cached && (registers.cache_this || !planted("a reply is kept only if the client asks"));
  clients().finish(run, registers.slot, kept ? reply.flatten(result_at) : ByteVector{}, changed, kept);
}

log::ControlValues Compound::control() const {
  return {.operation = static_cast<uint16_t>(operation_),
          .step = registers.step,
          .status = static_cast<uint32_t>(last_status_),
          .current = registers.current.inode,
          .saved = registers.saved.inode};
}

// Its machine holds the arguments, and is logged whenever it waits after it has changed something.
uint64_t Compound::log_bytes_ahead() const {
  if (registers.step == 0 && !registers.in_progress) return 0;
  // They may log much, bit by bit, and each bit is admitted anew: nothing that makes room waits for them.
  const OperationRegisters& own = registers.own;
  if (std::holds_alternative<fs::CloneRegisters>(own) || std::holds_alternative<fs::DeallocateRegisters>(own))
    return 0;
  // What waits for another client waits long, and in front of its first change.
  if (std::holds_alternative<AskHolderRegisters>(own) ||
      (registers.step == 0 && std::holds_alternative<std::monostate>(own)))
    return 0;
  const fs::DataOptions& options = service_.fs().data().options;
  const uint64_t operations_ahead = registers.operations - registers.operation;
  uint64_t bytes = operations_ahead * options.record_bytes_max;
  if (registers.in_progress || operations_ahead > 2) bytes += 2 * call_.arguments.size();
  if (std::holds_alternative<fs::CommitRegisters>(own))
    bytes += uint64_t{options.commit_blocks} * block_bytes;
  return bytes;
}

void Compound::released() {
  // It may have waited long for the log, and the client is due a whole lease from now on.
  if (registers.client != 0) clients().renew_lease(client::ClientId(registers.client));
  if (call_.connection != wire::ConnectionId(0)) service_.send(call_.connection, std::move(reply));
}

void Compound::let_go() {
  if (!call_.chunk) return;
  restored_arguments_.assign(call_.arguments.begin(), call_.arguments.end());
  call_.arguments = restored_arguments_;
  args = wire::XdrDecoder(restored_arguments_);
  call_.chunk = {};
  call_.ticket = {};
}

// ------------------------------------------------------------------------------------------------ machine

void Compound::rewind() {
  registers = kept_;
  reply.truncate(kept_reply_);
  args.seek(0);
}

void Compound::keep() {
  kept_ = registers;
  kept_reply_ = reply.size();
}

void Compound::encode_machine(Encoder& out) const {
  const ByteVector so_far = reply.flatten();
  nfs4::encode_machine(out, {registers, call_.xid, call_.credential, call_.peer, call_.arguments, so_far});
}

std::unique_ptr<Compound> Compound::restore(Service& service, TransactionId id, Bytes bytes) {
  std::optional<CompoundMachine> machine = decode_machine(bytes);
  if (!machine) return nullptr;
  wire::RpcCall call;
  call.xid = machine->xid;
  call.credential = std::move(machine->credential);
  if (planted("a transaction that goes on forgets whose it is")) call.credential.uid = 65534;
  call.peer = machine->peer;
  auto compound = std::make_unique<Compound>(service, id, std::move(call));
  compound->restored_arguments_.assign(machine->arguments.begin(), machine->arguments.end());
  compound->call_.arguments = compound->restored_arguments_;
  compound->args = wire::XdrDecoder(compound->restored_arguments_);
  compound->registers = machine->registers;
  compound->reply.put_raw(machine->reply);
  compound->keep();
  if (compound->registers.slot) service.clients().resumed(compound->registers.slot, id);
  return compound;
}

}  // namespace perdure::nfs4
