// ACCESS: RFC 8881 §18.1, RFC 8276 §8.5.
#include "fs/access.h"

#include "nfs4/compound.h"
#include "nfs4/operations.h"
#include "nfs4/service.h"

namespace perdure::nfs4 {

Outcome<Nfsstat4> op_access(Compound& c, Run& run) {
  uint32_t wanted = c.args.get_u32();
  if (!c.args.ok()) return Nfsstat4::NFS4ERR_BADXDR;
  constexpr uint32_t of_xattrs = fs::access_xattr_read | fs::access_xattr_write | fs::access_xattr_list;
  if (c.registers.minor_version < 2) wanted &= ~of_xattrs;
  const fs::Access access = TRY(fs::access(c.fs(), run, c.principal(), c.registers.current.inode, wanted));
  constexpr uint32_t changing =
      fs::access_modify | fs::access_extend | fs::access_delete | fs::access_xattr_write;
  c.reply.put_u32(access.supported);
  c.reply.put_u32(c.read_only() ? access.allowed & ~changing : access.allowed);
  return Nfsstat4::NFS4_OK;
}

}  // namespace perdure::nfs4
