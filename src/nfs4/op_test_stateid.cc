// TEST_STATEID: RFC 8881 §18.48. FREE_STATEID §18.38.
#include "client/stateid_ops.h"

#include "nfs4/compound.h"
#include "nfs4/operations.h"
#include "nfs4/results.h"
#include "nfs4/status.h"

namespace perdure::nfs4 {

Outcome<Nfsstat4> op_test_stateid(Compound& c, Run& run) {
  const uint32_t count = c.args.get_count(UINT16_MAX, 16);
  if (!c.args.ok()) return Nfsstat4::NFS4ERR_BADXDR;
  c.reply.put_u32(count);
  for (uint32_t i = 0; i < count; ++i) {
    const client::Stateid stateid = get_stateid(c.args);
    const Status status =
        TRY(client::test_stateid(c.clients(), run, client::ClientId(c.registers.client), stateid));
    c.reply.put_u32(static_cast<uint32_t>(to_nfsstat4(status)));
  }
  return c.args.ok() ? Nfsstat4::NFS4_OK : Nfsstat4::NFS4ERR_BADXDR;
}

Outcome<Nfsstat4> op_free_stateid(Compound& c, Run& run) {
  const client::Stateid given = get_stateid(c.args);
  if (!c.args.ok()) return Nfsstat4::NFS4ERR_BADXDR;
  const client::Stateid stateid = TRY(resolve_stateid(c, run, given));
  TRY(client::free_stateid(c.clients(), run, client::ClientId(c.registers.client), stateid));
  return Nfsstat4::NFS4_OK;
}

}  // namespace perdure::nfs4
