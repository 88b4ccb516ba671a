#include "nfs4/callback_links.h"

#include <algorithm>

#include "base/mark.h"
#include "nfs4/service.h"
#include "wire/universal_address.h"

namespace perdure::nfs4 {

namespace {
constexpr env::Duration try_again_after = std::chrono::seconds(5);
}  // namespace

std::optional<CallbackPlace> parse_callback_place(Bytes callback) {
  wire::XdrDecoder in(callback);
  CallbackPlace place;
  place.program = in.get_u32();
  const std::string_view netid = in.get_string(opaque_bytes_max), text = in.get_string(opaque_bytes_max);
  place.ident = in.get_u32();
  if (!in.ok()) return std::nullopt;
  const std::optional<wire::Address> address = wire::parse_universal_address(netid, text);
  if (!address) return std::nullopt;
  place.address = *address;
  return place;
}

CallbackLinks::~CallbackLinks() {
  for (const auto& [client, link] : links_) service_.clients().env().cancel(link.timer);
}

void CallbackLinks::want(client::ClientId client) {
  const auto [it, fresh] = links_.try_emplace(client);
  if (fresh) open(client, it->second);
}

void CallbackLinks::open(client::ClientId client, Link& link) {
  const client::ClientRow* row = service_.clients().clients.peek({client});
  const std::optional<CallbackPlace> place =
      row != nullptr ? parse_callback_place(row->callback) : std::nullopt;
  if (!place) {
    links_.erase(client);
    service_.clients().callback_link_failed(client);
    return;
  }
  if (transport_ != nullptr) link.connection = transport_->connect(place->address);
  if (link.connection == wire::ConnectionId(0)) return pause(client, link);
  service_.callbacks().call_null(
      link.connection, place->program,
      [this, client, connection = link.connection](bool good) { answered(client, connection, good); });
  set_time(client, link, callback_patience(service_.clients()));
}

void CallbackLinks::answered(client::ClientId client, wire::ConnectionId connection, bool good) {
  const auto it = links_.find(client);
  if (it == links_.end() || it->second.connection != connection || it->second.state != State::asks) return;
  if (!good) return pause(client, it->second);
  it->second.state = State::up;
  set_time(client, it->second, std::chrono::seconds(service_.clients().options().lease_seconds));
  service_.clients().callback_link(client, client::ConnectionId(connection.value));
}

void CallbackLinks::pause(client::ClientId client, Link& link) {
  PERDURE_MARK("a client of NFSv4.0 cannot be called");
  close(link);
  link.state = State::pauses;
  set_time(client, link, try_again_after);
  service_.clients().callback_link_failed(client);
}

void CallbackLinks::failed(client::ClientId client) {
  const auto it = links_.find(client);
  if (it != links_.end() && it->second.state == State::up) pause(client, it->second);
}

void CallbackLinks::renew(client::ClientId client) {
  drop(client);
  want(client);
}

// An idle connection that its client closes is made again when it is wanted.
void CallbackLinks::closed(wire::ConnectionId connection) {
  const auto it =
      std::ranges::find_if(links_, [&](const auto& link) { return link.second.connection == connection; });
  if (it != links_.end() && it->second.state == State::up) drop(it->first);
}

void CallbackLinks::set_time(client::ClientId client, Link& link, env::Duration duration) {
  env::Env& env = service_.clients().env();
  env.cancel(link.timer);
  link.timer =
      env.after(duration, [this, client, connection = link.connection] { time_is_up(client, connection); });
}

// A link that was dropped in the same turn, after its time had come, is gone, or another one.
void CallbackLinks::time_is_up(client::ClientId client, wire::ConnectionId connection) {
  const auto it = links_.find(client);
  if (it == links_.end() || it->second.connection != connection) return;
  Link& link = it->second;
  const bool there = service_.clients().client_twin(client) != nullptr;
  if (link.state == State::asks && there) return pause(client, link);
  if (link.state == State::up && there)
    return set_time(client, link, std::chrono::seconds(service_.clients().options().lease_seconds));
  drop(client);
}

// Whoever waits for it looks again, and may want it again.
void CallbackLinks::drop(client::ClientId client) {
  const auto it = links_.find(client);
  if (it == links_.end()) return;
  service_.clients().env().cancel(it->second.timer);
  close(it->second);
  links_.erase(it);
  service_.clients().callback_link(client, {});
}

void CallbackLinks::close(Link& link) {
  const wire::ConnectionId connection = std::exchange(link.connection, {});
  if (connection == wire::ConnectionId(0)) return;
  service_.callbacks().closed(connection);
  transport_->close(connection);
}

}  // namespace perdure::nfs4
