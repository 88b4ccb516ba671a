// OFFLOAD_CANCEL: RFC 7862 §15.8. OFFLOAD_STATUS: §15.9.
#include "nfs4/io_access.h"
#include "nfs4/operations.h"
#include "nfs4/results.h"
#include "nfs4/service.h"

namespace perdure::nfs4 {

Outcome<Nfsstat4> op_offload_cancel(Compound& c, Run& run) {
  const client::Stateid stateid = get_stateid(c.args);
  if (!c.args.ok()) return Nfsstat4::NFS4ERR_BADXDR;
  auto& registers = own_registers<OffloadCancelRegisters>(c);
  TRY(c.service().async_copies().cancel(run, client::ClientId(c.registers.client), stateid, registers.waits));
  return Nfsstat4::NFS4_OK;
}

Outcome<Nfsstat4> op_offload_status(Compound& c, Run& run) {
  const client::Stateid stateid = get_stateid(c.args);
  if (!c.args.ok()) return Nfsstat4::NFS4ERR_BADXDR;
  const auto progress =
      TRY(c.service().async_copies().progress(run, client::ClientId(c.registers.client), stateid));
  if (!progress) return Nfsstat4::NFS4ERR_BAD_STATEID;
  c.reply.put_u64(progress->done);
  c.reply.put_u32(progress->ended ? 1 : 0);  // osr_complete
  if (progress->ended) c.reply.put_u32(static_cast<uint32_t>(*progress->ended));
  return Nfsstat4::NFS4_OK;
}

}  // namespace perdure::nfs4
