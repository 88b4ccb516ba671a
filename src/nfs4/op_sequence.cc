// SEQUENCE: RFC 8881 §18.46.
#include "client/sequence.h"

#include "base/crc32c.h"
#include "nfs4/compound.h"
#include "nfs4/operations.h"

namespace perdure::nfs4 {

Outcome<Nfsstat4> op_sequence(Compound& c, Run& run) {
  client::SequenceArgs args;
  const Bytes session = c.args.get_opaque_fixed(args.session.size());
  if (!session.empty()) std::memcpy(args.session.data(), session.data(), session.size());
  args.seqid = c.args.get_u32();
  args.slot = c.args.get_u32();
  c.args.get_u32();  // sa_highest_slotid: every slot stays allowed
  const bool cache_this = c.args.get_bool();
  if (!c.args.ok()) return Nfsstat4::NFS4ERR_BADXDR;
  // Of what stands behind SEQUENCE: the Linux client encodes a request anew before it sends it again, and
  // says in sa_highest_slotid which slots it uses then.
  args.checksum = crc32c(c.args.rest());
  args.connection = client::ConnectionId(c.connection().value);

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
  c.reply.put_u32(sequenced.highest_slot);  // sr_target_highest_slotid
  c.reply.put_u32(sequenced.status_flags);
  // These are errors of SEQUENCE itself, but they are cached in its slot like any other (RFC 8881 §18.46.3).
  if (r.operations > sequenced.fore.operations_max) return Nfsstat4::NFS4ERR_TOO_MANY_OPS;
  if (c.arguments().size() > sequenced.fore.request_bytes_max) return Nfsstat4::NFS4ERR_REQ_TOO_BIG;
  return Nfsstat4::NFS4_OK;
}

}  // namespace perdure::nfs4
