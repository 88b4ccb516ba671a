// LOCK: RFC 8881 §18.10. LOCKT §18.11. LOCKU §18.12.
#include "client/lock.h"
#include "fs/access.h"

#include "nfs4/compound.h"
#include "nfs4/operations.h"
#include "nfs4/results.h"

namespace perdure::nfs4 {

namespace {

// nfs_lock_type4: READ_LT 1, WRITE_LT 2, and for who would wait READW_LT 3, WRITEW_LT 4.
struct WantedType {
  client::LockType type;
  bool waits;
};
std::optional<WantedType> get_type(wire::XdrDecoder& in) {
  const uint32_t type = in.get_u32();
  if (type < 1 || type > 4) return std::nullopt;
  return WantedType{type % 2 == 1 ? client::LockType::read : client::LockType::write, type > 2};
}

// LOCK4denied
void put_denied(wire::XdrEncoder& out, const client::Conflict& conflict) {
  out.put_u64(conflict.range.first);
  out.put_u64(conflict.range.last == UINT64_MAX ? UINT64_MAX
                                                : conflict.range.last - conflict.range.first + 1);
  out.put_u32(conflict.type == client::LockType::read ? 1 : 2);
  out.put_u64(conflict.client.value);
  out.put_opaque(conflict.owner);
}

Outcome<void> check_file(Compound& c, Run& run) {
  return fs::check_regular(TRY(c.fs().load(run, c.registers.current.inode)));
}

}  // namespace

Outcome<Nfsstat4> op_lock(Compound& c, Run& run) {
  const auto type = get_type(c.args);
  client::LockArgs args{.inode = c.registers.current.inode};
  args.reclaim = c.args.get_bool();
  const uint64_t offset = c.args.get_u64();
  const uint64_t length = c.args.get_u64();
  args.new_owner = c.args.get_bool();
  uint32_t seqid = args.new_owner ? c.args.get_u32() : 0;
  args.stateid = get_stateid(c.args);
  const uint32_t lock_seqid = c.args.get_u32();
  client::ClientId named;
  if (args.new_owner) {
    named = client::ClientId(c.args.get_u64());
    args.owner = c.args.get_opaque(opaque_bytes_max);
  } else {
    seqid = lock_seqid;
  }
  if (!c.args.ok() || !type) return Nfsstat4::NFS4ERR_BADXDR;
  if (const auto repeated = TRY(take_turn(c, run, args.stateid, seqid))) return *repeated;
  if (c.turn && args.new_owner) {
    TRY(comes_from40(c, run, named));
    c.turn->lock_owner = TRY(client::place_lock(c.clients(), run, named, args.owner, lock_seqid));
    c.turn->request = {.locked = args.inode, .owner = args.owner};
  }
  TRY(check_file(c, run));
  args.type = type->type;
  args.waits = type->waits;
  args.range = TRY(client::lock_range(offset, length));
  args.stateid = TRY(resolve_stateid(c, run, args.stateid));
  args.client = client::ClientId(c.registers.client);
  const client::Locked locked = TRY(client::lock(c.clients(), run, args));
  if (locked.conflict) {
    put_denied(c.reply, *locked.conflict);
    return Nfsstat4::NFS4ERR_DENIED;
  }
  c.registers.current_stateid = locked.stateid;
  put_stateid(c.reply, locked.stateid);
  return Nfsstat4::NFS4_OK;
}

Outcome<Nfsstat4> op_lockt(Compound& c, Run& run) {
  const auto type = get_type(c.args);
  client::LocktArgs args{.inode = c.registers.current.inode};
  const uint64_t offset = c.args.get_u64();
  const uint64_t length = c.args.get_u64();
  const client::ClientId named(c.args.get_u64());
  args.owner = c.args.get_opaque(opaque_bytes_max);
  if (!c.args.ok() || !type) return Nfsstat4::NFS4ERR_BADXDR;
  TRY(comes_from40(c, run, named));
  args.client = client::ClientId(c.registers.client);
  TRY(check_file(c, run));
  args.type = type->type;
  args.range = TRY(client::lock_range(offset, length));
  const std::optional<client::Conflict> conflict = TRY(client::lockt(c.clients(), run, args));
  if (!conflict) return Nfsstat4::NFS4_OK;
  put_denied(c.reply, *conflict);
  return Nfsstat4::NFS4ERR_DENIED;
}

Outcome<Nfsstat4> op_locku(Compound& c, Run& run) {
  const auto type = get_type(c.args);
  const uint32_t seqid = c.args.get_u32();
  const client::Stateid given = get_stateid(c.args);
  const uint64_t offset = c.args.get_u64();
  const uint64_t length = c.args.get_u64();
  if (!c.args.ok() || !type) return Nfsstat4::NFS4ERR_BADXDR;
  if (const auto repeated = TRY(take_turn(c, run, given, seqid))) return *repeated;
  const client::ByteRange range = TRY(client::lock_range(offset, length));
  const client::Stateid stateid = TRY(resolve_stateid(c, run, given));
  const client::Stateid result = TRY(client::locku(c.clients(), run, client::ClientId(c.registers.client),
                                                   c.registers.current.inode, stateid, range));
  c.registers.current_stateid = result;
  put_stateid(c.reply, result);
  return Nfsstat4::NFS4_OK;
}

}  // namespace perdure::nfs4
