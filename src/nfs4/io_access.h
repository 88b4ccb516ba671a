// Who may read or write a file's content, or set its size: the stateid and the mode (or list) together.
#pragma once

#include "client/delegation.h"
#include "fs/attributes.h"
#include "nfs4/results.h"

namespace perdure::nfs4 {

// For READ and WRITE of the current file (or the saved one, of COPY): it is a regular file, the stateid
// allows the access (or is special and no open denies it), and so does the mode, or its list: some may write
// only from its end on (`offset`). Gives the inode.
Outcome<fs::InodeRow> io_access(Compound& c, Run& run, const client::Stateid& stateid, bool write,
                                uint64_t offset = 0, Handle which = Handle::current);

// Waits as long as others have delegations that are in the way (client/delegation.h). To be asked before
// anything is changed. The second one: of what the directory has under this name, if anything, which is to be
// removed or renamed.
Outcome<void> recall_others(Compound& c, Run& run, InodeId inode, client::Use use);
Outcome<void> recall_others(Compound& c, Run& run, InodeId directory, std::string_view name);

// Who may be the client that asks, where the request does not say; null where it does.
std::function<bool(client::ClientId)> may_be_own(Compound& c);

// What the directory has under this name is to be removed or renamed, and no volume covers it.
//   file_open
Outcome<void> check_not_covered(Compound& c, Run& run, InodeId directory, std::string_view name);

// For SETATTR of the size.
Outcome<fs::SizeRight> may_set_size(Compound& c, Run& run, const client::Stateid& stateid);

// The registers of an operation that takes more than one step, in whose step it is now.
template <class Registers>
Registers& own_registers(Compound& c) {
  if (!std::holds_alternative<Registers>(c.registers.own)) c.registers.own = Registers{};
  return std::get<Registers>(c.registers.own);
}

}  // namespace perdure::nfs4
