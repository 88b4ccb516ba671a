#include "nfs4/io_access.h"

#include "client/access.h"
#include "fs/access.h"
#include "nfs4/results.h"

namespace perdure::nfs4 {

Outcome<fs::InodeRow> io_access(Compound& c, Run& run, const client::Stateid& given, bool write,
                                Handle which) {
  const client::Stateid stateid = TRY(resolve_stateid(c, given, which));
  const InodeId id = (which == Handle::saved ? c.registers.saved : c.registers.current).inode;
  const fs::InodeRow inode = TRY(c.fs().load(run, id));
  TRY(fs::check_regular(inode));
  TRY(client::check_access(c.clients(), run, client::ClientId(c.registers.client), id, stateid,
                           write ? client::IoKind::write : client::IoKind::read));
  TRY(fs::check_permission(inode, c.principal(), write ? fs::may_write : fs::may_read, fs::Check::data));
  return inode;
}

Outcome<fs::SizeRight> may_set_size(Compound& c, Run& run, const client::Stateid& given) {
  const client::Stateid stateid = TRY(resolve_stateid(c, given));
  const client::Access access =
      TRY(client::check_access(c.clients(), run, client::ClientId(c.registers.client),
                               c.registers.current.inode, stateid, client::IoKind::write));
  return access.open != 0 ? fs::SizeRight::by_open : fs::SizeRight::by_mode;
}

}  // namespace perdure::nfs4
