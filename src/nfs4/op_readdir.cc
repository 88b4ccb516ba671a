// READDIR: RFC 8881 §18.23.
#include "fs/readdir.h"

#include "nfs4/attributes.h"
#include "nfs4/compound.h"
#include "nfs4/operations.h"
#include "nfs4/status.h"

namespace perdure::nfs4 {

namespace {

constexpr size_t end_bytes = 8;      // "no entry follows" and eof
constexpr size_t entry_bytes = 200;  // of a usual entry, to guess how many will fit

// One entry4, unless it would exceed `bytes_max` of the whole reply.
Outcome<bool> put_entry(Compound& c, Run& run, const fs::ListedEntry& entry, const Bitmap& wanted,
                        size_t bytes_max) {
  const size_t begin = c.reply.size();
  c.reply.put_bool(true);
  c.reply.put_u64(entry.cookie);
  c.reply.put_string(entry.name);
  const size_t attributes_at = c.reply.size();
  const Outcome<void> put = put_entry_attributes(c, run, entry, wanted, c.reply);
  if (!put) {
    if (!put.error().is_status() || !wanted.has(Attribute::rdattr_error)) return put.error();
    c.reply.truncate(attributes_at);
    put_attributes_error(c.reply, to_nfsstat4(put.error().status()));
  }
  if (c.reply.size() + end_bytes <= bytes_max) return true;
  c.reply.truncate(begin);
  return false;
}

}  // namespace

Outcome<Nfsstat4> op_readdir(Compound& c, Run& run) {
  const uint64_t cookie = c.args.get_u64();
  const uint64_t verifier = c.args.get_u64();
  c.args.get_u32();  // dircount, a hint
  const uint32_t bytes_max = c.args.get_u32();
  const Bitmap wanted = get_bitmap(c.args);
  if (!c.args.ok()) return Nfsstat4::NFS4ERR_BADXDR;
  if (any_only_settable(wanted)) return Nfsstat4::NFS4ERR_INVAL;
  // Cookies are valid for ever, so the verifier is always zero.
  if (verifier != 0) return Nfsstat4::NFS4ERR_NOT_SAME;

  const size_t begin = c.reply.size();
  const size_t room = std::min<size_t>(bytes_max, c.reply_room());
  c.reply.put_u64(0);
  size_t entries = 0;
  const auto ahead = stand_in_entry(wanted) ? fs::Ahead::entries : fs::Ahead::inodes;
  const bool eof =
      TRY(fs::readdir(c.fs(), run, c.principal(), c.registers.current.inode, cookie, ahead,
                      room / entry_bytes + 1, [&](const fs::ListedEntry& entry) -> Outcome<bool> {
                        const bool fits = TRY(put_entry(c, run, entry, wanted, begin + room));
                        entries += fits ? 1 : 0;
                        return fits;
                      }));
  if ((entries == 0 && !eof) || c.reply.size() + end_bytes > begin + room) return Status::too_small;
  c.reply.put_bool(false);
  c.reply.put_bool(eof);
  return Nfsstat4::NFS4_OK;
}

}  // namespace perdure::nfs4
