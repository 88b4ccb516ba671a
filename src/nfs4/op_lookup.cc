// LOOKUP: RFC 8881 §18.13. LOOKUPP §18.14.
#include "fs/lookup.h"

#include "nfs4/compound.h"
#include "nfs4/names.h"
#include "nfs4/operations.h"
#include "nfs4/service.h"

namespace perdure::nfs4 {

Outcome<Nfsstat4> op_lookup(Compound& c, Run& run) {
  const std::string_view name = get_name(c.args);
  if (!c.args.ok()) return Nfsstat4::NFS4ERR_BADXDR;
  const fs::Object object = TRY(fs::lookup(c.fs(), run, c.principal(), c.registers.current.inode, name));
  const InodeId found = c.service().exports().crossed(object.inode);
  if (found != object.inode && c.exported(found) == nullptr) return Nfsstat4::NFS4ERR_ACCESS;
  c.set_current({found});
  return Nfsstat4::NFS4_OK;
}

Outcome<Nfsstat4> op_lookupp(Compound& c, Run& run) {
  const InodeId here = c.service().exports().covered_by(c.registers.current.inode);
  if (c.exported(here) == nullptr) return Nfsstat4::NFS4ERR_ACCESS;
  c.set_current({TRY(fs::lookup_parent(c.fs(), run, c.principal(here), here))});
  return Nfsstat4::NFS4_OK;
}

}  // namespace perdure::nfs4
