// GETATTR: RFC 8881 §18.7.
#include "nfs4/attributes.h"
#include "nfs4/compound.h"
#include "nfs4/operations.h"

namespace perdure::nfs4 {

Outcome<Nfsstat4> op_getattr(Compound& c, Run& run) {
  const Bitmap wanted = get_bitmap(c.args);
  if (!c.args.ok()) return Nfsstat4::NFS4ERR_BADXDR;
  if (any_only_settable(wanted)) return Nfsstat4::NFS4ERR_INVAL;
  TRY(put_attributes(c, run, c.registers.current.inode, wanted, c.reply));
  return Nfsstat4::NFS4_OK;
}

}  // namespace perdure::nfs4
