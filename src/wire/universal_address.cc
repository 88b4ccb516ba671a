#include "wire/universal_address.h"

#include <arpa/inet.h>

#include <charconv>
#include <string>

namespace perdure::wire {

namespace {

// Takes the last byte, in decimal, off the end of `text`.
std::optional<uint8_t> take_byte(std::string_view& text) {
  const size_t dot = text.rfind('.');
  if (dot == std::string_view::npos) return std::nullopt;
  const std::string_view digits = text.substr(dot + 1);
  uint8_t byte = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), byte);
  if (error != std::errc() || end != digits.data() + digits.size()) return std::nullopt;
  text = text.substr(0, dot);
  return byte;
}

}  // namespace

std::optional<Address> parse_universal_address(std::string_view netid, std::string_view text) {
  Address address;
  address.is_v6 = netid == "tcp6";
  if (netid != "tcp" && !address.is_v6) return std::nullopt;
  const auto low = take_byte(text), high = take_byte(text);
  if (!low || !high) return std::nullopt;
  address.port = static_cast<uint16_t>(*high << 8U | *low);
  const std::string ip(text);
  if (address.port == 0 || ip.find('\0') != std::string::npos) return std::nullopt;
  if (::inet_pton(address.is_v6 ? AF_INET6 : AF_INET, ip.c_str(), address.ip.data()) != 1)
    return std::nullopt;
  return address;
}

}  // namespace perdure::wire
