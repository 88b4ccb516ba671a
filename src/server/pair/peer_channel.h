// Channels to the peer (mirror/channel.h) over TCP and TLS. A message is its length (4 bytes, little-endian)
// and its bytes.
//
// Whoever connects, or is connected to, must have the certificate of the blade that is the peer. A
// connection that does not show it in time, or that breaks the rules, is closed. Thread: the vserver's loop.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "env/env.h"
#include "mirror/channel.h"
#include "wire/request.h"

namespace asio {
class io_context;
namespace ssl {
class context;
}
}  // namespace asio

namespace perdure::server {

struct PeerOptions {
  std::string peer;  // its blade, as its certificate names it
  std::shared_ptr<asio::ssl::context> tls;
  env::Duration handshake_max = std::chrono::milliseconds(500);  // from a TCP connection to a channel
  env::Duration connect_max = std::chrono::milliseconds(250);
};

// Takes the channels that the peer makes.
class PeerListener {
 public:
  using Accepted = std::function<void(std::unique_ptr<mirror::Channel>)>;
  PeerListener(env::Env& env, asio::io_context& context, PeerOptions options, Accepted accepted);
  ~PeerListener();
  PeerListener(const PeerListener&) = delete;
  PeerListener& operator=(const PeerListener&) = delete;
  Result<void> listen(const wire::Address& address);
  // Of the first one.
  wire::Address address() const;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

// Makes channels to the peer over one path: to one of its addresses.
class PeerConnector final : public mirror::Connector {
 public:
  PeerConnector(env::Env& env, asio::io_context& context, const wire::Address& address, PeerOptions options);
  ~PeerConnector() override;
  void connect(std::move_only_function<void(std::unique_ptr<mirror::Channel>)> done) override;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace perdure::server
