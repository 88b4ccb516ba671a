// What passes between the connections and the protocols: requests, the identity of connections, and the way
// back. Here and not in server/, because the protocols and the simulator's network speak of it as well.
#pragma once

#include <array>
#include <string>

#include "base/strong.h"
#include "wire/chunk.h"
#include "wire/xdr.h"

namespace perdure::wire {

// One transport connection of a client. Never given twice within a process; 0 is none.
using ConnectionId = Strong<struct ConnectionIdTag>;

// The address of one end of a connection.
struct Address {
  std::array<uint8_t, 16> ip{};  // IPv4: the first four bytes
  uint16_t port = 0;
  bool is_v6 = false;

  friend auto operator<=>(const Address&, const Address&) = default;
};

// "192.0.2.1:2049", "[2001:db8::1]:2049".
std::string to_string(const Address& address);

// One whole RPC message from a connection. `message` lies in `chunk`. Whoever keeps the request keeps both.
struct Request {
  Bytes message;
  ChunkRef chunk;
  Ticket ticket;
  ConnectionId connection;
  Address peer;
};

// The way of a message to its connection. Never calls back inline.
class Transport {
 public:
  virtual ~Transport() = default;
  // Queues a message (without record mark); drops it silently if the connection is gone.
  virtual void send(ConnectionId connection, Reply&& message) = 0;
  // Closes the connection, as if the peer had. No-op if it is gone.
  virtual void close(ConnectionId connection) = 0;
  // A connection that this side makes. What is sent to it meanwhile leaves when it is there; that it cannot
  // be made is its end, as that of any other. 0: there is no room for one more, or no way.
  virtual ConnectionId connect(const Address& to) = 0;
};

}  // namespace perdure::wire
