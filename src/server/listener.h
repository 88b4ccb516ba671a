// Listener: accepts connections for a FrontEnd, on sockets that it opens, or that listen already and are
// handed to it (by the guardian, or by systemd).
//
// When the process or the system is out of descriptors or memory, the connection that has been idle longest
// is closed and accepting pauses for a moment: the clients wait in the backlog.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "env/env.h"
#include "server/front_end.h"

namespace perdure::server {

// A socket that listens on `address`; port 0 is any. An IPv6 address takes no IPv4 connections. `free`: this
// machine need not have the address. Also for the guardian.
Result<int> open_listening_socket(const wire::Address& address, bool free = false);

// Accepts and closes the connections that wait on these listening sockets.
std::vector<ConnectionEnds> turn_away(std::span<const int> listening);

class Listener {
 public:
  Listener(env::Env& env, asio::io_context& context, FrontEnd& front_end);
  // Stops listening; connections stay.
  ~Listener();
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

  Result<void> listen(const wire::Address& address);
  // Takes a descriptor, and closes it if it is not a listening stream socket.
  Result<void> adopt(int descriptor);
  std::vector<ConnectionEnds> turn_away();
  // Where it listens, in the order of the calls.
  std::vector<wire::Address> addresses() const;

 private:
  struct Socket;

  void wait(const std::shared_ptr<Socket>& socket);
  void accept_ready(const std::shared_ptr<Socket>& socket);
  void pause(const std::shared_ptr<Socket>& socket);

  env::Env& env_;
  asio::io_context& context_;
  FrontEnd& front_end_;
  std::vector<std::shared_ptr<Socket>> sockets_;
};

}  // namespace perdure::server
