// Network addresses as they stand in the configuration and on the command line, and sets of client addresses.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"
#include "wire/request.h"

namespace perdure::server {

// "127.0.0.1:2049" or "[::1]:2049": the reverse of to_string(). Names are not resolved: a server that waits
// for a name server at its start does not start when the network is down.
Result<wire::Address> parse_address(std::string_view text);

bool is_loopback(const wire::Address& address);
// All addresses of the machine: 0.0.0.0 or [::].
bool is_wildcard(const wire::Address& address);

// A set of client addresses: "192.168.0.0/16", "2001:db8::/32", or a single address.
class Network {
 public:
  static Result<Network> parse(std::string_view text);
  // IPv4 addresses that arrive as IPv4-mapped IPv6 addresses count as IPv4.
  bool contains(const wire::Address& peer) const;
  bool is_loopback() const;

 private:
  std::array<uint8_t, 16> prefix_ = {};  // IPv4 as ::ffff:a.b.c.d
  unsigned bits_ = 0;                    // leading bits of prefix_ that count
};

}  // namespace perdure::server
