// CREATE_SESSION: RFC 8881 §18.36. DESTROY_SESSION §18.37. BIND_CONN_TO_SESSION §18.34. BACKCHANNEL_CTL
// §18.33.
#include "client/bind_conn_to_session.h"
#include "client/create_session.h"
#include "client/destroy_session.h"

#include "nfs4/compound.h"
#include "nfs4/operations.h"
#include "nfs4/principal.h"
#include "nfs4/service.h"
#include "nfs4/status.h"

namespace perdure::nfs4 {

namespace {

constexpr uint32_t flag_persist = 1, flag_back_channel = 2, flag_rdma = 4;

client::ChannelAttributes get_channel(wire::XdrDecoder& in) {
  client::ChannelAttributes channel;
  in.get_u32();  // ca_headerpadsize
  channel.request_bytes_max = in.get_u32();
  channel.response_bytes_max = in.get_u32();
  channel.cached_response_bytes_max = in.get_u32();
  channel.operations_max = in.get_u32();
  channel.slots = in.get_u32();
  if (in.get_count(1, 4) == 1) in.get_u32();  // ca_rdma_ird
  return channel;
}

void put_channel(wire::XdrEncoder& out, const client::ChannelAttributes& channel) {
  out.put_u32(0);
  out.put_u32(channel.request_bytes_max);
  out.put_u32(channel.response_bytes_max);
  out.put_u32(channel.cached_response_bytes_max);
  out.put_u32(channel.operations_max);
  out.put_u32(channel.slots);
  out.put_u32(0);
}

// callback_sec_parms4<>: kept as it came, for the callbacks to come. False: not well-formed.
bool get_callback_security(wire::XdrDecoder& in, Bytes whole, Bytes& security) {
  const size_t begin = in.position();
  const uint32_t count = in.get_count(16, 4);
  for (uint32_t i = 0; i < count; ++i) {
    switch (static_cast<wire::AuthFlavor>(in.get_u32())) {
      case wire::AuthFlavor::AUTH_NONE:
        break;
      case wire::AuthFlavor::AUTH_SYS: {
        in.get_u32();
        in.get_string(wire::auth_sys_machine_max);
        in.get_u32();
        in.get_u32();
        const uint32_t gids = in.get_count(wire::auth_sys_gids_max, 4);
        for (uint32_t g = 0; g < gids; ++g) in.get_u32();
        break;
      }
      case wire::AuthFlavor::RPCSEC_GSS:
        in.get_u32();
        in.get_opaque(opaque_bytes_max);
        in.get_opaque(opaque_bytes_max);
        break;
      default:
        return false;
    }
  }
  if (!in.ok()) return false;
  security = whole.subspan(begin, in.position() - begin);
  return true;
}

client::SessionId get_session_id(wire::XdrDecoder& in) {
  client::SessionId id{};
  const Bytes bytes = in.get_opaque_fixed(id.size());
  if (!bytes.empty()) std::memcpy(id.data(), bytes.data(), id.size());
  return id;
}

void put_session_id(wire::XdrEncoder& out, const client::SessionId& id) {
  out.put_opaque_fixed(std::as_bytes(std::span(id)));
}

// CREATE_SESSION4resok
void put_created(wire::XdrEncoder& out, const client::CreatedSession& created) {
  put_session_id(out, created.id);
  out.put_u32(created.seqid);
  out.put_u32((created.persist ? flag_persist : 0) | (created.back_channel ? flag_back_channel : 0));
  put_channel(out, created.fore);
  put_channel(out, created.back);
}

}  // namespace

Outcome<Nfsstat4> op_create_session(Compound& c, Run& run) {
  client::CreateSessionArgs args;
  args.client = client::ClientId(c.args.get_u64());
  args.seqid = c.args.get_u32();
  const uint32_t flags = c.args.get_u32();
  args.fore = get_channel(c.args);
  args.back = get_channel(c.args);
  args.callback_program = c.args.get_u32();
  args.minor_version = c.registers.minor_version;
  const bool well_formed = get_callback_security(c.args, c.arguments(), args.callback_security);
  if (!c.args.ok() || !well_formed) return Nfsstat4::NFS4ERR_BADXDR;
  args.well_formed = (flags & ~(flag_persist | flag_back_channel | flag_rdma)) == 0;
  args.persist = (flags & flag_persist) != 0;
  args.back_channel = (flags & flag_back_channel) != 0;
  args.connection = client::ConnectionId(c.connection().value);
  const std::string principal = principal_name(c.credential());
  args.principal = principal;

  const client::CreatedSession created = TRY(client::create_session(c.clients(), run, args));
  c.comes_from(args.client);
  if (created.replay) {
    c.reply.put_raw(created.replay->subspan(4));
    wire::XdrDecoder result(*created.replay);
    const auto status = static_cast<Nfsstat4>(result.get_u32());
    if (status != Nfsstat4::NFS4_OK) return status;
    // It may have come over a new connection, which then belongs to the session, if that is still there.
    constexpr uint32_t fore_or_both = 3;
    const auto bound =
        client::bind_conn_to_session(c.clients(), run, get_session_id(result), args.connection, fore_or_both);
    if (!bound && !bound.error().is_status()) return bound.error();
    return status;
  }
  const Nfsstat4 status = to_nfsstat4(created.refused);
  if (status == Nfsstat4::NFS4_OK) put_created(c.reply, created);
  wire::XdrEncoder result;  // CREATE_SESSION4res
  result.put_u32(static_cast<uint32_t>(status));
  if (status == Nfsstat4::NFS4_OK) put_created(result, created);
  TRY(client::cache_create_session(c.clients(), run, args.client, result.flatten()));
  return status;
}

Outcome<Nfsstat4> op_destroy_session(Compound& c, Run& run) {
  const client::SessionId id = get_session_id(c.args);
  if (!c.args.ok()) return Nfsstat4::NFS4ERR_BADXDR;
  // RFC 8881 §18.37.3: nothing can follow in the session that is destroyed.
  const client::SessionNumber session = TRY(c.clients().find_session(run, id)).number;
  if (session == c.registers.slot.session && c.registers.operation + 1 != c.registers.operations)
    return Nfsstat4::NFS4ERR_NOT_ONLY_OP;
  TRY(client::destroy_session(c.clients(), run, id));
  return Nfsstat4::NFS4_OK;
}

Outcome<Nfsstat4> op_bind_conn_to_session(Compound& c, Run& run) {
  const client::SessionId id = get_session_id(c.args);
  const uint32_t direction = c.args.get_u32();
  c.args.get_bool();  // bctsa_use_conn_in_rdma_mode
  if (!c.args.ok()) return Nfsstat4::NFS4ERR_BADXDR;
  const client::Direction granted = TRY(client::bind_conn_to_session(
      c.clients(), run, id, client::ConnectionId(c.connection().value), direction));
  c.comes_from(TRY(c.clients().find_session(run, id)).row->client);
  put_session_id(c.reply, id);
  c.reply.put_u32(static_cast<uint32_t>(granted));
  c.reply.put_bool(false);
  return Nfsstat4::NFS4_OK;
}

Outcome<Nfsstat4> op_backchannel_ctl(Compound& c, Run& run) {
  const uint32_t program = c.args.get_u32();
  Bytes security;
  const bool well_formed = get_callback_security(c.args, c.arguments(), security);
  if (!c.args.ok() || !well_formed) return Nfsstat4::NFS4ERR_BADXDR;
  TRY(client::backchannel_ctl(c.clients(), run, c.registers.slot.session, program, security));
  return Nfsstat4::NFS4_OK;
}

}  // namespace perdure::nfs4
