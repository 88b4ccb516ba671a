// GETFH: RFC 8881 §18.8. SAVEFH §18.28. RESTOREFH §18.27.
#include "nfs4/compound.h"
#include "nfs4/operations.h"
#include "nfs4/service.h"

namespace perdure::nfs4 {

Outcome<Nfsstat4> op_getfh(Compound& c, Run&) {
  put_file_handle(c.reply, c.registers.current, *c.service().volume_of(c.registers.current.inode));
  return Nfsstat4::NFS4_OK;
}

Outcome<Nfsstat4> op_savefh(Compound& c, Run&) {
  c.registers.saved = c.registers.current;
  c.registers.saved_stateid = c.registers.current_stateid;
  return Nfsstat4::NFS4_OK;
}

Outcome<Nfsstat4> op_restorefh(Compound& c, Run&) {
  if (!c.registers.saved)
    return c.registers.minor_version == 0 ? Nfsstat4::NFS4ERR_RESTOREFH : Nfsstat4::NFS4ERR_NOFILEHANDLE;
  c.registers.current = c.registers.saved;
  c.registers.current_stateid = c.registers.saved_stateid;
  return Nfsstat4::NFS4_OK;
}

}  // namespace perdure::nfs4
