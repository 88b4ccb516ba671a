// GETATTR: RFC 8881 §18.7.
#include "nfs4/holder_attributes.h"
#include "nfs4/operations.h"

namespace perdure::nfs4 {

Outcome<Nfsstat4> op_getattr(Compound& c, Run& run) {
  const Bitmap wanted = get_bitmap(c.args);
  if (!c.args.ok()) return Nfsstat4::NFS4ERR_BADXDR;
  if (any_only_settable(wanted)) return Nfsstat4::NFS4ERR_INVAL;
  const InodeId inode = c.registers.current.inode;
  const std::optional<uint64_t> holders_size = TRY(ask_holder(c, run, inode, wanted));
  TRY(put_attributes(c, run, inode, wanted, c.reply, holders_size));
  // What the client has changed since it answered may be here already: the change attribute that is told with
  // its size belongs to nothing that we have.
  if (holders_size && !planted("a change attribute that was told with a client's size stays"))
    TRY(fs::note_change(c.fs(), run, inode));
  return Nfsstat4::NFS4_OK;
}

}  // namespace perdure::nfs4
