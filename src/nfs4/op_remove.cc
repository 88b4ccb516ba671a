// REMOVE: RFC 8881 §18.25.
#include "fs/remove.h"

#include "nfs4/io_access.h"
#include "nfs4/names.h"
#include "nfs4/operations.h"
#include "nfs4/results.h"

namespace perdure::nfs4 {

Outcome<Nfsstat4> op_remove(Compound& c, Run& run) {
  const std::string_view name = get_name(c.args);
  if (!c.args.ok()) return Nfsstat4::NFS4ERR_BADXDR;
  TRY(check_not_covered(c, run, c.registers.current.inode, name));
  TRY(recall_others(c, run, c.registers.current.inode, name));
  const fs::Removed removed = TRY(fs::remove(c.fs(), run, c.principal(), c.registers.current.inode, name));
  put_change_info(c.reply, removed.directory);
  return Nfsstat4::NFS4_OK;
}

}  // namespace perdure::nfs4
