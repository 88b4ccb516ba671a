// PUTFH: RFC 8881 §18.19. PUTPUBFH §18.20. PUTROOTFH §18.21.
#include "nfs4/compound.h"
#include "nfs4/operations.h"
#include "nfs4/service.h"

namespace perdure::nfs4 {

Outcome<Nfsstat4> op_putfh(Compound& c, Run& run) {
  const Bytes bytes = c.args.get_opaque(filehandle_bytes_max);
  if (!c.args.ok()) return Nfsstat4::NFS4ERR_BADXDR;
  const std::optional<ParsedHandle> parsed = parse_file_handle(bytes);
  if (!parsed) return Nfsstat4::NFS4ERR_BADHANDLE;
  const FileHandle handle = parsed->handle;
  const fs::VolumeRow* volume = c.service().volume_of(handle.inode);
  if (volume == nullptr || volume->uuid[0] != parsed->uuid) return Nfsstat4::NFS4ERR_BADHANDLE;
  // It may have been exported when the client got it.
  if (c.exported(handle.inode) == nullptr)
    return c.service().exports().is_exported(fs::volume_of(handle.inode)) ? Nfsstat4::NFS4ERR_ACCESS
                                                                          : Nfsstat4::NFS4ERR_STALE;
  if (TRY(c.fs().inodes.get(run, {handle.inode})) == nullptr) return Nfsstat4::NFS4ERR_STALE;
  c.set_current(handle);
  return Nfsstat4::NFS4_OK;
}

Outcome<Nfsstat4> op_putrootfh(Compound& c, Run&) {
  const InodeId root = c.service().exports().root();
  if (c.exported(root) == nullptr) return Nfsstat4::NFS4ERR_ACCESS;
  c.set_current({root});
  return Nfsstat4::NFS4_OK;
}

// The public file handle is the root (RFC 8881 §18.20.3 ¶4).
Outcome<Nfsstat4> op_putpubfh(Compound& c, Run& run) {
  return op_putrootfh(c, run);
}

}  // namespace perdure::nfs4
