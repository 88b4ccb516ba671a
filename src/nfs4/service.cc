#include "nfs4/service.h"

namespace perdure::nfs4 {

Service::Service(fs::FileSystem& fs, client::ClientState& clients, processor::Processor& processor,
                 fs::VolumeId volume, Options options)
    : fs_(fs), clients_(clients), processor_(processor), volume_(volume), options_(std::move(options)) {
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
}

fs::Principal Service::squash(const wire::Credential& credential) const {
  fs::Principal who{.uid = credential.uid, .gid = credential.gid, .groups = {}};
  const bool anonymous = credential.flavor == wire::AuthFlavor::AUTH_NONE || options_.squash == Squash::all ||
                         (options_.squash == Squash::root && credential.uid == 0);
  if (anonymous) return {.uid = options_.anonymous_uid, .gid = options_.anonymous_gid, .groups = {}};
  who.groups.assign(credential.gids.begin(), credential.gids.end());
  if (options_.squash == Squash::root) {
    if (who.gid == 0) who.gid = options_.anonymous_gid;
    for (uint32_t& group : who.groups)
      if (group == 0) group = options_.anonymous_gid;
  }
  return who;
}

}  // namespace perdure::nfs4
