// LINK: RFC 8881 §18.9. Saved file handle: the object; current: the directory of the new name.
#include "fs/link.h"

#include "nfs4/io_access.h"
#include "nfs4/names.h"
#include "nfs4/operations.h"
#include "nfs4/results.h"

namespace perdure::nfs4 {

Outcome<Nfsstat4> op_link(Compound& c, Run& run) {
  const std::string_view name = get_name(c.args);
  if (!c.args.ok()) return Nfsstat4::NFS4ERR_BADXDR;
  TRY(recall_others(c, run, c.registers.saved.inode, client::Use::changes));
  const fs::ChangeInfo change =
      TRY(fs::link(c.fs(), run, c.principal(), c.registers.saved.inode, c.registers.current.inode, name));
  put_change_info(c.reply, change);
  return Nfsstat4::NFS4_OK;
}

}  // namespace perdure::nfs4
