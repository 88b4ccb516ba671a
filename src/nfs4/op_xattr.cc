// GETXATTR, SETXATTR, LISTXATTRS and REMOVEXATTR: RFC 8276 §8.4.
#include "fs/xattr.h"

#include <algorithm>

#include "nfs4/compound.h"
#include "nfs4/io_access.h"
#include "nfs4/names.h"
#include "nfs4/operations.h"
#include "nfs4/results.h"

namespace perdure::nfs4 {

Outcome<Nfsstat4> op_getxattr(Compound& c, Run& run) {
  const std::string_view name = get_name(c.args);
  if (!c.args.ok()) return Nfsstat4::NFS4ERR_BADXDR;
  c.reply.put_opaque(TRY(fs::get_xattr(c.fs(), run, c.principal(), c.registers.current.inode, name)));
  return Nfsstat4::NFS4_OK;
}

Outcome<Nfsstat4> op_setxattr(Compound& c, Run& run) {
  const uint32_t option = c.args.get_u32();
  const std::string_view name = get_name(c.args);
  const Bytes value = c.args.get_opaque(UINT32_MAX);  // what is there: too much is NFS4ERR_XATTR2BIG
  if (!c.args.ok() || option > static_cast<uint32_t>(fs::SetXattr::replace)) return Nfsstat4::NFS4ERR_BADXDR;
  TRY(recall_others(c, run, c.registers.current.inode, client::Use::changes));
  put_change_info(c.reply, TRY(fs::set_xattr(c.fs(), run, c.principal(), c.registers.current.inode, name,
                                             value, static_cast<fs::SetXattr>(option))));
  return Nfsstat4::NFS4_OK;
}

Outcome<Nfsstat4> op_listxattrs(Compound& c, Run& run) {
  constexpr size_t length_bytes = 4, eof_bytes = 4;
  uint64_t cookie = c.args.get_u64();
  const uint32_t bytes_max = c.args.get_u32();
  if (!c.args.ok()) return Nfsstat4::NFS4ERR_BADXDR;

  const size_t cookie_at = c.reply.size(), count_at = cookie_at + 8;
  const size_t end = cookie_at + std::min<size_t>(bytes_max, c.reply_room());
  c.reply.put_u64(0);
  c.reply.put_u32(0);
  uint32_t count = 0;
  const bool eof = TRY(fs::list_xattrs(c.fs(), run, c.principal(), c.registers.current.inode, cookie,
                                       [&](uint64_t position, std::string_view name) {
                                         const size_t bytes = length_bytes + wire::padded(name.size());
                                         if (c.reply.size() + bytes + eof_bytes > end) return false;
                                         c.reply.put_string(name);
                                         cookie = position;
                                         ++count;
                                         return true;
                                       }));
  if ((count == 0 && !eof) || c.reply.size() + eof_bytes > end) return Status::too_small;
  c.reply.patch_u32(cookie_at, static_cast<uint32_t>(cookie >> 32U));
  c.reply.patch_u32(cookie_at + 4, static_cast<uint32_t>(cookie));
  c.reply.patch_u32(count_at, count);
  c.reply.put_bool(eof);
  return Nfsstat4::NFS4_OK;
}

Outcome<Nfsstat4> op_removexattr(Compound& c, Run& run) {
  const std::string_view name = get_name(c.args);
  if (!c.args.ok()) return Nfsstat4::NFS4ERR_BADXDR;
  TRY(recall_others(c, run, c.registers.current.inode, client::Use::changes));
  put_change_info(c.reply,
                  TRY(fs::remove_xattr(c.fs(), run, c.principal(), c.registers.current.inode, name)));
  return Nfsstat4::NFS4_OK;
}

}  // namespace perdure::nfs4
