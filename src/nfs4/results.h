// Pieces of results that several operations share.
#pragma once

#include "base/crc32c.h"
#include "fs/directory.h"
#include "nfs4/compound.h"
#include "nfs4/version40.h"

namespace perdure::nfs4 {

// change_info4. The change was atomic: before and after belong to one run.
inline void put_change_info(wire::XdrEncoder& out, const fs::ChangeInfo& change) {
  out.put_bool(true);
  out.put_u64(change.before);
  out.put_u64(change.after);
}

inline client::Stateid get_stateid(wire::XdrDecoder& in) {
  const uint32_t seqid = in.get_u32();
  const Bytes other = in.get_opaque_fixed(client::Stateid::other_bytes);
  if (other.empty()) return {};
  return client::Stateid::of(seqid, other.first<client::Stateid::other_bytes>());
}

inline void put_stateid(wire::XdrEncoder& out, const client::Stateid& stateid) {
  out.put_u32(stateid.seqid);
  out.put_opaque_fixed(stateid.other());
}

// Of a request, or what matters of it, and of who sends it: another user's is not a repetition (RFC 8881
// §2.10.6.1.3.1).
inline uint32_t request_checksum(const Compound& c, Bytes request) {
  const uint32_t user[] = {static_cast<uint32_t>(c.credential().flavor), c.credential().uid};
  const PageRun* pages = c.argument_pages();
  return crc32c(std::as_bytes(std::span(user)), pages != nullptr ? pages->crc(request) : crc32c(request));
}

enum class Handle : uint8_t { current, saved };

// The special stateid that stands for the current one, or the saved one of a source (RFC 8881 §16.2.3.1.2,
// RFC 7862 §15.2.3), replaced by it; bad_stateid if there is none.
// In NFSv4.0 it tells whose request this is.
inline Outcome<client::Stateid> resolve_stateid(Compound& c, Run& run, const client::Stateid& stateid,
                                                Handle which = Handle::current) {
  if (c.registers.minor_version == 0) return resolve_stateid40(c, run, stateid);
  if (!stateid.is_current()) return stateid;
  const client::Stateid& meant =
      which == Handle::saved ? c.registers.saved_stateid : c.registers.current_stateid;
  if (meant == client::Stateid{}) return Status::bad_stateid;
  return meant;
}

}  // namespace perdure::nfs4
