#include "server/systemd.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <cstring>

namespace perdure::server {
namespace {

// The value of an environment variable, which is gone afterwards; empty if it was not there.
std::string take(const char* name) {
  const char* value = std::getenv(name);
  std::string text = value == nullptr ? "" : value;
  unsetenv(name);
  return text;
}

std::optional<uint64_t> number(const std::string& text) {
  uint64_t value = 0;
  auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || problem != std::errc() || *end != '\0') return std::nullopt;
  return value;
}

bool listens(int fd) {
  int accepting = 0;
  socklen_t length = sizeof(accepting);
  return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &accepting, &length) == 0 && accepting != 0;
}

}  // namespace

Result<std::vector<int>> inherited_sockets() {
  auto pid = number(take("LISTEN_PID"));
  auto count = number(take("LISTEN_FDS"));
  take("LISTEN_FDNAMES");
  std::vector<int> sockets;
  if (!pid || !count || *pid != static_cast<uint64_t>(getpid())) return sockets;
  for (int fd = first_inherited_fd; sockets.size() < *count; ++fd) {
    if (!listens(fd))
      return error(ErrorKind::invalid, "inherited descriptor {} is not a listening socket", fd);
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    sockets.push_back(fd);
  }
  return sockets;
}

SystemdNotifier SystemdNotifier::from_environment() {
  SystemdNotifier notifier;
  notifier.socket_ = take("NOTIFY_SOCKET");
  auto pid = number(take("WATCHDOG_PID"));
  auto allowed = number(take("WATCHDOG_USEC"));
  if (allowed && (!pid || *pid == static_cast<uint64_t>(getpid())))
    notifier.watchdog_period_ = std::chrono::microseconds(*allowed / 2);
  return notifier;
}

void SystemdNotifier::notify(std::string_view message) const {
  sockaddr_un address = {};
  if (socket_.empty() || socket_.size() >= sizeof(address.sun_path)) return;
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, socket_.data(), socket_.size());
  if (address.sun_path[0] == '@') address.sun_path[0] = '\0';  // an abstract name
  int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return;
  auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + socket_.size());
  sendto(fd, message.data(), message.size(), MSG_NOSIGNAL | MSG_DONTWAIT,
         reinterpret_cast<sockaddr*>(&address), length);
  close(fd);
}

void SystemdNotifier::keep_alive(std::chrono::steady_clock::time_point now) {
  if (!watchdog_period_ || now - last_ < *watchdog_period_) return;
  last_ = now;
  notify("WATCHDOG=1");
}

}  // namespace perdure::server
