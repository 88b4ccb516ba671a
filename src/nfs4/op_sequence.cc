// SEQUENCE: RFC 8881 §18.46.
#include "client/sequence.h"

#include "nfs4/compound.h"
#include "nfs4/operations.h"
#include "nfs4/results.h"

namespace perdure::nfs4 {

namespace {

// What the session's limits say of this request. Sizes are those of RPC messages, without record marks (RFC
// 8881 §18.36.3 on ca_maxrequestsize). These are errors of SEQUENCE itself, so the slot must stay as it is
// (RFC 8881 §18.46.3).
Nfsstat4 check_limits(const Compound& c, const client::ChannelAttributes& fore, uint32_t slot,
                      uint32_t highest_slot, bool cache_this) {
  using enum Nfsstat4;
  constexpr size_t result_bytes = 36;
  if (slot >= fore.slots) return NFS4ERR_BADSLOT;
  if (highest_slot >= fore.slots) return NFS4ERR_BAD_HIGH_SLOT;
  if (c.registers.operations > fore.operations_max) return NFS4ERR_TOO_MANY_OPS;
  if (c.request_bytes() > fore.request_bytes_max) return NFS4ERR_REQ_TOO_BIG;
  if (cache_this && c.reply.size() + result_bytes > fore.cached_response_bytes_max)
    return NFS4ERR_REP_TOO_BIG_TO_CACHE;
  return NFS4_OK;
}

}  // namespace

Outcome<Nfsstat4> op_sequence(Compound& c, Run& run) {
  client::SequenceArgs args;
  const Bytes session = c.args.get_opaque_fixed(args.session.size());
  if (!session.empty()) std::memcpy(args.session.data(), session.data(), session.size());
  args.seqid = c.args.get_u32();
  args.slot = c.args.get_u32();
  const uint32_t highest_slot = c.args.get_u32();
  const bool cache_this = c.args.get_bool();
  if (!c.args.ok()) return Nfsstat4::NFS4ERR_BADXDR;
  // Only of what stands behind it: the Linux client encodes a request anew before it sends it again, and says
  // in sa_highest_slotid which slots it uses then.
  args.checksum = request_checksum(c, c.args.rest());
  args.connection = client::ConnectionId(c.connection().value);

  const client::ChannelAttributes fore = TRY(c.clients().find_session(run, args.session)).row->fore;
  if (const Nfsstat4 status = check_limits(c, fore, args.slot, highest_slot, cache_this);
      status != Nfsstat4::NFS4_OK)
    return status;
  const client::Sequenced sequenced = TRY(client::sequence(c.clients(), run, args));
  if (sequenced.replay) {
    c.replay(*sequenced.replay);
    return Nfsstat4::NFS4_OK;
  }
  Compound::Registers& r = c.registers;
  r.slot = sequenced.slot;
  r.client = sequenced.client.value;
  r.cache_this = cache_this;
  r.reply_bytes_max = sequenced.fore.response_bytes_max;
  if (cache_this) r.reply_bytes_max = std::min(r.reply_bytes_max, sequenced.fore.cached_response_bytes_max);

  c.reply.put_opaque_fixed(session);
  c.reply.put_u32(args.seqid);
  c.reply.put_u32(args.slot);
  c.reply.put_u32(sequenced.highest_slot);
  c.reply.put_u32(sequenced.target_highest_slot);
  c.reply.put_u32(sequenced.status_flags);
  return Nfsstat4::NFS4_OK;
}

}  // namespace perdure::nfs4
