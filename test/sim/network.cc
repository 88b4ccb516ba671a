#include "sim/network.h"

#include <algorithm>

#include "base/crc32c.h"
#include "sim/blade.h"
#include "sim/world.h"

namespace perdure::sim {

// In order: never before what was sent earlier.
env::Instant Network::arrival(env::Instant& last) {
  const Profile& p = world_.profile();
  last = std::max(last, world_.now() + p.net_delay_min + world_.random().exponential(p.net_delay_mean));
  return last;
}

Network::Connection* Network::find(uint64_t number) {
  auto it = connections_.find(number);
  return it == connections_.end() ? nullptr : &it->second;
}

Network::Server* Network::server(uint64_t life) {
  auto it = servers_.find(life);
  return it == servers_.end() ? nullptr : &it->second;
}

uint64_t Network::life_of(uint64_t connection) {
  const Connection* c = find(connection);
  return c != nullptr ? c->life : 0;
}

uint64_t Network::connect(ClientEnd& client, uint32_t host) {
  const uint64_t number = ++last_;
  Connection& c = connections_[number];
  c.client = &client;
  c.host = host;
  world_.after(arrival(c.to_client) - world_.now(), [this, number] {
    Connection* there = find(number);
    if (there == nullptr || there->client == nullptr) return;
    if (current() == nullptr) return lose(number);
    there->life = life_;
    there->server_knows = true;
    there->client->connected();
  });
  return number;
}

void Network::send(uint64_t number, Bytes message) {
  Connection* c = find(number);
  if (c == nullptr) return;
  world_.after(arrival(c->to_server) - world_.now(),
               [this, number, copy = ByteVector(message.begin(), message.end())]() mutable {
                 deliver(number, std::move(copy));
               });
  const uint64_t cut_one_in = world_.profile().cut_one_in;
  if (cut_one_in != 0 && world_.random().one_in(cut_one_in))
    world_.after(world_.random().exponential(world_.profile().net_delay_mean * 3),
                 [this, number] { cut(number); });
}

void Network::send_again(Bytes message, uint32_t host) {
  if (current() == nullptr) return;
  const uint64_t number = ++last_;
  Connection& c = connections_[number];
  c.life = life_;
  c.host = host;
  c.server_knows = true;
  const env::Duration late = world_.random().exponential(world_.profile().net_delay_mean * 20);
  world_.after(late, [this, number, copy = ByteVector(message.begin(), message.end())]() mutable {
    deliver(number, std::move(copy));
  });
}

void Network::deliver(uint64_t number, ByteVector message) {
  Connection* c = find(number);
  if (c == nullptr || !c->server_knows) return;
  Server* to = server(c->life);
  if (to == nullptr) return;
  world_.note(crc32c(message));
  const size_t size = message.size();
  world_.trace("connection {}: {} bytes to the server", number, size);
  wire::Request request;
  request.chunk = wire::make_chunk(std::max<size_t>(size, 1), nullptr);
  std::ranges::copy(message, request.chunk.data());
  request.message = {request.chunk.data(), size};
  request.connection = wire::ConnectionId(number);
  std::memcpy(request.peer.ip.data(), &c->host, sizeof c->host);
  // On the blade's loop, like everything there.
  to->blade->post([this, request = std::move(request), life = c->life]() mutable {
    if (Server* there = server(life)) there->front->handle(std::move(request));
  });
}

void Network::send_to_client(uint64_t connection, wire::Reply&& message) {
  Connection* c = find(connection);
  if (c == nullptr) return;
  ByteVector bytes = message.flatten();
  world_.note(crc32c(bytes));
  world_.trace("connection {}: {} bytes to the client", connection, bytes.size());
  world_.after(arrival(c->to_client) - world_.now(), [this, number = connection, bytes = std::move(bytes)] {
    Connection* there = find(number);
    if (there == nullptr) return;
    if (there->client != nullptr) return there->client->received(bytes);
    // Nobody is there to take it, and the server is told.
    tell_closed(number, there->life);
    connections_.erase(number);
  });
}

void Network::close_by_server(uint64_t number) {
  const Connection* c = find(number);
  if (c == nullptr) return;
  if (!c->made) return world_.fail("the server closes connection {} by itself", number);
  world_.trace("the server closes connection {}", number);
  tell_closed(number, c->life);
  lose(number);
}

void Network::tell_closed(uint64_t number, uint64_t life) {
  Server* to = server(life);
  if (to == nullptr) return;
  to->blade->post([this, number, life] {
    if (Server* still = server(life)) still->front->closed(wire::ConnectionId(number));
  });
}

void Network::listen(uint32_t host, ClientListener* listener) {
  if (listener != nullptr)
    listeners_[host] = listener;
  else
    listeners_.erase(host);
}

wire::ConnectionId Network::Way::connect(const wire::Address& to) {
  uint32_t host = 0;
  std::memcpy(&host, to.ip.data(), sizeof host);
  return network.connect_to_client(life, host);
}

// Where nobody listens the server is told so later.
wire::ConnectionId Network::connect_to_client(uint64_t life, uint32_t host) {
  const uint64_t number = ++last_;
  Connection& c = connections_[number];
  c.host = host;
  c.life = life;
  c.server_knows = c.made = true;
  world_.trace("connection {} is made by the server", number);
  world_.after(arrival(c.to_client) - world_.now(), [this, number] {
    Connection* there = find(number);
    if (there == nullptr) return;
    const auto listener = listeners_.find(there->host);
    if (listener == listeners_.end()) return close(number);
    there->client = &listener->second->accepted(number);
  });
  return wire::ConnectionId(number);
}

// The client's end is gone at once; the server hears of it when what was under way has arrived.
void Network::close(uint64_t number) {
  Connection* c = find(number);
  if (c == nullptr) return;
  c->client = nullptr;
  const env::Duration late = world_.random().exponential(world_.profile().net_delay_mean * 5);
  world_.after(late, [this, number] {
    Connection* there = find(number);
    if (there == nullptr) return;
    const uint64_t life = there->life;
    const bool known = there->server_knows;
    connections_.erase(number);
    if (known) tell_closed(number, life);
  });
}

void Network::cut(uint64_t number) {
  Connection* c = find(number);
  if (c == nullptr || c->client == nullptr) return;
  world_.trace("connection {} is cut", number);
  ClientEnd* client = c->client;
  close(number);
  client->lost();
}

void Network::cut_all() {
  std::vector<uint64_t> numbers;
  for (const auto& [number, c] : connections_) numbers.push_back(number);
  for (const uint64_t number : numbers) cut(number);
}

void Network::lose(uint64_t number) {
  Connection* c = find(number);
  if (c == nullptr) return;
  ClientEnd* client = c->client;
  connections_.erase(number);
  if (client != nullptr) client->lost();
}

// Clients of a blade that was replaced notice one after another; until then they go on to talk to it.
wire::Transport& Network::server_up(server::RpcFront& front, Blade& blade) {
  for (auto& [number, c] : connections_)
    if (c.life != 0)
      world_.after(world_.random().exponential(std::chrono::milliseconds(200)),
                   [this, n = number] { cut(n); });
  ++life_;
  address_ = &blade;
  servers_[life_] = {&front, &blade};
  return ways_.try_emplace(life_, *this, life_).first->second;
}

// Its clients hear of it one after another.
void Network::server_down(Blade& blade) {
  const auto gone = std::ranges::find_if(servers_, [&](const auto& s) { return s.second.blade == &blade; });
  if (gone == servers_.end()) return;
  const uint64_t life = gone->first;
  servers_.erase(gone);
  for (auto it = connections_.begin(); it != connections_.end();) {
    auto& [number, c] = *it;
    if (c.life != life) {
      ++it;
      continue;
    }
    if (c.client == nullptr && c.server_knows) {
      it = connections_.erase(it);
      continue;
    }
    if (c.server_knows) {
      c.server_knows = false;
      world_.after(arrival(c.to_client) - world_.now(), [this, n = number] { lose(n); });
    }
    ++it;
  }
}

}  // namespace perdure::sim
