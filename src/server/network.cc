#include "server/network.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include "server/socket_address.h"

namespace perdure::server {
namespace {

using AddressBytes = std::array<uint8_t, 16>;

constexpr AddressBytes ipv4_prefix = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
constexpr unsigned ipv4_prefix_bits = 96;

// IPv4 as ::ffff:a.b.c.d.
AddressBytes mapped(const wire::Address& address) {
  if (address.is_v6) return address.ip;
  AddressBytes bytes = ipv4_prefix;
  std::copy_n(address.ip.begin(), 4, bytes.begin() + 12);
  return bytes;
}

bool is_loopback_bytes(const AddressBytes& bytes) {
  static constexpr AddressBytes ipv6_loopback = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
  return bytes == ipv6_loopback ||
         (std::equal(bytes.begin(), bytes.begin() + 12, ipv4_prefix.begin()) && bytes[12] == 127);
}

template <class Number>
std::optional<Number> parse_number(std::string_view text) {
  Number value = 0;
  auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || problem != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

}  // namespace

Result<wire::Address> parse_address(std::string_view text) {
  auto bad = [&] {
    return error(ErrorKind::invalid, "'{}' is not ADDRESS:PORT, as in 127.0.0.1:2049 or [::1]:2049", text);
  };
  size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return bad();
  auto port = parse_number<uint16_t>(text.substr(colon + 1));
  std::string_view host = text.substr(0, colon);
  bool bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
  if (bracketed) host = host.substr(1, host.size() - 2);
  Result<wire::Address> address = parse_address(std::string(host), port.value_or(0));
  if (!port || !address || address->is_v6 != bracketed) return bad();
  return address;
}

bool is_loopback(const wire::Address& address) {
  return is_loopback_bytes(mapped(address));
}

bool is_wildcard(const wire::Address& address) {
  return address.ip == AddressBytes{};
}

Result<Network> Network::parse(std::string_view text) {
  auto bad = [&] {
    return error(ErrorKind::invalid, "'{}' is not a network, as in 192.168.0.0/16 or 2001:db8::/32", text);
  };
  size_t slash = text.find('/');
  Result<wire::Address> address = parse_address(std::string(text.substr(0, slash)), 0);
  if (!address) return bad();
  Network network;
  network.prefix_ = mapped(*address);
  network.bits_ = 128;
  if (slash != std::string_view::npos) {
    unsigned before = address->is_v6 ? 0 : ipv4_prefix_bits;
    auto bits = parse_number<unsigned>(text.substr(slash + 1));
    if (!bits || *bits > 128 - before) return bad();
    network.bits_ = before + *bits;
  }
  for (unsigned bit = network.bits_; bit < 128; ++bit) {
    if ((network.prefix_.at(bit / 8) >> (7 - bit % 8) & 1) != 0)
      return error(ErrorKind::invalid, "'{}' has bits set beyond its prefix length", text);
  }
  return network;
}

bool Network::contains(const wire::Address& peer) const {
  AddressBytes bytes = mapped(peer);
  if (!std::equal(bytes.begin(), bytes.begin() + bits_ / 8, prefix_.begin())) return false;
  unsigned rest = bits_ % 8;
  return rest == 0 || (bytes.at(bits_ / 8) ^ prefix_.at(bits_ / 8)) >> (8 - rest) == 0;
}

bool Network::is_loopback() const {
  return is_loopback_bytes(prefix_);
}

}  // namespace perdure::server
