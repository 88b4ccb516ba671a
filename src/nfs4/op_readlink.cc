// READLINK: RFC 8881 §18.24.
#include "fs/readlink.h"

#include "nfs4/compound.h"
#include "nfs4/operations.h"

namespace perdure::nfs4 {

Outcome<Nfsstat4> op_readlink(Compound& c, Run& run) {
  c.reply.put_string(TRY(fs::readlink(c.fs(), run, c.registers.current.inode)));
  return Nfsstat4::NFS4_OK;
}

}  // namespace perdure::nfs4
