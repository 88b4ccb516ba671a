#include "wire/request.h"

#include <arpa/inet.h>
#include <fmt/format.h>

namespace perdure::wire {

std::string to_string(const Address& address) {
  char text[INET6_ADDRSTRLEN] = "?";
  ::inet_ntop(address.is_v6 ? AF_INET6 : AF_INET, address.ip.data(), text, sizeof text);
  return address.is_v6 ? fmt::format("[{}]:{}", text, address.port)
                       : fmt::format("{}:{}", text, address.port);
}

}  // namespace perdure::wire
