// Addresses of sockets, between the kernel's form and ours.
#pragma once

#include <sys/socket.h>

#include <string>

#include "base/result.h"
#include "wire/request.h"

namespace perdure::server {

// A numeric IPv4 or IPv6 address ("192.0.2.1", "::", "fe80::1%eth0" is not one) and a port.
Result<wire::Address> parse_address(const std::string& ip, uint16_t port);

// Returns the length.
socklen_t to_kernel(const wire::Address& address, sockaddr_storage& out);
// An IPv4 address mapped into IPv6 becomes IPv4. Anything else but IP gives an empty address.
wire::Address from_kernel(const sockaddr_storage& address);

// Of a TCP connection, as this machine sees it.
struct ConnectionEnds {
  wire::Address peer;
  wire::Address local;
};

wire::Address peer_address(int descriptor);
wire::Address local_address(int descriptor);

}  // namespace perdure::server
