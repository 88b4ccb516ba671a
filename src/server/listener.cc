#include "server/listener.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <spdlog/spdlog.h>
#include <sys/socket.h>
#include <unistd.h>

#include <asio/io_context.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <cerrno>
#include <cstring>

#include "server/socket_address.h"

namespace perdure::server {
namespace {

// While a server process restarts, all clients of the vserver may wait here. (The system's somaxconn limits
// it.)
constexpr int backlog = 65'535;
// So that a flood of connections does not keep the turn from ending.
constexpr int accepts_per_turn_max = 64;
constexpr env::Duration pause_time = std::chrono::milliseconds(100);

Error system_error(const char* call, const wire::Address& address) {
  const ErrorKind kind = errno == EADDRINUSE ? ErrorKind::busy : ErrorKind::io;
  return error(kind, "cannot listen on {}: {}: {}", to_string(address), call, std::strerror(errno));
}

int get_option(int descriptor, int option) {
  int value = -1;
  socklen_t length = sizeof value;
  return ::getsockopt(descriptor, SOL_SOCKET, option, &value, &length) == 0 ? value : -1;
}

bool out_of_resources(int error_number) {
  return error_number == EMFILE || error_number == ENFILE || error_number == ENOBUFS ||
         error_number == ENOMEM;
}

// accept4() takes a descriptor before it looks for a connection, and so fails even if there is none.
bool somebody_waits(int listening) {
  pollfd poll{listening, POLLIN, 0};
  return ::poll(&poll, 1, 0) > 0;
}

}  // namespace

Result<int> open_listening_socket(const wire::Address& address, bool free) {
  sockaddr_storage kernel_address;
  const socklen_t length = to_kernel(address, kernel_address);
  const int fd = ::socket(kernel_address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return system_error("socket", address);
  const int on = 1;
  const char* failed = nullptr;
  if (::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0)
    failed = "SO_REUSEADDR";
  else if (address.is_v6 && ::setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) != 0)
    failed = "IPV6_V6ONLY";
  else if (free && ::setsockopt(fd, IPPROTO_IP, IP_FREEBIND, &on, sizeof on) != 0)
    failed = "IP_FREEBIND";
  else if (::bind(fd, reinterpret_cast<const sockaddr*>(&kernel_address), length) != 0)
    failed = "bind";
  else if (::listen(fd, backlog) != 0)
    failed = "listen";
  if (failed == nullptr) return fd;
  Error failure = system_error(failed, address);
  ::close(fd);
  return failure;
}

std::vector<ConnectionEnds> turn_away(std::span<const int> listening) {
  std::vector<ConnectionEnds> ends;
  for (const int socket : listening)
    while (somebody_waits(socket)) {
      const int fd = ::accept4(socket, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (fd < 0 && (errno == EAGAIN || out_of_resources(errno))) break;
      if (fd < 0) continue;
      ends.push_back({peer_address(fd), local_address(fd)});
      ::close(fd);
    }
  return ends;
}

struct Listener::Socket {
  explicit Socket(asio::io_context& context) : descriptor(context) {}
  asio::posix::stream_descriptor descriptor;
  env::TimerId timer{};  // while paused
  bool paused = false;
  bool stopped = false;  // the Listener is gone
};

Listener::Listener(env::Env& env, asio::io_context& context, FrontEnd& front_end)
    : env_(env), context_(context), front_end_(front_end) {}

Listener::~Listener() {
  for (const auto& socket : sockets_) {
    socket->stopped = true;
    if (socket->paused) env_.cancel(socket->timer);
    asio::error_code ignored;
    socket->descriptor.close(ignored);
  }
}

Result<void> Listener::listen(const wire::Address& address) {
  return adopt(TRY(open_listening_socket(address)));
}

Result<void> Listener::adopt(int descriptor) {
  const int flags = ::fcntl(descriptor, F_GETFL);
  if (get_option(descriptor, SO_TYPE) != SOCK_STREAM || get_option(descriptor, SO_ACCEPTCONN) != 1 ||
      flags < 0) {
    ::close(descriptor);
    return error(ErrorKind::invalid, "descriptor {} is not a listening stream socket", descriptor);
  }
  (void)::fcntl(descriptor, F_SETFL, flags | O_NONBLOCK);
  (void)::fcntl(descriptor, F_SETFD, FD_CLOEXEC);
  const auto socket = std::make_shared<Socket>(context_);
  asio::error_code failure;
  socket->descriptor.assign(descriptor, failure);
  if (failure) {
    ::close(descriptor);
    return error(ErrorKind::io, "cannot wait for connections: {}", failure.message());
  }
  sockets_.push_back(socket);
  wait(socket);
  return {};
}

std::vector<ConnectionEnds> Listener::turn_away() {
  std::vector<int> listening;
  for (const auto& socket : sockets_) listening.push_back(socket->descriptor.native_handle());
  return server::turn_away(listening);
}

std::vector<wire::Address> Listener::addresses() const {
  std::vector<wire::Address> result;
  result.reserve(sockets_.size());
  for (const auto& socket : sockets_) result.push_back(local_address(socket->descriptor.native_handle()));
  return result;
}

void Listener::wait(const std::shared_ptr<Socket>& socket) {
  socket->descriptor.async_wait(asio::posix::descriptor_base::wait_read,
                                [this, socket](const asio::error_code&) {
                                  if (!socket->stopped) accept_ready(socket);
                                });
}

void Listener::accept_ready(const std::shared_ptr<Socket>& socket) {
  const int listening = socket->descriptor.native_handle();
  for (int n = 0; n < accepts_per_turn_max; ++n) {
    const int fd = ::accept4(listening, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
      front_end_.adopt(fd);
      continue;
    }
    if (errno == EAGAIN || errno == EWOULDBLOCK) break;
    const int failure = errno;
    if (out_of_resources(failure)) {
      if (!somebody_waits(listening)) break;
      spdlog::warn("cannot accept a connection: {}", std::strerror(failure));
      (void)front_end_.close_longest_idle();
      return pause(socket);
    }
    // Else the connection was gone before it was accepted (accept(2) hands on the errors of the new socket):
    // the next.
  }
  wait(socket);
}

void Listener::pause(const std::shared_ptr<Socket>& socket) {
  socket->paused = true;
  socket->timer = env_.after(pause_time, [this, socket] {
    socket->paused = false;
    wait(socket);
  });
}

}  // namespace perdure::server
