// SETATTR: RFC 8881 §18.30. Its result carries a bitmap even when it fails
// (Operation::empty_bitmap_on_error).
#include "fs/attributes.h"

#include "nfs4/attributes.h"
#include "nfs4/io_access.h"
#include "nfs4/operations.h"
#include "nfs4/results.h"

namespace perdure::nfs4 {

Outcome<Nfsstat4> op_setattr(Compound& c, Run& run) {
  const client::Stateid stateid = get_stateid(c.args);
  const auto attributes = get_new_attributes(c);
  if (!c.args.ok()) return Nfsstat4::NFS4ERR_BADXDR;
  if (!attributes) return attributes.error();
  // RFC 8275: it belongs to the creation of objects alone.
  if (attributes->given.has(Attribute::mode_umask)) return Nfsstat4::NFS4ERR_INVAL;
  TRY(recall_others(c, run, c.registers.current.inode, client::Use::changes));
  if (attributes->set.size && c.registers.minor_version == 0 &&
      TRY(c.fs().load(run, c.registers.current.inode)).type == fs::FileType::directory)
    return Nfsstat4::NFS4ERR_ISDIR;  // later versions do not know it here (RFC 7530 §13.2, RFC 8881 §15.2)
  auto right = fs::SizeRight::by_mode;
  if (attributes->set.size) right = TRY(may_set_size(c, run, stateid));
  TRY(fs::set_attributes(c.fs(), run, c.principal(), c.registers.current.inode, attributes->set, right));
  put_bitmap(c.reply, attributes->given);
  return Nfsstat4::NFS4_OK;
}

}  // namespace perdure::nfs4
