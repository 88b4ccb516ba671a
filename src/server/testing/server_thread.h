// For tests and benchmarks: a FrontEnd with its Listener on 127.0.0.1, on a loop of its own thread, and a
// blocking client.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "env/linux/linux_env.h"
#include "server/listener.h"

namespace perdure::server {

class ServerThread {
 public:
  // `make_handler` runs on the loop.
  using MakeHandler = std::function<std::unique_ptr<RequestHandler>(ServerThread&)>;
  explicit ServerThread(MakeHandler make_handler, const FrontEndOptions& options = {});
  ~ServerThread();

  // Runs `task` on the loop and waits for its end.
  void on_loop(const std::function<void()>& task);
  // Runs `condition` on the loop every millisecond until it is true, for 20 seconds at most.
  bool wait_until(const std::function<bool()>& condition);

  FrontEnd& front_end() { return *front_end_; }
  Listener& listener() { return *listener_; }
  RequestHandler& handler() { return *handler_; }
  env::Env& env() { return *env_; }
  const wire::Address& address() const { return address_; }
  // CPU time that the loop's thread has used.
  env::Duration cpu_time();

 private:
  std::unique_ptr<env::LinuxEnv> env_;
  std::unique_ptr<RequestHandler> handler_;
  std::unique_ptr<FrontEnd> front_end_;
  std::unique_ptr<Listener> listener_;
  wire::Address address_;
  std::thread thread_;
};

// A blocking TCP client; whatever does not come within 20 seconds does not come.
class Client {
 public:
  explicit Client(const wire::Address& server, int receive_buffer = 0);
  // The other end of the next connection that is made to this socket.
  static Client accepted(int listening);
  Client(Client&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Client& operator=(Client&&) = delete;
  ~Client();

  // False if the server has closed.
  bool write(Bytes bytes);
  bool read(MutableBytes bytes);
  // A record with its mark.
  bool send_record(std::string_view message);
  // The next record, joined; empty if the server has closed.
  std::string receive_record();
  // Waits until the server has closed. What comes before that is dropped.
  bool closed();
  int descriptor() const { return fd_; }

 private:
  explicit Client(int fd);
  int fd_;
};

}  // namespace perdure::server
