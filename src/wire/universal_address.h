// Universal addresses: how RPC writes a transport address in words (RFC 5665 §5.2.3.3, §5.2.3.4).
#pragma once

#include <optional>
#include <string_view>

#include "wire/request.h"

namespace perdure::wire {

// "192.0.2.1.8.1" of the netid "tcp", "2001:db8::1.8.1" of "tcp6": an IP address, and the two bytes of a
// port. Nothing if it is no such address, or the port is 0.
std::optional<Address> parse_universal_address(std::string_view netid, std::string_view text);

}  // namespace perdure::wire
