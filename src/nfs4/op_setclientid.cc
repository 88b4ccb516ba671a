// SETCLIENTID: RFC 7530 §16.33. SETCLIENTID_CONFIRM §16.34. RENEW §16.28. RELEASE_LOCKOWNER §16.37.
#include "client/setclientid.h"

#include "nfs4/compound.h"
#include "nfs4/operations.h"
#include "nfs4/principal.h"
#include "nfs4/service.h"
#include "nfs4/version40.h"

namespace perdure::nfs4 {

Outcome<Nfsstat4> op_setclientid(Compound& c, Run& run) {
  client::SetclientidArgs args;
  args.verifier = c.args.get_u64();
  args.owner = c.args.get_opaque(opaque_bytes_max);
  const size_t callback_at = c.args.position();
  c.args.get_u32();                     // cb_program
  c.args.get_string(opaque_bytes_max);  // r_netid
  c.args.get_string(opaque_bytes_max);  // r_addr
  c.args.get_u32();                     // callback_ident
  if (!c.args.ok()) return Nfsstat4::NFS4ERR_BADXDR;
  args.callback = c.arguments().subspan(callback_at, c.args.position() - callback_at);
  // Nobody sends the server to somebody else's address.
  const std::optional<CallbackPlace> place = parse_callback_place(args.callback);
  if (!place || place->address.is_v6 != c.peer().is_v6 || place->address.ip != c.peer().ip)
    args.callback = {};
  const std::string principal = principal_name(c.credential());
  args.principal = principal;
  const Outcome<client::SetClientid> made = client::setclientid(c.clients(), run, args);
  if (!made && made.error().is_status() && made.error().status() == Status::client_in_use) {
    c.reply.put_string("");  // client_using: the other one's address is nobody's business
    c.reply.put_string("");
    return Nfsstat4::NFS4ERR_CLID_INUSE;
  }
  const client::SetClientid result = TRY(made);
  c.registers.client = result.client.value;
  c.reply.put_u64(result.client.value);
  c.reply.put_u64(result.confirm);
  return Nfsstat4::NFS4_OK;
}

Outcome<Nfsstat4> op_setclientid_confirm(Compound& c, Run& run) {
  client::SetClientid named{.client = client::ClientId(c.args.get_u64()), .confirm = c.args.get_u64()};
  if (!c.args.ok()) return Nfsstat4::NFS4ERR_BADXDR;
  TRY(client::setclientid_confirm(c.clients(), run, named, principal_name(c.credential())));
  c.registers.client = named.client.value;
  run.on_commit([&links = c.service().callback_links(), client = named.client] { links.renew(client); });
  return Nfsstat4::NFS4_OK;
}

Outcome<Nfsstat4> op_renew(Compound& c, Run& run) {
  const client::ClientId client(c.args.get_u64());
  if (!c.args.ok()) return Nfsstat4::NFS4ERR_BADXDR;
  TRY(comes_from40(c, run, client));
  const client::ClientTwin& twin = *c.clients().client_twin(client);
  if (twin.delegations == 0 || TRY(c.clients().back_path(run, client)) || !twin.callback_link_failed)
    return Nfsstat4::NFS4_OK;
  return Nfsstat4::NFS4ERR_CB_PATH_DOWN;  // the lease is renewed (RFC 7530 §16.28.4)
}

Outcome<Nfsstat4> op_release_lockowner(Compound& c, Run& run) {
  const client::ClientId client(c.args.get_u64());
  const Bytes owner = c.args.get_opaque(opaque_bytes_max);
  if (!c.args.ok()) return Nfsstat4::NFS4ERR_BADXDR;
  TRY(comes_from40(c, run, client));
  TRY(client::release_lockowner(c.clients(), run, client, owner));
  return Nfsstat4::NFS4_OK;
}

}  // namespace perdure::nfs4
