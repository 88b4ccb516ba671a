// DELEGRETURN: RFC 8881 §18.6.
#include "client/delegation.h"

#include "nfs4/compound.h"
#include "nfs4/operations.h"
#include "nfs4/results.h"

namespace perdure::nfs4 {

Outcome<Nfsstat4> op_delegreturn(Compound& c, Run& run) {
  const client::Stateid given = get_stateid(c.args);
  if (!c.args.ok()) return Nfsstat4::NFS4ERR_BADXDR;
  const client::Stateid stateid = TRY(resolve_stateid(c, run, given));
  TRY(client::delegreturn(c.clients(), run, client::ClientId(c.registers.client), c.registers.current.inode,
                          stateid));
  return Nfsstat4::NFS4_OK;
}

}  // namespace perdure::nfs4
