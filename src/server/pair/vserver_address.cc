#include "server/pair/vserver_address.h"

#include <arpa/inet.h>
#include <linux/capability.h>
#include <linux/ethtool.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netinet/icmp6.h>
#include <netinet/if_ether.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/tcp.h>
#include <netpacket/packet.h>
#include <spdlog/spdlog.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>

#include "server/socket_address.h"

namespace perdure::server {

namespace {

// In whole seconds, as the kernel has them.
constexpr uint32_t lifetime_seconds = 3;
constexpr env::Duration renew_interval = std::chrono::milliseconds(500);
constexpr std::array<std::chrono::milliseconds, 3> announce_at{
    std::chrono::milliseconds(0), std::chrono::milliseconds(20), std::chrono::milliseconds(100)};
// The first one comes when the announcement has been heard: the answers must not go to the dead blade.
constexpr std::array<std::chrono::milliseconds, 5> wake_at{
    std::chrono::milliseconds(5), std::chrono::milliseconds(30), std::chrono::milliseconds(100),
    std::chrono::milliseconds(300), std::chrono::milliseconds(1000)};

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

Error system_error(const VserverAddress& address, const char* what, int number) {
  const char* hint = number == EPERM ? " (this needs the capabilities CAP_NET_ADMIN and CAP_NET_RAW)" : "";
  return error(ErrorKind::io, "{}: {}: {}{}", to_string(address), what, std::strerror(number), hint);
}

size_t ip_bytes(const wire::Address& address) {
  return address.is_v6 ? 16 : 4;
}

// ---- announcements

struct LinkLayer {
  int index = 0;
  std::array<uint8_t, ETH_ALEN> address{};
  bool has_address = false;
};

LinkLayer link_layer(const std::string& interface) {
  LinkLayer link;
  link.index = static_cast<int>(::if_nametoindex(interface.c_str()));
  const Descriptor socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ifreq request{};
  interface.copy(request.ifr_name, IFNAMSIZ - 1);
  if (::ioctl(socket.get(), SIOCGIFHWADDR, &request) != 0 || request.ifr_hwaddr.sa_family != ARPHRD_ETHER)
    return link;
  std::memcpy(link.address.data(), request.ifr_hwaddr.sa_data, ETH_ALEN);
  link.has_address = true;
  return link;
}

Result<void> announce_v4(const VserverAddress& address, const LinkLayer& link) {
  const Descriptor socket(::socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, htons(ETH_P_ARP)));
  if (socket.get() < 0) return system_error(address, "a gratuitous ARP", errno);
  sockaddr_ll to{};
  to.sll_family = AF_PACKET;
  to.sll_protocol = htons(ETH_P_ARP);
  to.sll_ifindex = link.index;
  to.sll_halen = ETH_ALEN;
  std::memset(to.sll_addr, 0xff, ETH_ALEN);
  ether_arp arp{};
  arp.arp_hrd = htons(ARPHRD_ETHER);
  arp.arp_pro = htons(ETH_P_IP);
  arp.arp_hln = ETH_ALEN;
  arp.arp_pln = 4;
  std::memcpy(arp.arp_sha, link.address.data(), ETH_ALEN);
  std::memcpy(arp.arp_spa, address.ip.ip.data(), 4);
  std::memcpy(arp.arp_tpa, address.ip.ip.data(), 4);
  // There are systems that listen to only one of the two.
  for (const uint16_t operation : {uint16_t{ARPOP_REQUEST}, uint16_t{ARPOP_REPLY}}) {
    arp.arp_op = htons(operation);
    if (operation == ARPOP_REPLY) std::memset(arp.arp_tha, 0xff, ETH_ALEN);
    if (::sendto(socket.get(), &arp, sizeof arp, 0, reinterpret_cast<const sockaddr*>(&to), sizeof to) < 0)
      return system_error(address, "a gratuitous ARP", errno);
  }
  return {};
}

Result<void> announce_v6(const VserverAddress& address, const LinkLayer& link) {
  const Descriptor socket(::socket(AF_INET6, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_ICMPV6));
  if (socket.get() < 0) return system_error(address, "a neighbour advertisement", errno);
  const int hops = 255;
  ::setsockopt(socket.get(), IPPROTO_IPV6, IPV6_MULTICAST_HOPS, &hops, sizeof hops);
  ::setsockopt(socket.get(), IPPROTO_IPV6, IPV6_MULTICAST_IF, &link.index, sizeof link.index);
  sockaddr_in6 from{};
  from.sin6_family = AF_INET6;
  from.sin6_scope_id = static_cast<uint32_t>(link.index);
  std::memcpy(&from.sin6_addr, address.ip.ip.data(), 16);
  if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&from), sizeof from) != 0)
    return system_error(address, "a neighbour advertisement", errno);
  struct {
    nd_neighbor_advert advert;
    nd_opt_hdr option;
    std::array<uint8_t, ETH_ALEN> target;
  } packet{};
  packet.advert.nd_na_type = ND_NEIGHBOR_ADVERT;
  packet.advert.nd_na_flags_reserved = ND_NA_FLAG_OVERRIDE;
  std::memcpy(&packet.advert.nd_na_target, address.ip.ip.data(), 16);
  packet.option = {.nd_opt_type = ND_OPT_TARGET_LINKADDR, .nd_opt_len = 1};
  packet.target = link.address;
  sockaddr_in6 to{};
  to.sin6_family = AF_INET6;
  to.sin6_scope_id = static_cast<uint32_t>(link.index);
  ::inet_pton(AF_INET6, "ff02::1", &to.sin6_addr);
  if (::sendto(socket.get(), &packet, sizeof packet, 0, reinterpret_cast<const sockaddr*>(&to), sizeof to) <
      0)
    return system_error(address, "a neighbour advertisement", errno);
  return {};
}

// ---- acknowledgements

uint16_t folded(uint32_t sum) {
  while ((sum >> 16U) != 0) sum = (sum & 0xffffU) + (sum >> 16U);
  return static_cast<uint16_t>(~sum);
}

uint32_t sum_of(const void* data, size_t bytes, uint32_t sum = 0) {
  const auto* p = static_cast<const uint8_t*>(data);
  for (size_t i = 0; i + 1 < bytes; i += 2) sum += static_cast<uint32_t>(p[i] << 8U | p[i + 1]);
  return sum;
}

// With a byte behind it: to acknowledgements without one, systems answer no more than twice a second.
constexpr size_t stray_bytes = 1;

// From the server's end: its numbers cannot be right, and need not be.
tcphdr stray_acknowledgement(const ConnectionEnds& ends) {
  tcphdr tcp{};
  tcp.source = htons(ends.local.port);
  tcp.dest = htons(ends.peer.port);
  tcp.doff = sizeof tcp / 4;
  tcp.ack = 1;
  tcp.window = htons(1234);
  // The pseudo header (RFC 9293 §3.1).
  const size_t bytes = ip_bytes(ends.local);
  uint32_t sum = sum_of(ends.local.ip.data(), bytes);
  sum = sum_of(ends.peer.ip.data(), bytes, sum);
  sum += IPPROTO_TCP + sizeof tcp + stray_bytes;
  tcp.check = htons(folded(sum_of(&tcp, sizeof tcp, sum)));
  return tcp;
}

void send_v4(int socket, const ConnectionEnds& ends) {
  struct {
    iphdr ip;
    tcphdr tcp;
    std::array<std::byte, 4> zeros;  // stray_bytes of them are sent
  } packet{};
  constexpr size_t bytes = sizeof packet.ip + sizeof packet.tcp + stray_bytes;
  packet.ip.version = 4;
  packet.ip.ihl = sizeof packet.ip / 4;
  packet.ip.ttl = 64;
  packet.ip.protocol = IPPROTO_TCP;
  std::memcpy(&packet.ip.saddr, ends.local.ip.data(), 4);
  std::memcpy(&packet.ip.daddr, ends.peer.ip.data(), 4);
  packet.tcp = stray_acknowledgement(ends);
  sockaddr_storage to;
  const socklen_t length = to_kernel(ends.peer, to);
  (void)::sendto(socket, &packet, bytes, MSG_DONTWAIT, reinterpret_cast<const sockaddr*>(&to), length);
}

void send_v6(int socket, const ConnectionEnds& ends) {
  struct {
    ip6_hdr ip;
    tcphdr tcp;
    std::array<std::byte, 4> zeros;
  } packet{};
  constexpr size_t bytes = sizeof packet.ip + sizeof packet.tcp + stray_bytes;
  packet.ip.ip6_flow = htonl(6U << 28U);
  packet.ip.ip6_plen = htons(sizeof packet.tcp + stray_bytes);
  packet.ip.ip6_nxt = IPPROTO_TCP;
  packet.ip.ip6_hlim = 64;
  std::memcpy(&packet.ip.ip6_src, ends.local.ip.data(), 16);
  std::memcpy(&packet.ip.ip6_dst, ends.peer.ip.data(), 16);
  packet.tcp = stray_acknowledgement(ends);
  wire::Address client = ends.peer;
  client.port = 0;  // of a raw socket
  sockaddr_storage to;
  const socklen_t length = to_kernel(client, to);
  (void)::sendto(socket, &packet, bytes, MSG_DONTWAIT, reinterpret_cast<const sockaddr*>(&to), length);
}

}  // namespace

Result<VserverAddress> parse_vserver_address(std::string_view text) {
  const auto bad = [&] {
    return error(ErrorKind::invalid, "'{}' is not ADDRESS/PREFIX@INTERFACE, as in 192.0.2.10/24@eth0", text);
  };
  const size_t slash = text.find('/'), at = text.find('@');
  if (slash == std::string_view::npos || at == std::string_view::npos || at < slash) return bad();
  const std::string_view bits = text.substr(slash + 1, at - slash - 1), interface = text.substr(at + 1);
  VserverAddress address;
  Result<wire::Address> ip = parse_address(std::string(text.substr(0, slash)), 0);
  const auto [end, problem] = std::from_chars(bits.data(), bits.data() + bits.size(), address.prefix);
  if (!ip || problem != std::errc() || end != bits.data() + bits.size() || address.prefix == 0 ||
      address.prefix > 8 * ip_bytes(*ip) || interface.empty() || interface.size() >= IFNAMSIZ)
    return bad();
  address.ip = *ip;
  address.interface = interface;
  return address;
}

std::string to_string(const VserverAddress& address) {
  std::array<char, INET6_ADDRSTRLEN> ip{};
  ::inet_ntop(address.ip.is_v6 ? AF_INET6 : AF_INET, address.ip.ip.data(), ip.data(), ip.size());
  return fmt::format("{}/{}@{}", ip.data(), address.prefix, address.interface);
}

VserverAddresses::VserverAddresses(env::Env& env, std::vector<VserverAddress> addresses)
    : env_(env), addresses_(std::move(addresses)), look_(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {}

Result<void> VserverAddresses::check_rights() {
  __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  std::array<__user_cap_data_struct, 2> data{};
  if (::syscall(SYS_capget, &header, data.data()) != 0) return {};  // then it will be seen
  constexpr uint32_t wanted = (1U << CAP_NET_ADMIN) | (1U << CAP_NET_RAW);
  if ((data[0].effective & wanted) == wanted) return {};
  return error(ErrorKind::invalid,
               "a blade that is to take over addresses needs the capabilities CAP_NET_ADMIN and CAP_NET_RAW: "
               "run it as root, "
               "or see dist/perdure-pair.conf");
}

VserverAddresses::~VserverAddresses() {
  if (look_ >= 0) ::close(look_);
  if (netlink_ >= 0) ::close(netlink_);
}

Result<int> VserverAddresses::netlink() {
  if (netlink_ >= 0) return netlink_;
  netlink_ = ::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
  if (netlink_ < 0) return error(ErrorKind::io, "a netlink socket: {}", std::strerror(errno));
  // The kernel answers at once.
  const timeval patience{.tv_sec = 1, .tv_usec = 0};
  ::setsockopt(netlink_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  return netlink_;
}

Result<void> VserverAddresses::set(bool present, const VserverAddress& address) {
  const int socket = TRY(netlink());
  const unsigned index = ::if_nametoindex(address.interface.c_str());
  if (index == 0) return system_error(address, "the interface", errno);
  struct {
    nlmsghdr header;
    ifaddrmsg message;
    std::array<std::byte, 256> attributes;
  } request{};
  size_t length = NLMSG_LENGTH(sizeof request.message);
  const auto add = [&](uint16_t type, const void* data, size_t bytes) {
    auto* attribute = reinterpret_cast<rtattr*>(reinterpret_cast<std::byte*>(&request) + NLMSG_ALIGN(length));
    attribute->rta_type = type;
    attribute->rta_len = static_cast<uint16_t>(RTA_LENGTH(bytes));
    std::memcpy(RTA_DATA(attribute), data, bytes);
    length = NLMSG_ALIGN(length) + RTA_ALIGN(attribute->rta_len);
  };
  request.header.nlmsg_type = present ? RTM_NEWADDR : RTM_DELADDR;
  request.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
  if (present) request.header.nlmsg_flags |= NLM_F_CREATE | NLM_F_REPLACE;
  request.header.nlmsg_seq = ++sequence_;
  request.message.ifa_family = address.ip.is_v6 ? AF_INET6 : AF_INET;
  request.message.ifa_prefixlen = address.prefix;
  request.message.ifa_index = index;
  add(IFA_LOCAL, address.ip.ip.data(), ip_bytes(address.ip));
  add(IFA_ADDRESS, address.ip.ip.data(), ip_bytes(address.ip));
  if (present) {
    ifa_cacheinfo lifetime{};
    lifetime.ifa_prefered = lifetime.ifa_valid = lifetime_seconds;
    add(IFA_CACHEINFO, &lifetime, sizeof lifetime);
    // Nobody waits until it is known that nobody else has it: the arbiter says so.
    const uint32_t flags = IFA_F_NODAD;
    if (address.ip.is_v6) add(IFA_FLAGS, &flags, sizeof flags);
  }
  request.header.nlmsg_len = static_cast<uint32_t>(length);
  if (::send(socket, &request, length, 0) < 0) return system_error(address, "netlink", errno);
  alignas(nlmsghdr) std::array<std::byte, 4096> answer;
  while (true) {
    const ssize_t n = ::recv(socket, answer.data(), answer.size(), 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < static_cast<ssize_t>(NLMSG_LENGTH(sizeof(nlmsgerr))))
      return system_error(address, "netlink", n < 0 ? errno : EIO);
    const auto* header = reinterpret_cast<const nlmsghdr*>(answer.data());
    if (header->nlmsg_type != NLMSG_ERROR || header->nlmsg_seq != sequence_) continue;
    const int problem = -static_cast<const nlmsgerr*>(NLMSG_DATA(header))->error;
    if (problem == 0 || (!present && problem == EADDRNOTAVAIL)) return {};
    return system_error(address, present ? "taking the address" : "giving up the address", problem);
  }
}

Result<void> VserverAddresses::take() {
  for (const VserverAddress& address : addresses_) TRY(set(true, address));
  if (!taken()) ++taken_;
  announce(0);
  env_.after(renew_interval, [this, time = taken_] {
    if (taken_ == time) renew();
  });
  return {};
}

void VserverAddresses::renew() {
  for (const VserverAddress& address : addresses_)
    if (const Result<void> renewed = set(true, address); !renewed)
      spdlog::warn("{}", renewed.error().message);
  announce();
  env_.after(renew_interval, [this, time = taken_] {
    if (taken_ == time) renew();
  });
}

void VserverAddresses::give_up() {
  if (taken()) ++taken_;
  for (const VserverAddress& address : addresses_)
    if (const Result<void> gone = set(false, address); !gone) spdlog::warn("{}", gone.error().message);
}

void VserverAddresses::announce() {
  for (const VserverAddress& address : addresses_) {
    const LinkLayer link = link_layer(address.interface);
    if (!link.has_address) continue;  // such as a loopback interface
    const Result<void> announced = address.ip.is_v6 ? announce_v6(address, link) : announce_v4(address, link);
    if (!announced) spdlog::debug("{}", announced.error().message);
  }
}

void VserverAddresses::announce(size_t times) {
  announce();
  if (times + 1 == announce_at.size()) return;
  env_.after(announce_at[times + 1] - announce_at[times], [this, times, time = taken_] {
    if (taken_ == time) announce(times + 1);
  });
}

void VserverAddresses::wake(std::vector<ConnectionEnds> connections) {
  if (connections.empty()) return;
  wake(std::make_shared<const std::vector<ConnectionEnds>>(std::move(connections)), 0);
}

void VserverAddresses::wake_now(const std::vector<ConnectionEnds>& connections) {
  const Descriptor v4(::socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW)),
      v6(::socket(AF_INET6, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW));
  if (v4.get() < 0) spdlog::warn("clients cannot be told to connect again: {}", std::strerror(errno));
  for (const ConnectionEnds& ends : connections) {
    if (ends.peer.is_v6 != ends.local.is_v6) continue;
    if (ends.peer.is_v6)
      send_v6(v6.get(), ends);
    else
      send_v4(v4.get(), ends);
  }
}

void VserverAddresses::wake(std::shared_ptr<const std::vector<ConnectionEnds>> connections, size_t times) {
  if (times == wake_at.size()) return;
  const auto wait = wake_at[times] - (times == 0 ? std::chrono::milliseconds(0) : wake_at[times - 1]);
  env_.after(wait, [this, connections = std::move(connections), times, time = taken_] {
    if (taken_ != time) return;
    wake_now(*connections);
    wake(connections, times + 1);
  });
}

bool VserverAddresses::connected() const {
  if (look_ < 0) return true;  // nothing is known
  return std::ranges::all_of(addresses_, [&](const VserverAddress& address) {
    ifreq request{};
    address.interface.copy(request.ifr_name, IFNAMSIZ - 1);
    // First: the flags alone know of a lost carrier up to a second later.
    ethtool_value link{.cmd = ETHTOOL_GLINK, .data = 1};
    request.ifr_data = reinterpret_cast<char*>(&link);
    if (::ioctl(look_, SIOCETHTOOL, &request) == 0 && link.data == 0) return false;
    constexpr int wanted = IFF_UP | IFF_RUNNING;
    return ::ioctl(look_, SIOCGIFFLAGS, &request) == 0 && (request.ifr_flags & wanted) == wanted;
  });
}

}  // namespace perdure::server
