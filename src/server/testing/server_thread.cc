#include "server/testing/server_thread.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <future>

#include "server/socket_address.h"

namespace perdure::server {
namespace {

wire::Address loopback() {
  wire::Address address;
  address.ip = {127, 0, 0, 1};
  return address;
}

}  // namespace

ServerThread::ServerThread(MakeHandler make_handler, const FrontEndOptions& options) {
  std::promise<void> ready;
  thread_ = std::thread([&] {
    auto env = env::LinuxEnv::create();
    CHECK(env);
    env_ = *std::move(env);
    handler_ = make_handler(*this);
    front_end_ = std::make_unique<FrontEnd>(*env_, env_->context(), *handler_, options);
    listener_ = std::make_unique<Listener>(*env_, env_->context(), *front_end_);
    CHECK(listener_->listen(loopback()));
    address_ = listener_->addresses()[0];
    env_->post([&] { ready.set_value(); });
    env_->run();
    listener_.reset();
    front_end_.reset();
    handler_.reset();
    env_.reset();
  });
  ready.get_future().wait();
}

ServerThread::~ServerThread() {
  env_->stop();
  thread_.join();
}

void ServerThread::on_loop(const std::function<void()>& task) {
  std::promise<void> done;
  env_->post([&] {
    task();
    done.set_value();
  });
  done.get_future().wait();
}

bool ServerThread::wait_until(const std::function<bool()>& condition) {
  std::promise<bool> result;
  env::Instant deadline;
  std::function<void()> look = [&] {
    if (condition()) return result.set_value(true);
    if (env_->now() > deadline) return result.set_value(false);
    env_->after(std::chrono::milliseconds(1), [&] { look(); });
  };
  env_->post([&] {
    deadline = env_->now() + std::chrono::seconds(20);
    look();
  });
  return result.get_future().get();
}

env::Duration ServerThread::cpu_time() {
  env::Duration result{};
  on_loop([&] {
    timespec t{};
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    result = std::chrono::seconds(t.tv_sec) + std::chrono::nanoseconds(t.tv_nsec);
  });
  return result;
}

Client::Client(int fd) : fd_(fd) {
  CHECK(fd_ >= 0);
  const timeval patience{20, 0};
  CHECK(::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) == 0);
  const int on = 1;
  CHECK(::setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) == 0);
}

Client Client::accepted(int listening) {
  pollfd connection{listening, POLLIN, 0};
  CHECK(::poll(&connection, 1, 20'000) == 1);
  return Client(::accept4(listening, nullptr, nullptr, SOCK_CLOEXEC));
}

Client::Client(const wire::Address& server, int receive_buffer)
    : Client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  if (receive_buffer > 0)
    CHECK(::setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer) == 0);
  sockaddr_storage address;
  const socklen_t length = to_kernel(server, address);
  CHECK(::connect(fd_, reinterpret_cast<const sockaddr*>(&address), length) == 0);
}

Client::~Client() {
  if (fd_ >= 0) ::close(fd_);
}

bool Client::write(Bytes bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n <= 0) return false;
    bytes = bytes.subspan(static_cast<size_t>(n));
  }
  return true;
}

bool Client::read(MutableBytes bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::recv(fd_, bytes.data(), bytes.size(), 0);
    if (n <= 0) return false;
    bytes = bytes.subspan(static_cast<size_t>(n));
  }
  return true;
}

bool Client::send_record(std::string_view message) {
  ByteVector bytes(4);
  wire::store_u32(bytes.data(), static_cast<uint32_t>(message.size()) | 1U << 31);
  const Bytes content = bytes_of(message);
  bytes.insert(bytes.end(), content.begin(), content.end());
  return write(bytes);
}

std::string Client::receive_record() {
  std::string record;
  for (uint32_t mark = 0; (mark >> 31) == 0;) {
    std::byte bytes[4];
    if (!read(bytes)) return {};
    mark = wire::load_u32(bytes);
    const size_t before = record.size();
    record.resize(before + (mark & ~(1U << 31)));
    if (!read(std::as_writable_bytes(std::span(record)).subspan(before))) return {};
  }
  return record;
}

bool Client::closed() {
  std::byte bytes[4096];
  ssize_t n;
  while ((n = ::recv(fd_, bytes, sizeof bytes, 0)) > 0) {
  }
  return n == 0 || errno == ECONNRESET;
}

}  // namespace perdure::server
