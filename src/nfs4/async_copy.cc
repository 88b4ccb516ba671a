#include "nfs4/async_copy.h"

#include "base/mark.h"
#include "client/delegation.h"
#include "fs/file_system.h"
#include "nfs4/results.h"
#include "nfs4/service.h"
#include "nfs4/status.h"

namespace perdure::nfs4 {

using CopyStep = AsyncCopyRegisters::Step;

namespace {

constexpr size_t copies_per_client_max = 16;

client::StateKey key_of(const client::Stateid& stateid) {
  return {stateid.inode, stateid.number};
}

}  // namespace

Outcome<bool> AsyncCopies::may_begin(state::Run& run, client::ClientId client,
                                     const fs::CloneRange& range) const {
  const bool alike = range.from_offset % block_bytes == range.to_offset % block_bytes;
  const Service::Options& options = service_.options();
  if (range.count < (alike ? options.async_shared_bytes_min : options.async_moved_bytes_min)) return false;
  if (service_.clients().client_twin(client)->async_copies >= copies_per_client_max) return false;
  return TRY(service_.clients().back_path(run, client)).has_value();
}

Outcome<client::Stateid> AsyncCopies::begin(state::Run& run, client::ClientId client,
                                            const fs::Principal& who, const fs::CloneRange& range) {
  PERDURE_MARK("an asynchronous COPY begins");
  // The kind of sessions, which have no stateids.
  const uint32_t number = TRY(service_.clients().new_state_number(run, client::StateKind::session, range.to));
  const client::Stateid stateid{1, range.to, number};
  start(run, AsyncCopyRegisters{.client = client,
                                .stateid = stateid,
                                .from = range.from,
                                .from_offset = range.from_offset,
                                .to_offset = range.to_offset,
                                .count = range.count,
                                .uid = who.uid,
                                .gid = who.gid,
                                .groups = {who.groups.begin(), who.groups.end()}});
  return stateid;
}

Outcome<bool> AsyncCopies::step(state::Run& run, AsyncCopyRegisters& registers) {
  auto [it, fresh] = copies_.try_emplace(key_of(registers.stateid));
  Copy& copy = it->second;
  if (fresh) {
    copy.id = run.transaction();
    copy.client = registers.client;
    copy.progress.done = registers.done;
    if (registers.step == CopyStep::calls) copy.progress.ended = static_cast<Nfsstat4>(registers.status);
    if (client::ClientTwin* twin = service_.clients().client_twin(registers.client)) ++twin->async_copies;
  }
  if (copy.cancelled || TRY(service_.clients().clients.get(run, {registers.client})) == nullptr)
    return end(run, registers);
  if (registers.step == CopyStep::copies) {
    const bool over = TRY(this->copy(run, registers));
    run.on_commit(
        [this, key = key_of(registers.stateid), done = registers.done, over, status = registers.status] {
          CopyProgress& progress = copies_.at(key).progress;
          progress.done = done;
          if (over) progress.ended = static_cast<Nfsstat4>(status);
        });
    if (!over) return false;
    registers.step = CopyStep::calls;
  }
  const auto answer =
      TRY(service_.back_calls().step(run, registers.client, registers.call, [&](wire::XdrEncoder& out) {
        const auto status = static_cast<Nfsstat4>(registers.status);
        out.put_u32(static_cast<uint32_t>(CallbackOp::OP_CB_OFFLOAD));
        put_file_handle(out, {registers.to()}, *service_.volume_of(registers.to()));
        put_stateid(out, registers.stateid);
        out.put_u32(registers.status);
        if (status != Nfsstat4::NFS4_OK) return out.put_u64(registers.done);
        out.put_u32(0);  // wr_callback_id
        out.put_u64(registers.done);
        out.put_u32(static_cast<uint32_t>(fs::Stable::file_sync));
        out.put_u64(service_.options().write_verifier);
      }));
  if (!answer) return Stop::wait();
  if (answer->status != Nfsstat4::NFS4ERR_DELAY) return end(run, registers);
  service_.back_calls().again(run, registers.call);
  return Stop::wait();
}

// A part of it. True: it has come to its end, and `status` says which.
Outcome<bool> AsyncCopies::copy(state::Run& run, AsyncCopyRegisters& registers) {
  const auto over = [&](Nfsstat4 status) {
    registers.status = static_cast<uint32_t>(status);
    return true;
  };
  const auto failed = [&](const auto& outcome) -> Outcome<bool> {
    if (!outcome.error().is_status()) return outcome.error();
    return over(to_nfsstat4(outcome.error().status()));
  };
  fs::FileSystem& fs = service_.fs();
  const auto source = fs.load(run, registers.from);
  if (!source) return failed(source);
  const uint64_t from = registers.from_offset + registers.done;
  // Somebody may have cut it meanwhile.
  if (registers.done == registers.count || from >= source->size) return over(Nfsstat4::NFS4_OK);
  const fs::CloneRange range{.from = registers.from,
                             .to = registers.to(),
                             .from_offset = from,
                             .to_offset = registers.to_offset + registers.done,
                             .count = std::min(registers.count - registers.done, source->size - from)};
  const fs::Principal who{.uid = registers.uid,
                          .gid = registers.gid,
                          .groups = {registers.groups.begin(), registers.groups.end()}};
  // Who was delegated the file meanwhile must not find it changed.
  TRY(client::recall_others(service_.clients(), run, registers.client, range.to, client::Use::changes));
  const state::Savepoint savepoint = run.savepoint();
  const auto copied = fs::copy(fs, run, who, range, registers.part);
  if (!copied && copied.error().is_status()) {
    run.rollback(savepoint);
    registers.part = {};
  }
  if (!copied) return failed(copied);
  registers.done += *copied;
  return *copied == 0 ? over(Nfsstat4::NFS4_OK) : false;
}

Outcome<bool> AsyncCopies::end(state::Run& run, AsyncCopyRegisters& registers) {
  TRY(service_.back_calls().end(run, registers.call));
  run.on_commit([this, key = key_of(registers.stateid), client = registers.client, lsn = run.lsn()] {
    ended_ = lsn;
    auto it = copies_.find(key);
    for (const TransactionId id : it->second.waiting) service_.processor().resume(id);
    copies_.erase(it);
    if (client::ClientTwin* twin = service_.clients().client_twin(client)) --twin->async_copies;
  });
  return true;
}

auto AsyncCopies::find(client::ClientId client, const client::Stateid& stateid) -> Copy* {
  auto it = copies_.find(key_of(stateid));
  return it == copies_.end() || it->second.client != client ? nullptr : &it->second;
}

Outcome<std::optional<CopyProgress>> AsyncCopies::progress(state::Run& run, client::ClientId client,
                                                           const client::Stateid& stateid) {
  const Copy* copy = find(client, stateid);
  if (copy == nullptr) {
    run.observe(ended_);
    return std::optional<CopyProgress>();
  }
  TRY(service_.processor().transactions().get(run, {copy->id}));  // what is told of it must be durable
  return std::optional(copy->progress);
}

Outcome<void> AsyncCopies::cancel(state::Run& run, client::ClientId client, const client::Stateid& stateid,
                                  bool& began) {
  Copy* copy = find(client, stateid);
  if (copy == nullptr) {
    run.observe(ended_);
    return began ? Outcome<void>() : Status::bad_stateid;
  }
  began = true;
  copy->cancelled = true;
  copy->waiting.push_back(run.transaction());
  service_.processor().resume(copy->id);
  return Stop::wait();
}

}  // namespace perdure::nfs4
