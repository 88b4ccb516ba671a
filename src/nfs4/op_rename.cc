// RENAME: RFC 8881 §18.26. Saved file handle: source directory; current: target directory.
#include "fs/rename.h"

#include "base/planted_bug.h"
#include "fs/remove.h"

#include "nfs4/io_access.h"
#include "nfs4/names.h"
#include "nfs4/operations.h"
#include "nfs4/results.h"

namespace perdure::nfs4 {

namespace {

// A deliberate bug: the name that is replaced goes in a step of its own.
Outcome<void> remove_target(Compound& c, Run& run, std::string_view name) {
  if (c.registers.step != 0) return {};
  const InodeId directory = c.registers.current.inode;
  const auto removed = fs::remove(c.fs(), run, c.principal(), directory, name);
  if (!removed) return removed.error().is_status() ? Outcome<void>() : removed.error();
  c.registers.step = 1;
  c.fs().hooks().resume(c.id());
  return Stop::wait();
}

}  // namespace

Outcome<Nfsstat4> op_rename(Compound& c, Run& run) {
  const std::string_view from = get_name(c.args);
  const std::string_view to = get_name(c.args);
  if (!c.args.ok()) return Nfsstat4::NFS4ERR_BADXDR;
  TRY(check_not_covered(c, run, c.registers.saved.inode, from));
  TRY(check_not_covered(c, run, c.registers.current.inode, to));
  TRY(recall_others(c, run, c.registers.saved.inode, from));
  TRY(recall_others(c, run, c.registers.current.inode, to));
  if (planted("a rename takes two steps")) TRY(remove_target(c, run, to));
  const fs::Renamed renamed = TRY(
      fs::rename(c.fs(), run, c.principal(), c.registers.saved.inode, from, c.registers.current.inode, to));
  put_change_info(c.reply, renamed.from);
  put_change_info(c.reply, renamed.to);
  return Nfsstat4::NFS4_OK;
}

}  // namespace perdure::nfs4
