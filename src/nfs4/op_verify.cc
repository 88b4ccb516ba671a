// VERIFY: RFC 8881 §18.31. NVERIFY §18.15.
#include "nfs4/attributes.h"
#include "nfs4/compound.h"
#include "nfs4/operations.h"

namespace perdure::nfs4 {

namespace {

// NFS4ERR_SAME or NFS4ERR_NOT_SAME, or why the comparison cannot be made.
Outcome<Nfsstat4> compare(Compound& c, Run& run) {
  using enum Nfsstat4;
  const Bitmap given = get_bitmap(c.args);
  const Bytes theirs = c.args.get_opaque(65536);
  if (!c.args.ok()) return NFS4ERR_BADXDR;
  if (given.unknown || !given.without(supported_attributes(c.registers.minor_version)).empty())
    return NFS4ERR_ATTRNOTSUPP;
  if (given.has(Attribute::rdattr_error) || any_only_settable(given) || given.has(Attribute::mode_umask))
    return NFS4ERR_INVAL;
  TRY(c.fs().load(run, c.registers.current.inode));
  wire::XdrDecoder in(theirs);
  for (uint32_t word = 0; word < given.words.size(); ++word) {
    for (uint32_t bits = given.words[word]; bits != 0; bits &= bits - 1) {
      const auto a = static_cast<Attribute>(32 * word + static_cast<uint32_t>(std::countr_zero(bits)));
      const Nfsstat4 one = TRY(compare_attribute(c, run, c.registers.current.inode, a, in));
      if (one != NFS4ERR_SAME) return one;
    }
  }
  return in.finished() ? NFS4ERR_SAME : NFS4ERR_NOT_SAME;
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
