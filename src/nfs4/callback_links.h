// Connections to clients of NFSv4.0, over which they are called (RFC 7530 §3.3.3, §16.33.5): the server makes
// them itself, to where SETCLIENTID says. A client counts as one that can be called when it has answered
// CB_NULL. Volatile: after a restart, connections are made when they are wanted. Thread: the vserver's loop.
#pragma once

#include <absl/container/btree_map.h>

#include "nfs4/callbacks.h"

namespace perdure::nfs4 {

class Service;

// What SETCLIENTID says of callbacks: cb_client4 and callback_ident.
struct CallbackPlace {
  wire::Address address;
  uint32_t program = 0, ident = 0;
};
// Nothing: there is no calling it back, as many clients say. `callback`: in XDR.
std::optional<CallbackPlace> parse_callback_place(Bytes callback);

class CallbackLinks {
 public:
  explicit CallbackLinks(Service& service) : service_(service) {}
  ~CallbackLinks();

  void attach(wire::Transport& transport) { transport_ = &transport; }
  // A connection to the client is made if there is none, unless that has failed a moment ago. Also inside a
  // run.
  void want(client::ClientId client);
  // The client has told anew how it is called.
  void renew(client::ClientId client);
  // A call over the connection was not answered.
  void failed(client::ClientId client);
  void closed(wire::ConnectionId connection);

 private:
  enum class State : uint8_t {
    asks,    // CB_NULL is under way
    up,      // it was answered
    pauses,  // that has failed: not again at once
  };
  struct Link {
    State state = State::asks;
    wire::ConnectionId connection;
    env::TimerId timer{};
  };
  void open(client::ClientId client, Link& link);
  void answered(client::ClientId client, wire::ConnectionId connection, bool good);
  void pause(client::ClientId client, Link& link);
  void set_time(client::ClientId client, Link& link, env::Duration duration);
  void time_is_up(client::ClientId client, wire::ConnectionId connection);
  void drop(client::ClientId client);
  void close(Link& link);

  Service& service_;
  wire::Transport* transport_ = nullptr;
  absl::btree_map<client::ClientId, Link> links_;
};

}  // namespace perdure::nfs4
