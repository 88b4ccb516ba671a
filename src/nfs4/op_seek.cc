// SEEK: RFC 7862 §15.11.
#include "fs/seek.h"

#include "nfs4/io_access.h"
#include "nfs4/operations.h"
#include "nfs4/results.h"

namespace perdure::nfs4 {

Outcome<Nfsstat4> op_seek(Compound& c, Run& run) {
  const client::Stateid stateid = get_stateid(c.args);
  const uint64_t offset = c.args.get_u64();
  const uint32_t what = c.args.get_u32();
  if (!c.args.ok()) return Nfsstat4::NFS4ERR_BADXDR;
  if (what > static_cast<uint32_t>(fs::SeekWhat::hole)) return Nfsstat4::NFS4ERR_UNION_NOTSUPP;
  const fs::InodeRow inode = TRY(io_access(c, run, stateid, false));
  auto& registers = own_registers<fs::SeekRegisters>(c);
  const fs::SeekResult result = TRY(fs::seek(c.fs(), run, c.registers.current.inode, inode, offset,
                                             static_cast<fs::SeekWhat>(what), registers));
  c.reply.put_bool(result.eof);
  c.reply.put_u64(result.offset);
  return Nfsstat4::NFS4_OK;
}

}  // namespace perdure::nfs4
