#include "nfs4/service.h"

namespace perdure::nfs4 {

Service::Service(fs::FileSystem& fs, client::ClientState& clients, processor::Processor& processor,
                 Options options)
    : fs_(fs),
      clients_(clients),
      processor_(processor),
      options_(std::move(options)),
      owner_names_(clients.env(), options_.names, options_.owner_names) {
  processor_.register_factory(processor::Kind::compound, [this](TransactionId id, Bytes machine) {
    return Compound::restore(*this, id, machine);
  });
}

void Service::call(wire::RpcCall&& call) {
  wire::XdrDecoder header(call.arguments);
  header.get_opaque(tag_bytes_max);
  header.get_u32();  // minor version
  header.get_u32();  // number of operations
  if (!header.ok()) return send(call.connection, wire::error_reply(call.xid, wire::AcceptStat::GARBAGE_ARGS));
  processor_.submit(std::make_unique<Compound>(*this, processor_.new_id(), std::move(call)));
}

void Service::closed(wire::ConnectionId connection) {
  clients_.connection_closed(client::ConnectionId(connection.value));
  callbacks_.closed(connection);
  callback_links_.closed(connection);
}

fs::Principal Service::squash(const wire::Credential& credential, const Export* exported) {
  static const Export none{.squash = Squash::all};
  const Export& e = exported != nullptr ? *exported : none;
  fs::Principal who{.uid = credential.uid, .gid = credential.gid, .groups = {}};
  const bool anonymous = credential.flavor == wire::AuthFlavor::AUTH_NONE || e.squash == Squash::all ||
                         (e.squash == Squash::root && credential.uid == 0);
  if (anonymous) return {.uid = e.anonymous_uid, .gid = e.anonymous_gid, .groups = {}};
  who.groups.assign(credential.gids.begin(), credential.gids.end());
  if (e.squash == Squash::root) {
    if (who.gid == 0) who.gid = e.anonymous_gid;
    for (uint32_t& group : who.groups)
      if (group == 0) group = e.anonymous_gid;
  }
  return who;
}

}  // namespace perdure::nfs4
