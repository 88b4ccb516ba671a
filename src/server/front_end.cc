#include "server/front_end.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "server/socket_address.h"

namespace perdure::server {
namespace {

void set_option(int descriptor, int level, int option, int value) {
  // Without it the connection works all the same.
  (void)::setsockopt(descriptor, level, option, &value, sizeof value);
}

void prepare_socket(int descriptor) {
  set_option(descriptor, IPPROTO_TCP, TCP_NODELAY, 1);
  set_option(descriptor, SOL_SOCKET, SO_KEEPALIVE, 1);
  set_option(descriptor, IPPROTO_TCP, TCP_KEEPIDLE, 60);
  set_option(descriptor, IPPROTO_TCP, TCP_KEEPINTVL, 10);
  set_option(descriptor, IPPROTO_TCP, TCP_KEEPCNT, 6);
}

}  // namespace

FrontEnd::FrontEnd(env::Env& env, asio::io_context& context, RequestHandler& handler,
                   const FrontEndOptions& options)
    : env_(env),
      context_(context),
      handler_(handler),
      options_(options),
      self_(std::make_shared<FrontEnd*>(this)) {
  CHECK(options.connections_max > 0 && options.limits.requests_max > 0 &&
        options.limits.unsent_bytes_max > 0);
  env_.at_turn_end([self = self_] {
    if (*self != nullptr) (*self)->end_turn();
  });
}

FrontEnd::~FrontEnd() {
  *self_ = nullptr;
  if (watching_) env_.cancel(watch_timer_);
  close_all();
}

void FrontEnd::adopt(int descriptor) {
  if (!has_room()) {
    ::close(descriptor);
    return;
  }
  ++figures_.accepted;
  add(descriptor, {peer_address(descriptor), local_address(descriptor)});
}

wire::ConnectionId FrontEnd::connect(const wire::Address& to) {
  if (!has_room()) return {};
  sockaddr_storage address;
  const socklen_t length = to_kernel(to, address);
  const int descriptor = ::socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (descriptor < 0) return {};
  bind_as_seen_by(to, descriptor);
  if (::connect(descriptor, reinterpret_cast<const sockaddr*>(&address), length) != 0 &&
      errno != EINPROGRESS) {
    ::close(descriptor);
    return {};
  }
  ++figures_.made;
  return add(descriptor, {to, local_address(descriptor)});
}

// With the address of this server that the client's machine uses itself, if it is connected: it may be one of
// several that this machine has, and the only one that a firewall lets through. A failure leaves the choice
// to the kernel.
void FrontEnd::bind_as_seen_by(const wire::Address& client, int descriptor) const {
  for (const auto& [id, connection] : connections_) {
    const Connection::Ends& ends = connection->ends();
    if (ends.peer.ip != client.ip || ends.peer.is_v6 != client.is_v6 || ends.peer.is_v6 != ends.local.is_v6)
      continue;
    wire::Address local = ends.local;
    local.port = 0;
    sockaddr_storage address;
    const socklen_t length = to_kernel(local, address);
    (void)::bind(descriptor, reinterpret_cast<const sockaddr*>(&address), length);
    return;
  }
}

bool FrontEnd::has_room() {
  if (connections_.size() < options_.connections_max || close_longest_idle()) return true;
  ++figures_.refused;
  return false;
}

wire::ConnectionId FrontEnd::add(int descriptor, const Connection::Ends& ends) {
  prepare_socket(descriptor);
  ++last_id_.value;
  Connection::Owner& owner = *this;  // a private base
  const auto connection =
      std::make_shared<Connection>(owner, context_, descriptor, last_id_, ends, options_.limits);
  connections_.emplace(last_id_, connection);
  connection->end_turn();
  watch();
  return last_id_;
}

void FrontEnd::close_all() {
  for (auto& [id, connection] : connections_) connection->close();
  connections_.clear();
}

bool FrontEnd::close_longest_idle() {
  Connection* longest = nullptr;
  for (const auto& [id, connection] : connections_) {
    if (!connection->idle()) continue;
    if (longest == nullptr || connection->last_active() < longest->last_active()) longest = connection.get();
  }
  if (longest == nullptr) return false;
  ++figures_.displaced;
  close(longest->id());
  return true;
}

void FrontEnd::send(wire::ConnectionId connection, wire::Reply&& message) {
  const auto at = connections_.find(connection);
  if (at == connections_.end()) return;
  ++figures_.replies;
  at->second->send(std::move(message));
}

void FrontEnd::close(wire::ConnectionId connection) {
  const auto at = connections_.find(connection);
  if (at == connections_.end()) return;
  at->second->close();
  remove(*at->second);
}

void FrontEnd::for_each(const std::function<void(wire::ConnectionId, const Connection::Ends&)>& visit) const {
  for (const auto& [id, connection] : connections_) visit(id, connection->ends());
}

void FrontEnd::deliver(wire::Request&& request) {
  ++figures_.requests;
  handler_.handle(std::move(request));
}

// ---- the end of a turn

void FrontEnd::touched(Connection& connection) {
  touched_.push_back(connection.shared_from_this());
}

void FrontEnd::end_turn() {
  ending_.swap(touched_);
  for (const auto& connection : ending_) connection->end_turn();
  ending_.clear();
  if (!starved_.empty() && wire::chunk_bytes_in_use() < options_.receive_bytes_max) {
    if (resumable_.empty()) post(&FrontEnd::resume_all);
    resumable_.insert(resumable_.end(), starved_.begin(), starved_.end());
    starved_.clear();
  }
}

// A connection that reads on hands on requests, so it does that in a turn like any other.
void FrontEnd::resumable(Connection& connection) {
  if (resumable_.empty()) post(&FrontEnd::resume_all);
  resumable_.push_back(connection.shared_from_this());
}

void FrontEnd::resume_all() {
  const List resumed = std::exchange(resumable_, {});
  for (const auto& connection : resumed) connection->resume();
}

bool FrontEnd::starved(Connection& connection) {
  if (wire::chunk_bytes_in_use() < options_.receive_bytes_max) return false;
  starved_.push_back(connection.shared_from_this());
  return true;
}

// ---- connections end

void FrontEnd::failed(Connection& connection) {
  remove(connection);
}

void FrontEnd::remove(Connection& connection) {
  if (closed_.empty()) post(&FrontEnd::tell_closed);
  closed_.push_back(connection.id());
  connections_.erase(connection.id());
}

void FrontEnd::tell_closed() {
  for (const wire::ConnectionId id : std::exchange(closed_, {})) handler_.closed(id);
}

// While there are connections, they are looked at often enough to find those that are overdue.
void FrontEnd::watch() {
  if (watching_ || connections_.empty()) return;
  watching_ = true;
  const env::Duration shortest = std::min(options_.limits.half_record_max, options_.limits.slow_reader_max);
  const env::Duration interval =
      std::clamp<env::Duration>(shortest / 4, std::chrono::milliseconds(1), std::chrono::seconds(1));
  watch_timer_ = env_.after(interval, [this] { sweep(); });
}

void FrontEnd::sweep() {
  watching_ = false;
  const env::Instant now = env_.now();
  std::vector<wire::ConnectionId> overdue;
  for (const auto& [id, connection] : connections_) {
    if (connection->overdue(now)) overdue.push_back(id);
  }
  figures_.overdue += overdue.size();
  for (const wire::ConnectionId id : overdue) close(id);
  watch();
}

void FrontEnd::post(void (FrontEnd::*task)()) {
  env_.post([self = self_, task] {
    if (*self != nullptr) ((*self)->*task)();
  });
}

}  // namespace perdure::server
