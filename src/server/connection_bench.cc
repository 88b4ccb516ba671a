// What the front end costs: calls over loopback whose handler parses the RPC header and answers at once.
// `server_us` is the CPU time that the loop's thread spends for one call, system calls and the kernel's TCP
// included.
#include <benchmark/benchmark.h>
#include <poll.h>
#include <sys/socket.h>

#include <deque>

#include "server/rpc_front.h"
#include "server/testing/server_thread.h"

namespace perdure::server {
namespace {

constexpr uint32_t program = 100003;
enum Procedure : uint32_t { small = 1, write = 2, read = 3 };
constexpr size_t big_bytes = 1 << 20;
constexpr size_t small_reply_bytes = 100;

// Procedure small: 100 bytes. write: the call carries 1 MiB, copied once into pages, as a server would. read:
// 1 MiB of pages in the reply.
class Program final : public wire::RpcProgram {
 public:
  explicit Program(ServerThread& server) : server_(server) {
    for (PageRef& page : pages_) {
      page = make_page();
      std::memset(page.mutable_bytes().data(), 'x', block_bytes);
    }
  }
  void call(wire::RpcCall&& call) override {
    wire::Reply reply;
    wire::begin_reply(reply, call.xid);
    if (call.procedure == write) keep(call.arguments);
    if (call.procedure == read) {
      reply.put_u32(big_bytes);
      reply.append_pages(pages_, 0, big_bytes);
    } else {
      static constexpr std::byte body[small_reply_bytes - wire::reply_header_bytes] = {};
      reply.put_raw(body);
    }
    server_.front_end().send(call.connection, std::move(reply));
  }
  void closed(wire::ConnectionId) override {}

 private:
  void keep(Bytes data) {
    for (PageRef& page : written_) {
      page = make_page();
      std::memcpy(page.mutable_bytes().data(), data.data(), block_bytes);
      data = data.subspan(block_bytes);
    }
  }

  ServerThread& server_;
  std::array<PageRef, big_bytes / block_bytes> pages_;
  std::array<PageRef, big_bytes / block_bytes> written_;
};

class Handler final : public RequestHandler {
 public:
  explicit Handler(ServerThread& server) : program_(server) {
    front_.add_program(program, 4, 4, 4, program_);
  }
  void attach(wire::Transport& transport) { front_.attach(transport); }
  void handle(wire::Request&& request) override { front_.handle(std::move(request)); }
  void closed(wire::ConnectionId connection) override { front_.closed(connection); }

 private:
  Program program_;
  RpcFront front_;
};

// Keeps `outstanding` calls under way on each of several connections.
class Load {
 public:
  Load(const wire::Address& address, size_t connections, size_t outstanding, Procedure procedure)
      : outstanding_(outstanding), buffer_(4 << 20) {
    wire::XdrEncoder call;
    wire::begin_call(call, 1, program, 4, procedure, {wire::AuthFlavor::AUTH_SYS, 1000, 1000, {1, 2, 3}},
                     "client.example");
    call.put_raw(ByteVector(procedure == write ? big_bytes : 100));
    call.put_record_mark();
    call_ = call.flatten();
    call_bytes_ = call_.size();
    reply_bytes_ = procedure == read ? 4 + wire::reply_header_bytes + 4 + big_bytes : 4 + small_reply_bytes;
    for (size_t i = 0; i < connections; ++i) connections_.emplace_back(Client(address));
  }

  // Exchanges `count` calls or a few more.
  size_t run(size_t count) {
    size_t done = 0;
    size_t started = 0;
    for (Connection& c : connections_) {
      c.owed = outstanding_ * call_bytes_;
      started += outstanding_;
    }
    while (done < started) {
      std::vector<pollfd> ready;
      ready.reserve(connections_.size());
      for (const Connection& c : connections_)
        ready.push_back({c.client.descriptor(), static_cast<short>(POLLIN | (c.owed > 0 ? POLLOUT : 0)), 0});
      CHECK(::poll(ready.data(), ready.size(), 20'000) > 0);
      for (size_t i = 0; i < ready.size(); ++i) {
        if ((ready[i].revents & POLLIN) != 0) {
          const size_t n = receive(connections_[i]);
          done += n;
          const size_t more = started < count ? n : 0;
          started += more;
          connections_[i].owed += more * call_bytes_;
        }
        write_owed(connections_[i]);
      }
    }
    return done;
  }

 private:
  struct Connection {
    explicit Connection(Client c) : client(std::move(c)) {}
    Client client;
    size_t owed = 0;     // bytes to send
    size_t partial = 0;  // bytes of a reply that is not complete
  };

  size_t receive(Connection& c) {
    const ssize_t n = ::recv(c.client.descriptor(), buffer_.data(), buffer_.size(), MSG_DONTWAIT);
    CHECK(n > 0);
    const size_t bytes = c.partial + static_cast<size_t>(n);
    c.partial = bytes % reply_bytes_;
    return bytes / reply_bytes_;
  }
  // Each call with a system call of its own, as the Linux client sends them.
  void write_owed(Connection& c) {
    while (c.owed > 0 && write_call(c)) {
    }
  }
  bool write_call(Connection& c) {
    // What is owed ends at the end of a call, so it begins in the middle of one at `offset`.
    const size_t offset = (call_bytes_ - c.owed % call_bytes_) % call_bytes_;
    const size_t n_max = call_bytes_ - offset;
    const ssize_t n =
        ::send(c.client.descriptor(), call_.data() + offset, n_max, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n > 0) c.owed -= static_cast<size_t>(n);
    return n == static_cast<ssize_t>(n_max);
  }

  const size_t outstanding_;
  ByteVector call_;
  ByteVector buffer_;
  size_t call_bytes_ = 0;
  size_t reply_bytes_ = 0;
  std::vector<Connection> connections_;
};

void calls(benchmark::State& state, Procedure procedure) {
  ServerThread server([](ServerThread& s) { return std::make_unique<Handler>(s); });
  server.on_loop([&] { static_cast<Handler&>(server.handler()).attach(server.front_end()); });
  Load load(server.address(), static_cast<size_t>(state.range(0)), static_cast<size_t>(state.range(1)),
            procedure);
  const size_t per_iteration = procedure == small ? 20'000 : 200;
  load.run(per_iteration / 10);
  size_t done = 0;
  const env::Duration before = server.cpu_time();
  for (auto _ : state) done += load.run(per_iteration);
  const auto used = std::chrono::duration<double, std::micro>(server.cpu_time() - before);
  state.SetItemsProcessed(static_cast<int64_t>(done));
  state.counters["server_us"] = used.count() / static_cast<double>(done);
}

BENCHMARK_CAPTURE(calls, small, small)
    ->Args({1, 1})
    ->Args({1, 16})
    ->Args({4, 16})
    ->Args({64, 4})
    ->UseRealTime();
BENCHMARK_CAPTURE(calls, write_1m, write)->Args({1, 1})->Args({4, 16})->UseRealTime();
BENCHMARK_CAPTURE(calls, read_1m, read)->Args({1, 1})->Args({4, 16})->UseRealTime();

}  // namespace
}  // namespace perdure::server
