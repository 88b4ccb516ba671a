// SECINFO: RFC 8881 §18.29. SECINFO_NO_NAME §18.45. Both consume the current file handle, but not in
// NFSv4.0.
#include "fs/lookup.h"

#include "nfs4/compound.h"
#include "nfs4/names.h"
#include "nfs4/operations.h"
#include "nfs4/service.h"

namespace perdure::nfs4 {

namespace {

// SECINFO4resok: the flavors of authentication that are accepted, the preferred one first.
void put_flavors(wire::XdrEncoder& out) {
  out.put_u32(2);
  out.put_u32(static_cast<uint32_t>(wire::AuthFlavor::AUTH_SYS));
  out.put_u32(static_cast<uint32_t>(wire::AuthFlavor::AUTH_NONE));
}

}  // namespace

Outcome<Nfsstat4> op_secinfo(Compound& c, Run& run) {
  const std::string_view name = get_name(c.args);
  if (!c.args.ok()) return Nfsstat4::NFS4ERR_BADXDR;
  TRY(fs::lookup(c.fs(), run, c.principal(), c.registers.current.inode, name));
  put_flavors(c.reply);
  if (c.registers.minor_version != 0) c.set_current({});
  return Nfsstat4::NFS4_OK;
}

Outcome<Nfsstat4> op_secinfo_no_name(Compound& c, Run& run) {
  constexpr uint32_t current = 0, parent = 1;  // secinfo_style4
  const uint32_t style = c.args.get_u32();
  if (!c.args.ok() || (style != current && style != parent)) return Nfsstat4::NFS4ERR_BADXDR;
  const InodeId here = c.service().exports().covered_by(c.registers.current.inode);
  if (style == parent) TRY(fs::lookup_parent(c.fs(), run, c.principal(here), here));
  put_flavors(c.reply);
  c.set_current({});
  return Nfsstat4::NFS4_OK;
}

}  // namespace perdure::nfs4
