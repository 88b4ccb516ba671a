// FrontEnd: the connections of one vserver. Accepted sockets come in (from the Listener), whole RPC messages
// go to the handler, and replies go out, all on the vserver's loop.
//
// Bounds: the number of connections (a new one then takes the place of the one that has been idle longest),
// and what each may have in flight (ConnectionLimits) and all together may hold in receive memory. Beyond
// them a connection is not read, which its peer's TCP notices. A peer that is idle may stay for ever; one
// that leaves a record half sent or its replies unread may not.
//
// Replies that are sent in one turn leave together, in the FrontEnd's turn-end task: construct it after
// whatever sends replies in turn-end tasks of its own.
#pragma once

#include <absl/container/btree_map.h>

#include <functional>
#include <memory>
#include <vector>

#include "server/connection.h"

namespace perdure::server {

struct FrontEndOptions {
  ConnectionLimits limits;
  size_t connections_max = 4096;
  size_t receive_bytes_max = 1U << 30;  // receive memory of all connections on this thread
};

class RequestHandler {
 public:
  virtual ~RequestHandler() = default;
  virtual void handle(wire::Request&& request) = 0;
  // The connection is gone. In a turn of its own, never from inside handle() or a call to the FrontEnd.
  virtual void closed(wire::ConnectionId connection) = 0;
};

class FrontEnd final : public wire::Transport, private Connection::Owner {
 public:
  FrontEnd(env::Env& env, asio::io_context& context, RequestHandler& handler, const FrontEndOptions& options);
  // Closes everything; closed() is not called any more.
  ~FrontEnd() override;

  // Takes the descriptor of a connected TCP socket.
  void adopt(int descriptor);
  // All connections, of which the handler hears nothing any more. What is sent to them is dropped.
  void close_all();
  // Makes room for a descriptor. False if no connection is idle.
  bool close_longest_idle();

  void send(wire::ConnectionId connection, wire::Reply&& message) override;
  void close(wire::ConnectionId connection) override;
  wire::ConnectionId connect(const wire::Address& to) override;

  size_t connections() const { return connections_.size(); }
  void for_each(const std::function<void(wire::ConnectionId, const Connection::Ends&)>& visit) const;

  struct Figures {
    uint64_t accepted = 0;   // connections
    uint64_t made = 0;       // connections to clients
    uint64_t refused = 0;    // connections: all others were busy
    uint64_t displaced = 0;  // idle connections, by new ones
    uint64_t overdue = 0;    // connections closed for a half record or unread replies
    uint64_t requests = 0;
    uint64_t replies = 0;
  };
  const Figures& figures() const { return figures_; }

 private:
  void deliver(wire::Request&& request) override;
  void touched(Connection& connection) override;
  void resumable(Connection& connection) override;
  void failed(Connection& connection) override;
  bool starved(Connection& connection) override;
  env::Instant now() override { return env_.now(); }

  void bind_as_seen_by(const wire::Address& client, int descriptor) const;
  bool has_room();
  wire::ConnectionId add(int descriptor, const Connection::Ends& ends);
  void end_turn();
  void resume_all();
  void remove(Connection& connection);
  void tell_closed();
  void watch();
  void sweep();
  // Runs `task` later, unless this object is gone by then.
  void post(void (FrontEnd::*task)());

  env::Env& env_;
  asio::io_context& context_;
  RequestHandler& handler_;
  const FrontEndOptions options_;
  // Cleared by the destructor: for tasks that cannot be taken back.
  std::shared_ptr<FrontEnd*> self_;

  absl::btree_map<wire::ConnectionId, std::shared_ptr<Connection>> connections_;
  wire::ConnectionId last_id_;
  using List = std::vector<std::shared_ptr<Connection>>;
  List touched_, ending_;  // ending_: those whose turn ends now
  List resumable_;
  List starved_;
  std::vector<wire::ConnectionId> closed_;  // the handler does not know yet
  bool watching_ = false;
  env::TimerId watch_timer_{};
  Figures figures_;
};

}  // namespace perdure::server
