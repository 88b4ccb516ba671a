// WRITE: RFC 8881 §18.32.
#include "fs/write.h"

#include "nfs4/io_access.h"
#include "nfs4/operations.h"
#include "nfs4/results.h"
#include "nfs4/service.h"

namespace perdure::nfs4 {

Outcome<Nfsstat4> op_write(Compound& c, Run& run) {
  const client::Stateid stateid = get_stateid(c.args);
  const uint64_t offset = c.args.get_u64();
  const uint32_t stable = c.args.get_u32();
  const Bytes all = c.args.get_opaque(c.arguments().size());
  // Of more than maxwrite the beginning is written: the client sees it by the count.
  const fs::WriteData data(all.first(std::min<size_t>(all.size(), c.service().options().io_bytes_max)),
                           c.argument_pages());
  if (!c.args.ok() || stable > static_cast<uint32_t>(fs::Stable::file_sync)) return Nfsstat4::NFS4ERR_BADXDR;
  auto& registers = own_registers<fs::WriteRegisters>(c);
  // Once, when it begins: what is on its way to the blocks is given back by fs::write() alone.
  if (registers.step == fs::WriteStep::start) TRY(io_access(c, run, stateid, true, offset));
  const Outcome<fs::WriteResult> written =
      fs::write(c.fs(), run, c.principal(), c.registers.current.inode, offset, data,
                static_cast<fs::Stable>(stable), registers);
  c.registers.step = static_cast<uint16_t>(registers.step);
  const fs::WriteResult result = TRY(written);
  if (result.committed == fs::Stable::unstable) c.registers.unstable = true;
  c.reply.put_u32(result.count);
  c.reply.put_u32(static_cast<uint32_t>(result.committed));
  c.reply.put_u64(c.service().options().write_verifier);
  return Nfsstat4::NFS4_OK;
}

}  // namespace perdure::nfs4
