// COMMIT: RFC 8881 §18.3. Takes as many steps as the file's dirty pages need (fs/commit.h). One that a crash
// has interrupted starts again, and answers with the verifier of the process that completes it: what the
// crash has lost, the client then sends again.
#include "fs/commit.h"

#include "nfs4/io_access.h"
#include "nfs4/operations.h"
#include "nfs4/service.h"

namespace perdure::nfs4 {

Outcome<Nfsstat4> op_commit(Compound& c, Run& run) {
  const uint64_t offset = c.args.get_u64();
  const uint32_t count = c.args.get_u32();
  if (!c.args.ok()) return Nfsstat4::NFS4ERR_BADXDR;
  if (offset > UINT64_MAX - count) return Nfsstat4::NFS4ERR_INVAL;
  const InodeId inode = c.registers.current.inode;
  auto& registers = own_registers<fs::CommitRegisters>(c);
  const Outcome<void> committed = fs::commit(c.fs(), run, inode, offset, count, registers);
  c.registers.step = static_cast<uint16_t>(registers.step);
  TRY(committed);
  c.reply.put_u64(c.service().options().write_verifier);
  return Nfsstat4::NFS4_OK;
}

}  // namespace perdure::nfs4
