// The network between clients and the blade.
//
// Fault model. A connection carries whole messages, in order, each way; every message takes its own time.
// What may happen: a connection is cut, at any time. Its client notices at once and gets nothing any more;
// the server notices later, and until then still gets messages that were under way. So a request of a dead
// connection may be executed after it was sent again over a new one. A request may arrive twice (a connection
// of its own carries the second copy). When the server process dies all of its connections do. Messages are
// never changed, and never lost on a connection that lives.
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

class Network final : private wire::Transport {
 public:
  explicit Network(World& world) : world_(world) {}

  // The client's side. A number is never given twice. `host`: where the client is.
  uint64_t connect(ClientEnd& client, uint32_t host);
  void send(uint64_t connection, Bytes message);
  // The client is gone, or closes it: it hears nothing more from it.
  void close(uint64_t connection);
  void cut(uint64_t connection);
  void cut_all();
  // A second copy of a message arrives later, over a connection whose answers nobody hears.
  void send_again(Bytes message, uint32_t host);

  // The server's side: it listens, or it has died.
  // New connections go to the one that came up last.
  void server_up(server::RpcFront& front, Blade& blade);
  void server_down(Blade& blade);
  // Which that is, or was.
  Blade* blade() { return address_; }
  // The newest life of the server, and the one that a connection belongs to: what the server sent before it
  // died still arrives, perhaps in its next life. 0: not accepted yet.
  uint64_t life() const { return life_; }
  uint64_t life_of(uint64_t connection);
  wire::Transport& transport() { return *this; }

 private:
  struct Connection {
    ClientEnd* client = nullptr;  // null: nobody hears
    uint32_t host = 0;
    uint64_t life = 0;  // of the server; 0: not accepted yet
    bool server_knows = false;
    env::Instant to_server, to_client;  // when the last message arrives
  };
  void send(wire::ConnectionId connection, wire::Reply&& message) override;
  void close(wire::ConnectionId connection) override;
  env::Instant arrival(env::Instant& last);
  void deliver(uint64_t number, ByteVector message);
  void lose(uint64_t number);
  Connection* find(uint64_t number);

  World& world_;
  struct Server {
    server::RpcFront* front = nullptr;
    Blade* blade = nullptr;
  };
  Server* server(uint64_t life);
  Server* current() { return server(life_); }
  std::map<uint64_t, Server> servers_;  // that live, by their lives
  Blade* address_ = nullptr;
  uint64_t life_ = 0, last_ = 0;
  std::map<uint64_t, Connection> connections_;
};

}  // namespace perdure::sim
