// READ: RFC 8881 §18.22.
#include "fs/read.h"

#include "nfs4/io_access.h"
#include "nfs4/operations.h"
#include "nfs4/results.h"
#include "nfs4/service.h"

namespace perdure::nfs4 {

Outcome<Nfsstat4> op_read(Compound& c, Run& run) {
  const client::Stateid stateid = get_stateid(c.args);
  const uint64_t offset = c.args.get_u64();
  const uint32_t wanted = c.args.get_u32();
  if (!c.args.ok()) return Nfsstat4::NFS4ERR_BADXDR;
  const fs::InodeRow inode = TRY(io_access(c, run, stateid, false));
  constexpr size_t eof_and_length = 8, padding = 3;
  const size_t room = c.reply_room();
  if (room < eof_and_length + padding) return Nfsstat4::NFS4ERR_REP_TOO_BIG;
  const uint64_t count =
      std::min<uint64_t>({wanted, c.service().options().io_bytes_max, room - eof_and_length - padding});
  const fs::ReadResult result = TRY(fs::read(c.fs(), run, c.registers.current.inode, inode, offset, count));
  c.reply.put_bool(result.eof);
  c.reply.put_u32(result.length);
  c.reply.append_pages(result.pages, result.first_offset, result.length);
  return Nfsstat4::NFS4_OK;
}

}  // namespace perdure::nfs4
