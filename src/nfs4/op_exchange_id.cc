// EXCHANGE_ID: RFC 8881 §18.35. DESTROY_CLIENTID §18.50. RECLAIM_COMPLETE §18.51.
#include "client/destroy_clientid.h"
#include "client/exchange_id.h"
#include "client/reclaim_complete.h"

#include "nfs4/compound.h"
#include "nfs4/operations.h"
#include "nfs4/principal.h"
#include "nfs4/service.h"
#include "nfs4/status.h"

namespace perdure::nfs4 {

namespace {

constexpr uint32_t flag_use_non_pnfs = 0x00010000;
constexpr uint32_t flag_update = 0x40000000;     // EXCHGID4_FLAG_UPD_CONFIRMED_REC_A
constexpr uint32_t flag_confirmed = 0x80000000;  // EXCHGID4_FLAG_CONFIRMED_R
constexpr uint32_t flags_of_arguments = 0x40070103;

// state_protect4_a. Only SP4_NONE is offered: with AUTH_SYS nothing else would protect anything.
Nfsstat4 get_state_protection(wire::XdrDecoder& in) {
  const uint32_t how = in.get_u32();
  if (!in.ok()) return Nfsstat4::NFS4ERR_BADXDR;
  switch (how) {
    case 0:
      return Nfsstat4::NFS4_OK;
    case 1:  // SP4_MACH_CRED
      return Nfsstat4::NFS4ERR_INVAL;
    case 2:  // SP4_SSV
      return Nfsstat4::NFS4ERR_ENCR_ALG_UNSUPP;
    default:
      return Nfsstat4::NFS4ERR_BADXDR;
  }
}

// nfs_impl_id4<1>
std::string_view get_implementation(wire::XdrDecoder& in) {
  std::string_view name;
  if (in.get_count(1, 20) == 1) {
    in.get_string(opaque_bytes_max);  // domain
    name = in.get_string(opaque_bytes_max);
    in.get_u64();  // date
    in.get_u32();
  }
  return name;
}

}  // namespace

Outcome<Nfsstat4> op_exchange_id(Compound& c, Run& run) {
  client::ExchangeIdArgs args;
  args.verifier = c.args.get_u64();
  args.owner = c.args.get_opaque(opaque_bytes_max);
  const uint32_t flags = c.args.get_u32();
  if (const Nfsstat4 status = get_state_protection(c.args); status != Nfsstat4::NFS4_OK) return status;
  args.implementation = get_implementation(c.args);
  if (!c.args.ok()) return Nfsstat4::NFS4ERR_BADXDR;
  if ((flags & ~flags_of_arguments) != 0 || args.owner.empty()) return Nfsstat4::NFS4ERR_INVAL;
  args.update = (flags & flag_update) != 0;
  const std::string principal = principal_name(c.credential());
  args.principal = principal;
  const client::ExchangedId result = TRY(client::exchange_id(c.clients(), run, args));

  const Service::Options& options = c.service().options();
  c.reply.put_u64(result.client.value);
  c.reply.put_u32(result.create_seqid);
  c.reply.put_u32(flag_use_non_pnfs | (result.confirmed ? flag_confirmed : 0));
  c.reply.put_u32(0);  // SP4_NONE
  c.reply.put_u64(0);  // so_minor_id
  c.reply.put_string(options.server_owner);
  c.reply.put_string(options.server_scope);
  c.reply.put_u32(1);
  c.reply.put_string("perdure");
  c.reply.put_string("Perdure");
  c.reply.put_u64(0);
  c.reply.put_u32(0);
  return Nfsstat4::NFS4_OK;
}

Outcome<Nfsstat4> op_destroy_clientid(Compound& c, Run& run) {
  const client::ClientId client(c.args.get_u64());
  if (!c.args.ok()) return Nfsstat4::NFS4ERR_BADXDR;
  TRY(client::destroy_clientid(c.clients(), run, client));
  return Nfsstat4::NFS4_OK;
}

Outcome<Nfsstat4> op_reclaim_complete(Compound& c, Run& run) {
  const bool one_fs = c.args.get_bool();
  if (!c.args.ok()) return Nfsstat4::NFS4ERR_BADXDR;
  if (one_fs && !c.registers.current) return Nfsstat4::NFS4ERR_NOFILEHANDLE;
  TRY(client::reclaim_complete(c.clients(), run, client::ClientId(c.registers.client), one_fs));
  return Nfsstat4::NFS4_OK;
}

}  // namespace perdure::nfs4
