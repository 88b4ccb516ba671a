// VERIFY: RFC 8881 §18.31. NVERIFY §18.15.
#include "nfs4/attributes.h"
#include "nfs4/compound.h"
#include "nfs4/operations.h"

namespace perdure::nfs4 {

namespace {

// NFS4ERR_SAME or NFS4ERR_NOT_SAME, or why the comparison cannot be made.
Outcome<Nfsstat4> compare(Compound& c, Run& run) {
  const size_t begin = c.args.position();
  const Bitmap given = get_bitmap(c.args);
  c.args.get_opaque(65536);
  if (!c.args.ok()) return Nfsstat4::NFS4ERR_BADXDR;
  const size_t end = c.args.position();
  if (given.unknown || !given.without(supported_attributes(c.registers.minor_version)).empty())
    return Nfsstat4::NFS4ERR_ATTRNOTSUPP;
  if (given.has(Attribute::rdattr_error) || given.has(Attribute::time_access_set) ||
      given.has(Attribute::time_modify_set) || given.has(Attribute::mode_umask))
    return Nfsstat4::NFS4ERR_INVAL;
  wire::XdrEncoder present;
  TRY(put_attributes(c, run, c.registers.current.inode, given, present));
  // Bitmaps may have trailing zero words: ours has none, so only the values are compared.
  wire::XdrDecoder ours_in(c.arguments());
  ours_in.seek(begin);
  get_bitmap(ours_in);
  const Bytes theirs = c.arguments().subspan(ours_in.position(), end - ours_in.position());
  const ByteVector mine = present.flatten();
  wire::XdrDecoder mine_in(mine);
  get_bitmap(mine_in);
  const Bytes ours = mine_in.rest();
  const bool same = ours.size() == theirs.size() && std::memcmp(ours.data(), theirs.data(), ours.size()) == 0;
  return same ? Nfsstat4::NFS4ERR_SAME : Nfsstat4::NFS4ERR_NOT_SAME;
}

}  // namespace

Outcome<Nfsstat4> op_verify(Compound& c, Run& run) {
  const Nfsstat4 result = TRY(compare(c, run));
  return result == Nfsstat4::NFS4ERR_SAME ? Nfsstat4::NFS4_OK : result;
}

Outcome<Nfsstat4> op_nverify(Compound& c, Run& run) {
  const Nfsstat4 result = TRY(compare(c, run));
  return result == Nfsstat4::NFS4ERR_NOT_SAME ? Nfsstat4::NFS4_OK : result;
}

}  // namespace perdure::nfs4
