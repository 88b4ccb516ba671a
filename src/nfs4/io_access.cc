#include "nfs4/io_access.h"

#include "client/access.h"
#include "fs/access.h"
#include "fs/lookup.h"
#include "nfs4/results.h"
#include "nfs4/service.h"

namespace perdure::nfs4 {

namespace {

// By mode or list. Who may only append writes behind the end.
Outcome<void> check_io_rights(Compound& c, Run& run, InodeId id, const fs::InodeRow& inode, bool write,
                              uint64_t offset) {
  const fs::Rights has = TRY(fs::rights(c.fs(), run, id, inode, c.principal(id), fs::Check::data));
  const bool appends = write && offset >= inode.size && has.allow(fs::may_append);
  if (!appends && !has.allow(write ? fs::may_write : fs::may_read)) return Status::access_denied;
  return {};
}

}  // namespace

Outcome<fs::InodeRow> io_access(Compound& c, Run& run, const client::Stateid& given, bool write,
                                uint64_t offset, Handle which) {
  const client::Stateid stateid = TRY(resolve_stateid(c, run, given, which));
  const InodeId id = (which == Handle::saved ? c.registers.saved : c.registers.current).inode;
  const fs::InodeRow inode = TRY(c.fs().load(run, id));
  TRY(fs::check_regular(inode));
  TRY(recall_others(c, run, id, write ? client::Use::changes : client::Use::reads));
  TRY(client::check_access(c.clients(), run, client::ClientId(c.registers.client), id, stateid,
                           write ? client::IoKind::write : client::IoKind::read));
  TRY(check_io_rights(c, run, id, inode, write, offset));
  return inode;
}

// A GETATTR of NFSv4.0 does not say whose it is. Linux sends one in front of each DELEGRETURN, in the same
// COMPOUND: to wait there for that very delegation would be to wait for ever. So who reads what was delegated
// to a client of the same address is taken for that client.
std::function<bool(client::ClientId)> may_be_own(Compound& c) {
  if (c.registers.minor_version != 0 || c.registers.client != 0) return nullptr;
  return [&](client::ClientId holder) {
    const client::ClientRow* row = c.clients().clients.peek({holder});
    if (row == nullptr || row->kind != client::ClientKind::version40) return false;
    const auto place = parse_callback_place(row->callback);
    return place && place->address.ip == c.peer().ip;
  };
}

Outcome<void> recall_others(Compound& c, Run& run, InodeId inode, client::Use use) {
  const Outcome<void> clear =
      client::recall_others(c.clients(), run, client::ClientId(c.registers.client), inode, use,
                            use == client::Use::reads ? may_be_own(c) : nullptr);
  if (!clear && clear.error().is_wait()) {
    c.let_go();
    return c.service().recall_waits().wait(c);
  }
  return clear;
}

Outcome<void> recall_others(Compound& c, Run& run, InodeId directory, std::string_view name) {
  if (c.clients().delegations.size() == 0) return {};
  const auto found = fs::lookup(c.fs(), run, c.principal(), directory, name);
  if (!found) return found.error().is_status() ? Outcome<void>() : found.error();
  return recall_others(c, run, found->inode, client::Use::changes);
}

Outcome<void> check_not_covered(Compound& c, Run& run, InodeId directory, std::string_view name) {
  const Exports& exports = c.service().exports();
  if (!exports.have_mounts()) return {};
  const auto found = fs::lookup(c.fs(), run, c.principal(directory), directory, name);
  if (!found) return found.error().is_status() ? Outcome<void>() : found.error();
  return exports.is_covered(found->inode) ? Outcome<void>(Status::file_open) : Outcome<void>();
}

Outcome<fs::SizeRight> may_set_size(Compound& c, Run& run, const client::Stateid& given) {
  const client::Stateid stateid = TRY(resolve_stateid(c, run, given));
  const client::Access access =
      TRY(client::check_access(c.clients(), run, client::ClientId(c.registers.client),
                               c.registers.current.inode, stateid, client::IoKind::write));
  return access.open != 0 ? fs::SizeRight::by_open : fs::SizeRight::by_mode;
}

}  // namespace perdure::nfs4
