// ALLOCATE and DEALLOCATE: RFC 7862 §15.1, §15.4.
#include "fs/allocate.h"

#include "nfs4/io_access.h"
#include "nfs4/operations.h"
#include "nfs4/results.h"

namespace perdure::nfs4 {

namespace {

struct ByteRange {
  client::Stateid stateid;
  uint64_t offset = 0, count = 0;
};

ByteRange get_range(wire::XdrDecoder& in) {
  ByteRange range;
  range.stateid = get_stateid(in);
  range.offset = in.get_u64();
  range.count = in.get_u64();
  return range;
}

}  // namespace

// Deviation: the blocks are counted, but not set aside (fs/allocate.h).
Outcome<Nfsstat4> op_allocate(Compound& c, Run& run) {
  const ByteRange range = get_range(c.args);
  if (!c.args.ok()) return Nfsstat4::NFS4ERR_BADXDR;
  TRY(io_access(c, run, range.stateid, true));
  TRY(fs::allocate(c.fs(), run, c.principal(), c.registers.current.inode, range.offset, range.count,
                   own_registers<fs::AllocateRegisters>(c)));
  return Nfsstat4::NFS4_OK;
}

Outcome<Nfsstat4> op_deallocate(Compound& c, Run& run) {
  const ByteRange range = get_range(c.args);
  if (!c.args.ok()) return Nfsstat4::NFS4ERR_BADXDR;
  auto& registers = own_registers<fs::DeallocateRegisters>(c);
  // Once, when it begins: a half-punched hole is finished, whatever has happened to the stateid.
  if (!registers.started) TRY(io_access(c, run, range.stateid, true));
  TRY(fs::deallocate(c.fs(), run, c.principal(), c.registers.current.inode, range.offset, range.count,
                     registers));
  return Nfsstat4::NFS4_OK;
}

}  // namespace perdure::nfs4
