#include "nfs4/io_access.h"

#include "client/access.h"
#include "fs/access.h"
#include "nfs4/results.h"

namespace perdure::nfs4 {

namespace {

// By mode or list. Who may only append writes behind the end.
Outcome<void> check_io_rights(Compound& c, Run& run, const fs::InodeRow& inode, bool write, uint64_t offset) {
  const fs::Rights has =
      TRY(fs::rights(c.fs(), run, c.registers.current.inode, inode, c.principal(), fs::Check::data));
  const bool appends = write && offset >= inode.size && has.allow(fs::may_append);
  if (!appends && !has.allow(write ? fs::may_write : fs::may_read)) return Status::access_denied;
  return {};
}

}  // namespace

Outcome<fs::InodeRow> io_access(Compound& c, Run& run, const client::Stateid& given, bool write,
                                uint64_t offset) {
  const client::Stateid stateid = TRY(resolve_stateid(c, given));
  const fs::InodeRow inode = TRY(c.fs().load(run, c.registers.current.inode));
  TRY(fs::check_regular(inode));
  TRY(client::check_access(c.clients(), run, client::ClientId(c.registers.client), c.registers.current.inode,
                           stateid, write ? client::IoKind::write : client::IoKind::read));
  TRY(check_io_rights(c, run, inode, write, offset));
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
