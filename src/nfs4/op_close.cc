// CLOSE: RFC 8881 §18.2. OPEN_DOWNGRADE §18.18.
#include "client/open.h"

#include "nfs4/compound.h"
#include "nfs4/operations.h"
#include "nfs4/results.h"

namespace perdure::nfs4 {

Outcome<Nfsstat4> op_close(Compound& c, Run& run) {
  c.args.get_u32();  // seqid: of no use with sessions
  const client::Stateid given = get_stateid(c.args);
  if (!c.args.ok()) return Nfsstat4::NFS4ERR_BADXDR;
  const client::Stateid stateid = TRY(resolve_stateid(c, given));
  TRY(client::close(c.clients(), run, client::ClientId(c.registers.client), c.registers.current.inode,
                    stateid));
  // What is closed has no stateid any more: the invalid special one (§18.2.4 ¶1).
  const client::Stateid invalid{.seqid = UINT32_MAX, .inode = {}, .number = 0};
  c.registers.current_stateid = invalid;
  put_stateid(c.reply, invalid);
  return Nfsstat4::NFS4_OK;
}

Outcome<Nfsstat4> op_open_downgrade(Compound& c, Run& run) {
  constexpr uint32_t access_bits = 3, wants_and_signals = 0x3ff00;
  const client::Stateid given = get_stateid(c.args);
  c.args.get_u32();  // seqid
  const uint32_t access = c.args.get_u32() & ~wants_and_signals;
  const uint32_t deny = c.args.get_u32();
  if (!c.args.ok()) return Nfsstat4::NFS4ERR_BADXDR;
  if (access == 0 || access > access_bits || deny > access_bits) return Nfsstat4::NFS4ERR_INVAL;
  const client::Stateid stateid = TRY(resolve_stateid(c, given));
  const client::Stateid result = TRY(client::open_downgrade(
      c.clients(), run, client::ClientId(c.registers.client), c.registers.current.inode, stateid,
      static_cast<uint8_t>(access), static_cast<uint8_t>(deny)));
  c.registers.current_stateid = result;
  put_stateid(c.reply, result);
  return Nfsstat4::NFS4_OK;
}

}  // namespace perdure::nfs4
