#include "nfs4/holder_attributes.h"

#include "base/mark.h"
#include "base/planted_bug.h"
#include "nfs4/io_access.h"
#include "nfs4/service.h"

namespace perdure::nfs4 {

namespace {

// How long a stat of one client waits for another one until that has to give back what it holds.
constexpr env::Duration ask_patience = std::chrono::seconds(1);

bool depend_on_holder(const Bitmap& wanted) {
  using enum Attribute;
  return wanted.has(change) || wanted.has(size) || wanted.has(time_modify) || wanted.has(time_metadata) ||
         wanted.has(space_used);
}

constexpr Bitmap asked_of_holder = [] {
  Bitmap asked;
  asked.set(Attribute::change);
  asked.set(Attribute::size);
  return asked;
}();

struct HolderAttributes {
  uint64_t change = 0, size = 0;
};

// fattr4 of the two attributes that were asked for, and perhaps others with higher numbers, which come behind
// them; nullopt: it is something else.
std::optional<HolderAttributes> parse(Bytes result) {
  wire::XdrDecoder in(result);
  const Bitmap given = get_bitmap(in);
  wire::XdrDecoder values(in.get_opaque(256));
  const HolderAttributes attributes{.change = values.get_u64(), .size = values.get_u64()};
  constexpr uint32_t up_to_size = (2U << static_cast<uint32_t>(Attribute::size)) - 1;
  if (!in.finished() || !values.ok() || (given.words[0] & up_to_size) != asked_of_holder.words[0] ||
      attributes.size > fs::file_bytes_max)
    return std::nullopt;
  return attributes;
}

// One that may not have seen the answer to its OPEN yet, or has no time, may answer better a moment later.
bool asks_for_time(Nfsstat4 status) {
  using enum Nfsstat4;
  return status == NFS4ERR_DELAY || status == NFS4ERR_BADHANDLE || status == NFS4ERR_BAD_STATEID;
}

// What it says; nullopt: it does not.
Outcome<std::optional<HolderAttributes>> ask(Compound& c, Run& run, const client::Holder& holder,
                                             BackCallRegisters& call) {
  BackCalls& calls = c.service().back_calls();
  const auto operation = [&](wire::XdrEncoder& out) {
    out.put_u32(static_cast<uint32_t>(CallbackOp::OP_CB_GETATTR));
    put_file_handle(out, {holder.key.inode}, *c.service().volume_of(holder.key.inode));
    put_bitmap(out, asked_of_holder);
  };
  auto answer = TRY(calls.step(run, holder.client, call, operation));
  if (answer && answer->repeated) {
    PERDURE_MARK("a client is asked again for what it knows of a file");
    call = {};
    answer = TRY(calls.step(run, holder.client, call, operation));
  }
  if (answer && asks_for_time(answer->status)) {
    calls.again(run, call);
    answer.reset();
  }
  if (!answer) {
    c.clients().wait_for_delegations(run, holder.key.inode);
    const Outcome<void> waits = c.service().recall_waits().wait(c, ask_patience);
    if (waits.error().is_wait()) {
      c.let_go();
      return waits.error();
    }
    PERDURE_MARK("a client does not say what it knows of a file");
  }
  const bool good = answer && answer->status == Nfsstat4::NFS4_OK;
  return good ? parse(answer->result) : std::nullopt;
}

Outcome<void> stop_asking(Compound& c, Run& run, BackCallRegisters& call) {
  c.service().recall_waits().end(c.id());
  return c.service().back_calls().end(run, call);
}

}  // namespace

Outcome<std::optional<uint64_t>> ask_holder(Compound& c, Run& run, InodeId inode, const Bitmap& wanted) {
  const std::optional<uint64_t> ours;
  if (!depend_on_holder(wanted) || c.clients().delegations.size() == 0) return ours;
  auto* asking = std::get_if<AskHolderRegisters>(&c.registers.own);
  const auto holder = TRY(client::find_writing_holder(c.clients(), run, client::ClientId(c.registers.client),
                                                      inode, may_be_own(c)));
  const bool asked = asking != nullptr && asking->asked;
  // It has been given back meanwhile, or somebody else recalls it. Who waits for that begins to wait now: so
  // that this run is committed, and the client can be called by others.
  if (asking != nullptr && !asked && (!holder || holder->key.number != asking->number)) {
    TRY(stop_asking(c, run, asking->call));
    c.registers.own = {};
  }
  if (holder && !asked) {
    // What may fault does so before the client is asked.
    wire::XdrEncoder scratch;
    TRY(put_attributes(c, run, inode, wanted, scratch));
    if (c.owners.any_missed()) return Stop::fault();
    auto& own = own_registers<AskHolderRegisters>(c);
    own.number = holder->key.number;
    if (const auto theirs = TRY(ask(c, run, *holder, own.call))) {
      if (theirs->change == holder->change) return ours;
      PERDURE_MARK("a file has changed at the client that may change it");
      if (!planted("what a client has changed gets no new change attribute"))
        TRY(fs::note_change(c.fs(), run, inode));
      return std::optional(theirs->size);
    }
    own.asked = true;
    TRY(stop_asking(c, run, own.call));
  }
  TRY(recall_others(c, run, inode, client::Use::reads));
  return ours;
}

}  // namespace perdure::nfs4
