// The addresses that move with a vserver: the blade that is its primary has them, and no other.
//
// They have a lifetime of a few seconds, which the primary renews: those of a process that is dead or stands
// still go by themselves. Needs CAP_NET_ADMIN and CAP_NET_RAW. Thread: the vserver's loop.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "env/env.h"
#include "server/socket_address.h"

namespace perdure::server {

struct VserverAddress {
  wire::Address ip;  // port 0
  uint8_t prefix = 0;
  std::string interface;
};

// "192.0.2.10/24@eth0", "2001:db8::10/64@eth0".
Result<VserverAddress> parse_vserver_address(std::string_view text);
std::string to_string(const VserverAddress& address);

class VserverAddresses {
 public:
  VserverAddresses(env::Env& env, std::vector<VserverAddress> addresses);
  ~VserverAddresses();

  // Whether this process may do all of this.
  static Result<void> check_rights();
  // From now on this blade has them, and all of their networks are told so (RFC 5227 §3, RFC 4861 §7.2.6),
  // again and again: another machine that believes to have them may draw packets to itself.
  Result<void> take();
  // This blade does not have them any more, or has never had them. What it fails to remove goes by itself.
  void give_up();
  // The other ends of these connections, which a dead blade had, find out that they have ended: an
  // acknowledgement that does not fit is answered by one (RFC 9293 §3.10.7.4), and that by a reset, if some
  // blade has the addresses. Again and again for a while, as long as this blade has them, or as long as it
  // does not; or once.
  void wake(std::vector<ConnectionEnds> connections);
  static void wake_now(const std::vector<ConnectionEnds>& connections);
  // This blade has them, as far as it knows.
  bool taken() const { return taken_ % 2 == 1; }
  // Whether the network ports of all addresses have a carrier.
  bool connected() const;

 private:
  void renew();
  void announce();
  void announce(size_t times);
  void wake(std::shared_ptr<const std::vector<ConnectionEnds>> connections, size_t times);
  Result<void> set(bool present, const VserverAddress& address);
  Result<int> netlink();

  env::Env& env_;
  const std::vector<VserverAddress> addresses_;
  int netlink_ = -1;
  const int look_;  // a socket for questions about interfaces
  uint32_t sequence_ = 0;
  uint64_t taken_ = 0;  // odd: this blade has them. Timers of an earlier time end
};

}  // namespace perdure::server
