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
constexpr uint32_t bitmap_words_max = 8, algorithms_max = 64;

constexpr uint32_t sp4_none = 0, sp4_mach_cred = 1, sp4_ssv = 2;

void skip_bitmap(wire::XdrDecoder& in) {
  for (uint32_t words = in.get_count(bitmap_words_max, 4); words > 0; --words) in.get_u32();
}

// sec_oid4<>: how many there are.
uint32_t skip_oids(wire::XdrDecoder& in) {
  const uint32_t count = in.get_count(algorithms_max, 4);
  for (uint32_t i = 0; i < count; ++i) in.get_opaque(opaque_bytes_max);
  return count;
}

// state_protect4_a. Only SP4_NONE is offered: the others need RPCSEC_GSS, and calls with it do not come here.
Nfsstat4 get_state_protection(wire::XdrDecoder& in) {
  const uint32_t how = in.get_u32();
  if (how == sp4_none) return in.ok() ? Nfsstat4::NFS4_OK : Nfsstat4::NFS4ERR_BADXDR;
  if (how != sp4_mach_cred && how != sp4_ssv) return Nfsstat4::NFS4ERR_BADXDR;
  skip_bitmap(in);              // spo_must_enforce
  skip_bitmap(in);              // spo_must_allow
  bool valid = how == sp4_ssv;  // SP4_MACH_CRED demands RPCSEC_GSS (RFC 8881 §18.35.3)
  if (how == sp4_ssv) {
    valid = skip_oids(in) != 0;           // ssp_hash_algs
    valid = skip_oids(in) != 0 && valid;  // ssp_encr_algs
    valid = in.get_u32() != 0 && valid;   // ssp_window
    in.get_u32();                         // ssp_num_gss_handles
  }
  if (!in.ok()) return Nfsstat4::NFS4ERR_BADXDR;
  return valid ? Nfsstat4::NFS4ERR_ENCR_ALG_UNSUPP : Nfsstat4::NFS4ERR_INVAL;
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
  const Nfsstat4 protection = get_state_protection(c.args);
  args.implementation = get_implementation(c.args);
  if (!c.args.ok()) return Nfsstat4::NFS4ERR_BADXDR;
  if (protection != Nfsstat4::NFS4_OK) return protection;
  if ((flags & ~flags_of_arguments) != 0 || args.owner.empty()) return Nfsstat4::NFS4ERR_INVAL;
  args.update = (flags & flag_update) != 0;
  const std::string principal = principal_name(c.credential());
  args.principal = principal;
  const client::ExchangedId result = TRY(client::exchange_id(c.clients(), run, args));
  c.comes_from(result.client);

  const Service::Options& options = c.service().options();
  c.reply.put_u64(result.client.value);
  c.reply.put_u32(result.create_seqid);
  c.reply.put_u32(flag_use_non_pnfs | (result.confirmed ? flag_confirmed : 0));
  c.reply.put_u32(0);  // SP4_NONE
  c.reply.put_u64(0);  // so_minor_id
  const bool of_start = planted("the server's owner is that of its start");
  c.reply.put_string(of_start ? fmt::format("{:x}", options.write_verifier) : options.server_owner);
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
