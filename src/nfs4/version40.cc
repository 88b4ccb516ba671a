#include "nfs4/version40.h"

#include "client/duplicate_requests.h"
#include "client/find_state.h"
#include "client/setclientid.h"
#include "nfs4/results.h"

namespace perdure::nfs4 {

namespace {

// RFC 7530 §9.1.7: after these the owner's sequence id stays what it was.
bool uses_up_seqid(Nfsstat4 status) {
  using enum Nfsstat4;
  switch (status) {
    case NFS4ERR_STALE_CLIENTID:
    case NFS4ERR_STALE_STATEID:
    case NFS4ERR_BAD_STATEID:
    case NFS4ERR_BAD_SEQID:
    case NFS4ERR_BADXDR:
    case NFS4ERR_RESOURCE:
    case NFS4ERR_NOFILEHANDLE:
    case NFS4ERR_MOVED:
      return false;
    default:
      return true;
  }
}

// Its result once more.
Nfsstat4 repeat(Compound& c, const client::OwnerPlace& place) {
  wire::XdrDecoder result(*place.replay);
  result.get_u32();  // the operation
  const auto status = static_cast<Nfsstat4>(result.get_u32());
  c.repeat_result(*place.replay);
  if (status == Nfsstat4::NFS4_OK && place.opened != InodeId(0)) c.set_current({place.opened});
  return status;
}

}  // namespace

Outcome<void> admit(Compound& c, Run& run) {
  const wire::Address& peer = c.peer();
  const client::AdmittedRequest admitted = TRY(client::admit_request(
      c.clients(), run,
      {.address = std::as_bytes(std::span(peer.ip)).first(peer.is_v6 ? peer.ip.size() : 4),
       .xid = c.xid(),
       .checksum = request_checksum(c, c.arguments())}));
  if (admitted.drop)
    c.drop();
  else if (admitted.replay)
    c.replay(*admitted.replay);
  else
    c.registers.slot = admitted.slot;
  return {};
}

Outcome<std::optional<Nfsstat4>> take_turn(Compound& c, Run&, client::OwnerPlace place) {
  if (place.replay) {
    // What has the last one's sequence id must be the last one.
    if (wire::XdrDecoder(*place.replay).get_u32() != static_cast<uint32_t>(c.operation()))
      return Status::bad_seqid;
    return std::optional(repeat(c, place));
  }
  c.turn = std::make_unique<OwnerTurn>(OwnerTurn{.owner = place, .lock_owner = {}, .request = {}});
  return std::optional<Nfsstat4>();
}

Outcome<std::optional<Nfsstat4>> take_turn(Compound& c, Run& run, const client::Stateid& stateid,
                                           uint32_t seqid) {
  if (c.registers.minor_version != 0) return std::optional<Nfsstat4>();
  const Outcome<client::OwnerPlace> place = client::place_stateid(c.clients(), run, stateid, seqid);
  if (place) return take_turn(c, run, *place);
  if (!place.error().is_status() || place.error().status() != Status::expired) return place.error();
  // Why there is no such thing, the stateid may tell; unless it is a special one.
  TRY(resolve_stateid40(c, run, stateid));
  return Status::bad_stateid;
}

Outcome<void> end_turn(Compound& c, Run& run, const OwnerTurn& turn, Nfsstat4 status, Bytes result) {
  const bool done = status == Nfsstat4::NFS4_OK;
  if (!uses_up_seqid(status) || (turn.owner.fresh && !done)) return {};
  client::SettledRequest request = done ? turn.request : client::SettledRequest{};
  if (done && turn.lock_owner) {
    TRY(client::settle(c.clients(), run, *turn.lock_owner, request, {}));
    request = {};
  }
  return client::settle(c.clients(), run, turn.owner, request, result);
}

Outcome<void> comes_from40(Compound& c, Run& run, client::ClientId client) {
  if (c.registers.minor_version != 0) return {};
  TRY(client::find_client40(c.clients(), run, client));
  c.registers.client = client.value;
  return {};
}

Outcome<client::Stateid> resolve_stateid40(Compound& c, Run& run, const client::Stateid& stateid) {
  if (stateid.is_anonymous() || stateid.is_read_bypass()) return stateid;
  if (stateid.other_is_zero() || stateid.other_is_ones()) return Status::bad_stateid;
  const auto client = client::find_client_of(c.clients(), run, stateid);
  if (client) {
    c.registers.client = client->value;
    c.clients().renew_lease(*client);
    return stateid;
  }
  if (!client.error().is_status() || client.error().status() != Status::expired) return client.error();
  if (stateid.inode == c.registers.current.inode) return Status::expired;
  return TRY(c.fs().inodes.get(run, {stateid.inode})) != nullptr ? Status::bad_stateid
                                                                 : Status::stale_stateid;
}

Nfsstat4 status40(Opnum4 operation, Nfsstat4 status) {
  using enum Nfsstat4;
  switch (status) {
    case NFS4ERR_REP_TOO_BIG:
    case NFS4ERR_REP_TOO_BIG_TO_CACHE:
    case NFS4ERR_REQ_TOO_BIG:
    case NFS4ERR_TOO_MANY_OPS:
      return NFS4ERR_RESOURCE;
    case NFS4ERR_WRONG_TYPE:
      // RFC 7530 §16.16.5: anything that is neither a file nor a directory.
      return operation == Opnum4::OP_OPEN ? NFS4ERR_SYMLINK : NFS4ERR_INVAL;
    case NFS4ERR_DELEG_REVOKED:
      return NFS4ERR_BAD_STATEID;
    default:
      return status;
  }
}

}  // namespace perdure::nfs4
