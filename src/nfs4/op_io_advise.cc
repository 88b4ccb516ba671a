// IO_ADVISE: RFC 7862 §15.5. Of the hints one is followed, to read what will be needed. The others change
// nothing here: sequential readers are noticed anyway (fs/read_ahead.h).
#include "fs/data.h"
#include "nfs4/attributes.h"
#include "nfs4/io_access.h"
#include "nfs4/operations.h"
#include "nfs4/results.h"

namespace perdure::nfs4 {

Outcome<Nfsstat4> op_io_advise(Compound& c, Run& run) {
  constexpr uint32_t will_need = 1U << 4U;  // IO_ADVISE4_WILLNEED
  const client::Stateid stateid = get_stateid(c.args);
  const uint64_t offset = c.args.get_u64();
  const uint64_t count = c.args.get_u64();
  const Bitmap hints = get_bitmap(c.args);
  if (!c.args.ok()) return Nfsstat4::NFS4ERR_BADXDR;
  const fs::InodeRow inode = TRY(io_access(c, run, stateid, false));
  Bitmap followed;
  followed.words[0] = hints.words[0] & will_need;
  if (followed.words[0] != 0) {
    const uint64_t end = count == 0 || count > UINT64_MAX - offset ? UINT64_MAX : offset + count;
    c.fs().data().read_ahead.will_read(c.fs(), run, c.registers.current.inode, inode, offset, end);
  }
  put_bitmap(c.reply, followed);
  return Nfsstat4::NFS4_OK;
}

}  // namespace perdure::nfs4
