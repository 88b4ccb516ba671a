// GETATTR: RFC 8881 §18.7.
#include "nfs4/attributes.h"
#include "nfs4/compound.h"
#include "nfs4/io_access.h"
#include "nfs4/operations.h"

namespace perdure::nfs4 {

Outcome<Nfsstat4> op_getattr(Compound& c, Run& run) {
  const Bitmap wanted = get_bitmap(c.args);
  if (!c.args.ok()) return Nfsstat4::NFS4ERR_BADXDR;
  if (any_only_settable(wanted)) return Nfsstat4::NFS4ERR_INVAL;
  // Deviation: RFC 8881 §10.4.3 has CB_GETATTR, to ask the client that may be writing. We recall instead.
  if (wanted.has(Attribute::change) || wanted.has(Attribute::size) || wanted.has(Attribute::time_modify) ||
      wanted.has(Attribute::time_metadata) || wanted.has(Attribute::space_used))
    TRY(recall_others(c, run, c.registers.current.inode, client::Use::reads));
  TRY(put_attributes(c, run, c.registers.current.inode, wanted, c.reply));
  return Nfsstat4::NFS4_OK;
}

}  // namespace perdure::nfs4
