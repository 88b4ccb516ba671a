// CLOSE: RFC 8881 §18.2. OPEN_DOWNGRADE §18.18. OPEN_CONFIRM: RFC 7530 §16.18.
#include "client/open.h"

#include "nfs4/compound.h"
#include "nfs4/operations.h"
#include "nfs4/results.h"

namespace perdure::nfs4 {

Outcome<Nfsstat4> op_close(Compound& c, Run& run) {
  const uint32_t seqid = c.args.get_u32();
  const client::Stateid given = get_stateid(c.args);
  if (!c.args.ok()) return Nfsstat4::NFS4ERR_BADXDR;
  if (const auto repeated = TRY(take_turn(c, run, given, seqid))) return *repeated;
  const client::Stateid stateid = TRY(resolve_stateid(c, run, given));
  TRY(client::close(c.clients(), run, client::ClientId(c.registers.client), c.registers.current.inode,
                    stateid));
  if (c.turn) c.turn->request.closed = {stateid.inode, stateid.number};
  // What is closed has no stateid any more: the invalid special one (§18.2.4 ¶1).
  const client::Stateid invalid{.seqid = UINT32_MAX, .inode = {}, .number = 0};
  c.registers.current_stateid = invalid;
  put_stateid(c.reply, invalid);
  return Nfsstat4::NFS4_OK;
}

Outcome<Nfsstat4> op_open_confirm(Compound& c, Run& run) {
  const client::Stateid given = get_stateid(c.args);
  const uint32_t seqid = c.args.get_u32();
  if (!c.args.ok()) return Nfsstat4::NFS4ERR_BADXDR;
  // What is not confirmed does not count as a stateid yet.
  if (const auto repeated = TRY(take_turn(c, run, given, seqid))) return *repeated;
  put_stateid(c.reply, TRY(client::open_confirm(c.clients(), run, c.registers.current.inode, given)));
  c.turn->request.confirms = true;
  return Nfsstat4::NFS4_OK;
}

Outcome<Nfsstat4> op_open_downgrade(Compound& c, Run& run) {
  constexpr uint32_t access_bits = 3, wants_and_signals = 0x3ff00;
  const client::Stateid given = get_stateid(c.args);
  const uint32_t seqid = c.args.get_u32();
  const uint32_t access = c.args.get_u32() & (c.registers.minor_version == 0 ? ~0U : ~wants_and_signals);
  const uint32_t deny = c.args.get_u32();
  if (!c.args.ok()) return Nfsstat4::NFS4ERR_BADXDR;
  if (const auto repeated = TRY(take_turn(c, run, given, seqid))) return *repeated;
  if (access == 0 || access > access_bits || deny > access_bits) return Nfsstat4::NFS4ERR_INVAL;
  const client::Stateid stateid = TRY(resolve_stateid(c, run, given));
  const client::Stateid result = TRY(client::open_downgrade(
      c.clients(), run, client::ClientId(c.registers.client), c.registers.current.inode, stateid,
      static_cast<uint8_t>(access), static_cast<uint8_t>(deny)));
  c.registers.current_stateid = result;
  put_stateid(c.reply, result);
  return Nfsstat4::NFS4_OK;
}

}  // namespace perdure::nfs4
