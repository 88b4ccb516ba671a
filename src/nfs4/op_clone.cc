// CLONE: RFC 7862 §15.13. COPY: §15.2. Saved file handle: the source; current: the target. COPY is always
// within this server and consecutive. Blocks are shared, so that it is fast, and most of the time done with
// the answer; where it takes longer, it is asynchronous if the client allows that (async_copy.h), and else a
// client goes on where a long one has ended.
#include "fs/clone.h"

#include "nfs4/io_access.h"
#include "nfs4/operations.h"
#include "nfs4/results.h"
#include "nfs4/service.h"

namespace perdure::nfs4 {

namespace {

struct CloneArguments {
  client::Stateid source, target;
  fs::CloneRange range;
};

CloneArguments get_clone(Compound& c) {
  CloneArguments a;
  a.source = get_stateid(c.args);
  a.target = get_stateid(c.args);
  a.range.from = c.registers.saved.inode;
  a.range.to = c.registers.current.inode;
  a.range.from_offset = c.args.get_u64();
  a.range.to_offset = c.args.get_u64();
  a.range.count = c.args.get_u64();
  return a;
}

// Once, when it begins.
Outcome<void> may_clone(Compound& c, Run& run, const CloneArguments& a, const fs::CloneRegisters& registers) {
  if (registers.started) return {};
  TRY(io_access(c, run, a.source, false, 0, Handle::saved));
  TRY(io_access(c, run, a.target, true, a.range.to_offset));
  return {};
}

// netloc4<>: whether other servers are named.
bool get_servers(wire::XdrDecoder& in) {
  constexpr uint32_t by_address = 3;  // a netid and an address; the others are one string
  constexpr size_t text_bytes_max = 1024;
  const uint32_t count = in.get_count(64, 8);
  for (uint32_t i = 0; i < count && in.ok(); ++i) {
    const uint32_t kind = in.get_u32();
    in.get_opaque(text_bytes_max);
    if (kind == by_address) in.get_opaque(text_bytes_max);
  }
  return count != 0;
}

}  // namespace

Outcome<Nfsstat4> op_clone(Compound& c, Run& run) {
  const CloneArguments a = get_clone(c);
  if (!c.args.ok()) return Nfsstat4::NFS4ERR_BADXDR;
  auto& registers = own_registers<fs::CloneRegisters>(c);
  TRY(may_clone(c, run, a, registers));
  TRY(fs::clone(c.fs(), run, c.principal(), a.range, registers));
  return Nfsstat4::NFS4_OK;
}

Outcome<Nfsstat4> op_copy(Compound& c, Run& run) {
  const CloneArguments a = get_clone(c);
  c.args.get_bool();  // ca_consecutive
  const bool synchronous = c.args.get_bool();
  const bool between_servers = get_servers(c.args);
  if (!c.args.ok()) return Nfsstat4::NFS4ERR_BADXDR;
  if (between_servers) return Nfsstat4::NFS4ERR_NOTSUPP;
  auto& registers = own_registers<fs::CloneRegisters>(c);
  TRY(may_clone(c, run, a, registers));
  std::optional<client::Stateid> copy;
  uint64_t count = 0;
  if (!synchronous && !registers.started) {
    const client::ClientId client(c.registers.client);
    fs::CloneRange whole = a.range;
    whole.count = TRY(fs::clone_count(c.fs(), run, a.range));
    AsyncCopies& copies = c.service().async_copies();
    if (TRY(copies.may_begin(run, client, whole)))
      copy = TRY(copies.begin(run, client, c.principal(), whole));
  }
  if (!copy) count = TRY(fs::copy(c.fs(), run, c.principal(), a.range, registers));
  c.reply.put_u32(copy ? 1 : 0);  // wr_callback_id: none, if it is done
  if (copy) put_stateid(c.reply, *copy);
  c.reply.put_u64(count);
  c.reply.put_u32(static_cast<uint32_t>(fs::Stable::file_sync));
  c.reply.put_u64(c.service().options().write_verifier);
  c.reply.put_bool(true);   // cr_consecutive
  c.reply.put_bool(!copy);  // cr_synchronous
  return Nfsstat4::NFS4_OK;
}

}  // namespace perdure::nfs4
