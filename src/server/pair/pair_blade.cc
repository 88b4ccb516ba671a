#include "server/pair/pair_blade.h"

#include <spdlog/spdlog.h>

#include <cstring>
#include <nlohmann/json.hpp>

#include "server/pair/tls.h"
#include "state/codec.h"

namespace perdure::server {

namespace {

// What a primary leaves to its successor (mirror::Legacy).
struct ConnectionList {
  struct Connection {
    std::array<uint64_t, 2> client_ip{}, server_ip{};
    uint16_t client_port = 0, server_port = 0;
    bool is_v6 = false;
    template <class Self, class V>
    static void fields(Self& c, V&& v) {
      v("client_ip", c.client_ip), v("server_ip", c.server_ip), v("client_port", c.client_port),
          v("server_port", c.server_port), v("is_v6", c.is_v6);
    }
  };
  std::vector<Connection> connections;
  template <class Self, class V>
  static void fields(Self& l, V&& v) {
    v("connections", l.connections);
  }
};

std::array<uint64_t, 2> to_numbers(const wire::Address& address) {
  std::array<uint64_t, 2> numbers{};
  std::memcpy(numbers.data(), address.ip.data(), sizeof numbers);
  return numbers;
}

wire::Address to_address(const std::array<uint64_t, 2>& numbers, uint16_t port, bool is_v6) {
  wire::Address address;
  std::memcpy(address.ip.data(), numbers.data(), sizeof numbers);
  address.port = port;
  address.is_v6 = is_v6;
  return address;
}

ByteVector encode_connections(const std::vector<ConnectionEnds>& ends) {
  ConnectionList list;
  for (const ConnectionEnds& e : ends)
    list.connections.push_back(
        {to_numbers(e.peer), to_numbers(e.local), e.peer.port, e.local.port, e.peer.is_v6});
  Encoder encoder;
  state::codec::encode_value(encoder, list);
  return encoder.copy();
}

std::vector<ConnectionEnds> decode_connections(Bytes bytes) {
  ConnectionList list;
  std::vector<ConnectionEnds> ends;
  if (bytes.empty()) return ends;
  Decoder decoder(bytes);
  state::codec::decode_value(decoder, list);
  if (!decoder.finished()) {
    spdlog::warn(
        "the old primary's list of connections is not understood: its clients are not told to connect again");
    return ends;
  }
  for (const ConnectionList::Connection& c : list.connections)
    ends.push_back(
        {to_address(c.client_ip, c.client_port, c.is_v6), to_address(c.server_ip, c.server_port, c.is_v6)});
  return ends;
}

mirror::Level level_of(Durability durability) {
  switch (durability) {
    case Durability::mirror:
      return mirror::Level::mirror;
    case Durability::disk_and_mirror:
      return mirror::Level::disk_and_mirror;
    case Durability::disk:
    case Durability::memory:
      break;
  }
  return mirror::Level::disk;
}

nlohmann::json words_of(const mirror::Start& start) {
  return {{"blade", start.blade}, {"start", fmt::format("{:016x}", start.number)}};
}

TlsFiles tls_files(const PairConfig& pair) {
  return {pair.certificates + "/authority.pem", pair.certificates + "/blade.pem",
          pair.certificates + "/blade.key"};
}

}  // namespace

EtcdOptions etcd_options(const PairConfig& pair) {
  return {.endpoints = pair.arbiter,
          .key = "/perdure/" + pair.name + "/configuration",
          .authority = pair.arbiter_authority,
          .certificate = pair.arbiter_certificate,
          .private_key = pair.arbiter_key};
}

Result<std::unique_ptr<PairBlade>> PairBlade::open(env::Env& env, asio::io_context& context,
                                                   const Config& config, Vserver::Parts parts,
                                                   VserverOptions options, bool last_failed, Hooks hooks) {
  const PairConfig& pair = *config.pair;
  if (!pair.addresses.empty()) TRY(VserverAddresses::check_rights());
  std::unique_ptr<PairBlade> blade(new PairBlade(env, config));
  PairBlade* b = blade.get();
  PeerOptions peer{.peer = pair.peer, .tls = TRY(make_tls_context(tls_files(pair)))};
  b->replica_ = std::make_unique<VserverReplica>(env, std::move(parts), std::move(options), hooks.failed);
  b->arbiter_ = std::make_unique<EtcdArbiter>(env, etcd_options(pair));
  std::vector<std::unique_ptr<mirror::Connector>> paths;
  for (const wire::Address& address : pair.peer_addresses)
    paths.push_back(std::make_unique<PeerConnector>(env, context, address, peer));
  b->connector_ = mirror::connector_over(env, std::move(paths));
  b->acceptor_ = std::make_unique<mirror::BundleAcceptor>(
      env, [b](std::unique_ptr<mirror::Channel> channel) { b->member_->accept(std::move(channel)); });
  b->listener_ = std::make_unique<PeerListener>(
      env, context, peer,
      [b](std::unique_ptr<mirror::Channel> channel) { b->acceptor_->accept(std::move(channel)); });

  mirror::Member::Options member;
  member.self = {pair.blade, env.random() | 1U};
  member.peer = pair.peer;
  member.level = level_of(config.durability);
  member.beacon_interval = pair.beacon;
  member.lease = pair.lease;
  member.takeover_after = pair.takeover;
  member.drop_after = pair.drop;
  member.stall_after = pair.stall;
  if (last_failed) member.claim_after = 3 * member.takeover_after;
  mirror::Member::Hooks member_hooks;
  member_hooks.serving = [b, serving = std::move(hooks.serving)] {
    b->serving_ = true;
    serving();
  };
  member_hooks.following = std::move(hooks.following);
  member_hooks.ended = std::move(hooks.ended);
  member_hooks.hand_over_wanted = std::move(hooks.hand_over_wanted);
  b->member_ = std::make_unique<mirror::Member>(env, *b->replica_, *b->arbiter_, *b->connector_,
                                                std::move(member), std::move(member_hooks));
  for (const wire::Address& address : pair.listen) TRY(b->listener_->listen(address));
  return blade;
}

Result<void> PairBlade::take_addresses() {
  TRY(addresses_.take());
  answered_ = env_.now();
  std::vector<ConnectionEnds> connections = decode_connections(member_->legacy());
  connections.insert(connections.end(), lost_.begin(), lost_.end());
  lost_.clear();
  addresses_.wake(std::move(connections));
  return {};
}

void PairBlade::lose(const std::vector<ConnectionEnds>& connections) {
  constexpr size_t lost_max = 8192;
  for (const ConnectionEnds& ends : connections)
    if (lost_.size() < lost_max) lost_.push_back(ends);
}

// A primary that is cut off would draw clients to itself, as soon as it can reach them again, by what its
// kernel asks the network.
bool PairBlade::watch() {
  // A switch may take a while before it passes on what comes from a port that is back.
  constexpr env::Duration settling = std::chrono::seconds(3);
  const bool connected = addresses_.connected();
  if (!connected) unplugged_ = env_.now();
  const bool never = unplugged_ == env::Instant();
  member_->set_fit(connected && (never || env_.now() - unplugged_ >= settling));
  if (!serving_) {
    // Who had connected to the guardian's sockets before this process told that it is not the primary is
    // known to nobody else.
    if (member_->follows()) addresses_.wake(std::exchange(lost_, {}));
    return true;
  }
  if (member_->answers()) {
    answered_ = env_.now();
    if (addresses_.taken()) return true;
    if (const Result<void> taken = addresses_.take(); !taken)
      spdlog::warn("{}", taken.error().message);  // and the next time again
    addresses_.wake(std::exchange(lost_, {}));
    return true;
  }
  if (!addresses_.taken() || env_.now() - answered_ < config_.pair->lease) return true;
  spdlog::warn("this blade may not answer at present, and gives up its addresses: {}", member_->says());
  return false;
}

void PairBlade::tell_connections(const std::vector<ConnectionEnds>& connections) {
  member_->set_legacy(encode_connections(connections));
}

nlohmann::json PairBlade::status() const {
  const PairConfig& pair = *config_.pair;
  const mirror::Configuration& c = member_->configuration();
  nlohmann::json in_sync = nlohmann::json::array();
  for (const mirror::Start& start : c.in_sync) in_sync.push_back(words_of(start));
  nlohmann::json j{{"name", pair.name},
                   {"blade", pair.blade},
                   {"peer", pair.peer},
                   {"start", words_of(member_->self())["start"]},
                   {"role", mirror::name(member_->role())},
                   {"says", member_->says()},
                   {"mirrored", member_->mirrored()},
                   {"paths", {{"configured", pair.peer_addresses.size()}, {"up", member_->paths()}}},
                   {"epoch", c.epoch.value},
                   {"primary", words_of(c.primary)},
                   {"in_sync", in_sync}};
  if (const mirror::Sender* sender = member_->sender(); sender != nullptr && sender->following()) {
    const mirror::Ack& ack = sender->ack();
    const Lsn end = replica_->commit().closed_end();
    j["follower"] = {{"received_lsn", ack.received.value},
                     {"stable_lsn", ack.stable.value},
                     {"applied_lsn", ack.applied.value},
                     {"clients_reach_it", ack.fit},
                     {"behind_bytes", (end - std::min(end, ack.received)).value}};
  }
  return j;
}

}  // namespace perdure::server
