#include "server/socket_address.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <cstring>

namespace perdure::server {

Result<wire::Address> parse_address(const std::string& ip, uint16_t port) {
  wire::Address address;
  address.port = port;
  if (::inet_pton(AF_INET, ip.c_str(), address.ip.data()) == 1) return address;
  address.is_v6 = true;
  if (::inet_pton(AF_INET6, ip.c_str(), address.ip.data()) == 1) return address;
  return error(ErrorKind::invalid, "{} is not an IPv4 or IPv6 address", ip);
}

socklen_t to_kernel(const wire::Address& address, sockaddr_storage& out) {
  out = {};
  if (address.is_v6) {
    auto& v6 = reinterpret_cast<sockaddr_in6&>(out);
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(address.port);
    std::memcpy(&v6.sin6_addr, address.ip.data(), 16);
    return sizeof v6;
  }
  auto& v4 = reinterpret_cast<sockaddr_in&>(out);
  v4.sin_family = AF_INET;
  v4.sin_port = htons(address.port);
  std::memcpy(&v4.sin_addr, address.ip.data(), 4);
  return sizeof v4;
}

wire::Address from_kernel(const sockaddr_storage& address) {
  wire::Address result;
  if (address.ss_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(address);
    std::memcpy(result.ip.data(), &v4.sin_addr, 4);
    result.port = ntohs(v4.sin_port);
  } else if (address.ss_family == AF_INET6) {
    const auto& v6 = reinterpret_cast<const sockaddr_in6&>(address);
    result.is_v6 = !IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr);
    const auto* bytes = reinterpret_cast<const uint8_t*>(&v6.sin6_addr);
    std::memcpy(result.ip.data(), result.is_v6 ? bytes : bytes + 12, result.is_v6 ? 16 : 4);
    result.port = ntohs(v6.sin6_port);
  }
  return result;
}

wire::Address peer_address(int descriptor) {
  sockaddr_storage address{};
  socklen_t length = sizeof address;
  if (::getpeername(descriptor, reinterpret_cast<sockaddr*>(&address), &length) != 0) return {};
  return from_kernel(address);
}

wire::Address local_address(int descriptor) {
  sockaddr_storage address{};
  socklen_t length = sizeof address;
  if (::getsockname(descriptor, reinterpret_cast<sockaddr*>(&address), &length) != 0) return {};
  return from_kernel(address);
}

}  // namespace perdure::server
