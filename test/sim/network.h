// The network between clients and the blade.
//
// Fault model. A connection carries whole messages, in order, each way; every message takes its own time.
// What may happen: a connection is cut, at any time. Its client notices at once and gets nothing any more;
// the server notices later, and until then still gets messages that were under way. So a request of a dead
// connection may be executed after it was sent again over a new one. A request may arrive twice (a connection
// of its own carries the second copy, and ends when an answer comes to nobody). When the server process dies
// all of its connections do. Messages are never changed, and never lost on a connection that lives.
#pragma once

#include <map>
#include <optional>
#include <vector>

#include "base/bytes.h"
#include "env/env.h"
#include "server/rpc_front.h"
#include "wire/rpc_service.h"

namespace perdure::sim {

class Blade;
class World;

// The client's end of a connection. Called from the world, never inline.
class ClientEnd {
 public:
  virtual ~ClientEnd() = default;
  virtual void connected() = 0;
  virtual void lost() = 0;  // or refused
  virtual void received(Bytes message) = 0;
};

// Clients that the server can connect to. Called from the world, never inline.
class ClientListener {
 public:
  virtual ~ClientListener() = default;
  // The end of a connection of this number, which the client keeps as long as it is not lost.
  virtual ClientEnd& accepted(uint64_t connection) = 0;
};

class Network final {
 public:
  explicit Network(World& world) : world_(world) {}

  // The client's side. A number is never given twice. `host`: where the client is.
  uint64_t connect(ClientEnd& client, uint32_t host);
  void send(uint64_t connection, Bytes message);
  // The client is gone, or closes it: it hears nothing more from it.
  void close(uint64_t connection);
  void cut(uint64_t connection);
  void cut_all();
  // The host's connections from the server; null: there is nobody any more.
  void listen(uint32_t host, ClientListener* listener);
  // A second copy of a message arrives later, over a connection whose answers nobody hears.
  void send_again(Bytes message, uint32_t host);

  // The server's side: it listens, or it has died.
  // New connections go to the one that came up last. Returns the way to its clients.
  wire::Transport& server_up(server::RpcFront& front, Blade& blade);
  void server_down(Blade& blade);
  // Which that is, or was.
  Blade* blade() { return address_; }
  // The newest life of the server, and the one that a connection belongs to: what the server sent before it
  // died still arrives, perhaps in its next life. 0: not accepted yet.
  uint64_t life() const { return life_; }
  uint64_t life_of(uint64_t connection);

 private:
  struct Connection {
    ClientEnd* client = nullptr;  // null: nobody hears
    uint32_t host = 0;
    uint64_t life = 0;  // of the server; 0: not accepted yet
    bool server_knows = false;
    bool made = false;                  // by the server
    env::Instant to_server, to_client;  // when the last message arrives
  };
  void send_to_client(uint64_t connection, wire::Reply&& message);
  void close_by_server(uint64_t connection);
  wire::ConnectionId connect_to_client(uint64_t life, uint32_t host);
  void tell_closed(uint64_t connection, uint64_t life);
  env::Instant arrival(env::Instant& last);
  void deliver(uint64_t number, ByteVector message);
  void lose(uint64_t number);
  Connection* find(uint64_t number);

  World& world_;
  struct Server {
    server::RpcFront* front = nullptr;
    Blade* blade = nullptr;
  };
  // What a life of the server knows of the network.
  struct Way final : wire::Transport {
    Way(Network& n, uint64_t l) : network(n), life(l) {}
    void send(wire::ConnectionId connection, wire::Reply&& message) override {
      network.send_to_client(connection.value, std::move(message));
    }
    void close(wire::ConnectionId connection) override { network.close_by_server(connection.value); }
    wire::ConnectionId connect(const wire::Address& to) override;
    Network& network;
    const uint64_t life;
  };
  Server* server(uint64_t life);
  Server* current() { return server(life_); }
  std::map<uint64_t, Server> servers_;  // that live, by their lives
  std::map<uint64_t, Way> ways_;
  Blade* address_ = nullptr;
  uint64_t life_ = 0, last_ = 0;
  std::map<uint64_t, Connection> connections_;
  std::map<uint32_t, ClientListener*> listeners_;
};

}  // namespace perdure::sim
