// Connections over real sockets on loopback: a FrontEnd on its own thread, blocking clients on the test's.
#include <arpa/inet.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <spdlog/spdlog.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <deque>
#include <random>
#include <thread>

#include "server/listener.h"
#include "server/socket_address.h"
#include "server/testing/server_thread.h"

namespace perdure::server {
namespace {

using namespace std::chrono_literals;

// Answers each request with its own bytes, at once, or when it is told to. A request "pages N" is answered
// with N bytes of file data.
class TestHandler final : public RequestHandler {
 public:
  explicit TestHandler(ServerThread& server) : server_(server) {}

  void handle(wire::Request&& request) override {
    ++handled;
    held_max = std::max(held_max, held.size() + 1);
    if (hold)
      held.push_back(std::move(request));
    else
      answer(request);
  }
  void closed(wire::ConnectionId connection) override { gone.push_back(connection); }

  void answer(const wire::Request& request) {
    wire::Reply reply;
    size_t n = 0;
    if (const auto text = text_of(request.message); text.starts_with("pages "))
      n = std::stoul(std::string(text.substr(6)));
    if (n > 0) {
      std::vector<PageRef> pages((n + block_bytes - 1) / block_bytes);
      for (size_t i = 0; i < pages.size(); ++i) {
        pages[i] = make_page();
        std::memset(pages[i].mutable_bytes().data(), static_cast<int>('a' + i % 26), block_bytes);
      }
      reply.append_pages(pages, 0, n);
    } else {
      reply.put_raw(request.message);
    }
    server_.front_end().send(request.connection, std::move(reply));
  }

  bool hold = false;
  std::deque<wire::Request> held;
  size_t handled = 0;
  size_t held_max = 0;
  std::vector<wire::ConnectionId> gone;

 private:
  ServerThread& server_;
};

struct ConnectionTest : ::testing::Test {
  void start(const FrontEndOptions& options = {}) {
    server.emplace([](ServerThread& s) { return std::make_unique<TestHandler>(s); }, options);
  }
  // Handler and front end are the loop's: only touched inside on_loop() and wait_until().
  TestHandler& handler() { return static_cast<TestHandler&>(server->handler()); }
  FrontEnd& front() { return server->front_end(); }
  Client connect() { return Client(server->address()); }

  std::optional<ServerThread> server;
};

std::string numbered(int i) {
  return fmt::format("request {:06}", i);
}

TEST_F(ConnectionTest, ThousandPipelinedRequests) {
  start();
  Client client = connect();
  for (int i = 0; i < 1000; ++i) ASSERT_TRUE(client.send_record(numbered(i)));
  for (int i = 0; i < 1000; ++i) ASSERT_EQ(client.receive_record(), numbered(i));
  server->on_loop([&] {
    EXPECT_EQ(front().figures().requests, 1000U);
    EXPECT_EQ(wire::chunk_bytes_in_use(), 0U) << "an idle connection holds no memory";
    EXPECT_EQ(pages_in_use(), 0U);
  });
}

TEST_F(ConnectionTest, RepliesInAnotherOrder) {
  start();
  server->on_loop([&] { handler().hold = true; });
  Client client = connect();
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(client.send_record(numbered(i)));
  ASSERT_TRUE(server->wait_until([&] { return handler().held.size() == 100; }));
  server->on_loop([&] {
    for (; !handler().held.empty(); handler().held.pop_back()) handler().answer(handler().held.back());
  });
  for (int i = 99; i >= 0; --i) ASSERT_EQ(client.receive_record(), numbered(i));
  EXPECT_TRUE(server->wait_until([&] { return wire::chunk_bytes_in_use() == 0; }));
}

TEST_F(ConnectionTest, RecordsOfAllSizesFromSeveralConnections) {
  start();
  std::vector<std::thread> threads;
  threads.reserve(3);
  for (unsigned t = 0; t < 3; ++t) {
    threads.emplace_back([&, t] {
      std::mt19937 random(t);
      Client client = connect();
      std::deque<std::string> expected;
      for (int i = 0; i < 150; ++i) {
        std::string text(1 + random() % (i % 10 == 0 ? 1'048'576 : 20'000), '\0');
        for (char& c : text) c = static_cast<char>(random());
        ASSERT_TRUE(client.send_record(text));
        expected.push_back(std::move(text));
        if (expected.size() < 4) continue;
        ASSERT_TRUE(client.receive_record() == expected.front());
        expected.pop_front();
      }
      for (; !expected.empty(); expected.pop_front())
        ASSERT_TRUE(client.receive_record() == expected.front());
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_TRUE(server->wait_until([&] { return wire::chunk_bytes_in_use() == 0 && pages_in_use() == 0; }));
}

TEST_F(ConnectionTest, ReplyOfMorePiecesThanOneSendmsgTakes) {
  start();
  Client client = connect();
  constexpr size_t size = 8'000'000;
  ASSERT_TRUE(client.send_record(fmt::format("pages {}", size)));
  const std::string reply = client.receive_record();
  ASSERT_EQ(reply.size(), size);
  for (size_t i = 0; i < size; ++i) ASSERT_EQ(reply[i], static_cast<char>('a' + (i / block_bytes) % 26));
}

TEST_F(ConnectionTest, StopsReadingAtTheLimitOfRequestsInFlight) {
  FrontEndOptions options;
  options.limits.requests_max = 8;
  start(options);
  server->on_loop([&] { handler().hold = true; });
  Client client = connect();
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(client.send_record(numbered(i)));
  ASSERT_TRUE(server->wait_until([&] { return handler().held.size() == 8; }));
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(server->wait_until([&] { return !handler().held.empty(); }));
    server->on_loop([&] {
      handler().answer(handler().held.front());
      handler().held.pop_front();
    });
    ASSERT_EQ(client.receive_record(), numbered(i));
  }
  server->on_loop([&] { EXPECT_EQ(handler().held_max, 8U); });
}

TEST_F(ConnectionTest, StopsReadingAtTheLimitOfReceiveMemory) {
  FrontEndOptions options;
  options.limits.chunk_bytes_max = 4 << 20;
  start(options);
  server->on_loop([&] { handler().hold = true; });
  Client client = connect();
  std::thread writer([&] {
    for (int i = 0; i < 40; ++i)
      ASSERT_TRUE(client.send_record(std::string(1 << 20, static_cast<char>('a' + i % 26))));
  });
  for (int i = 0; i < 40; ++i) {
    ASSERT_TRUE(server->wait_until([&] { return !handler().held.empty(); }));
    server->on_loop([&] {
      EXPECT_LE(wire::chunk_bytes_in_use(), 6U << 20);
      handler().answer(handler().held.front());
      handler().held.pop_front();
    });
    ASSERT_EQ(client.receive_record()[1000], static_cast<char>('a' + i % 26));
  }
  writer.join();
}

TEST_F(ConnectionTest, ShortOfMemoryAllWaitUntilThereIsSome) {
  FrontEndOptions options;
  options.receive_bytes_max = 128 << 10;
  start(options);
  server->on_loop([&] { handler().hold = true; });
  std::vector<Client> clients;
  for (int i = 0; i < 10; ++i) {
    clients.push_back(connect());
    ASSERT_TRUE(clients.back().send_record(numbered(i)));
  }
  ASSERT_TRUE(server->wait_until([&] { return front().connections() == 10; }));
  ASSERT_TRUE(server->wait_until([&] { return handler().held.size() == 2; }));
  for (int turn = 0; turn < 50; ++turn) server->on_loop([] {});
  server->on_loop([&] {
    EXPECT_EQ(handler().held.size(), 2U);
    for (const wire::Request& request : handler().held) handler().answer(request);
    handler().held.clear();
    handler().hold = false;
  });
  for (int i = 0; i < 10; ++i) EXPECT_EQ(clients[static_cast<size_t>(i)].receive_record(), numbered(i));
}

TEST_F(ConnectionTest, SlowReaderIsNotReadFrom) {
  FrontEndOptions options;
  options.limits.unsent_bytes_max = 256 << 10;
  start(options);
  Client client(server->address(), 16 << 10);
  constexpr int count = 200;
  constexpr size_t size = 100'000;
  std::thread writer([&] {
    for (int i = 0; i < count; ++i) ASSERT_TRUE(client.send_record(fmt::format("pages {}", size)));
  });
  writer.join();
  // The replies are much more than the sockets take: the rest stays unrequested.
  ASSERT_TRUE(server->wait_until([&] { return handler().handled >= 3; }));
  for (int i = 0; i < count; ++i) {
    server->on_loop([&] { EXPECT_LE(pages_in_use(), ((256 << 10) / size + 2) * (size / block_bytes + 2)); });
    const std::string reply = client.receive_record();
    ASSERT_EQ(reply.size(), size);
    ASSERT_EQ(reply[0], 'a');
    ASSERT_EQ(reply[size_t{3} * block_bytes], 'd');
    ASSERT_EQ(reply[size - 1], static_cast<char>('a' + (size / block_bytes) % 26));
  }
}

TEST_F(ConnectionTest, ReaderThatNeverReadsIsClosed) {
  FrontEndOptions options;
  options.limits.slow_reader_max = 200ms;
  start(options);
  Client never(server->address(), 16 << 10);
  Client other = connect();
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(never.send_record("pages 100000"));
  ASSERT_TRUE(server->wait_until([&] { return handler().gone.size() == 1; }));
  EXPECT_TRUE(server->wait_until([&] { return pages_in_use() == 0; }));
  server->on_loop([&] { EXPECT_EQ(front().figures().overdue, 1U); });
  ASSERT_TRUE(other.send_record("still here"));
  EXPECT_EQ(other.receive_record(), "still here");
}

TEST_F(ConnectionTest, HalfRecordIsClosedAfterItsTime) {
  FrontEndOptions options;
  options.limits.half_record_max = 200ms;
  start(options);
  Client idle = connect();
  Client half = connect();
  Client trickle = connect();
  ASSERT_TRUE(
      half.write(bytes_of(std::string_view("\x80\0\0\x08"
                                           "half",
                                           8))));
  ASSERT_TRUE(half.write(bytes_of("more")));
  ASSERT_EQ(half.receive_record(), "halfmore");
  ASSERT_TRUE(half.write(bytes_of(std::string_view("\x80\0", 2))));
  // A byte now and then does not help.
  ASSERT_TRUE(trickle.write(bytes_of(std::string_view("\x80\0\x10\0", 4))));
  const auto start_time = std::chrono::steady_clock::now();
  while (trickle.write(bytes_of("x"))) std::this_thread::sleep_for(1ms);
  EXPECT_LT(std::chrono::steady_clock::now() - start_time, 4s) << "4096 bytes were never sent";
  EXPECT_TRUE(half.closed());
  ASSERT_TRUE(idle.send_record("idle for longer"));
  EXPECT_EQ(idle.receive_record(), "idle for longer");
  server->on_loop([&] {
    EXPECT_EQ(front().figures().overdue, 2U);
    EXPECT_EQ(front().connections(), 1U);
    EXPECT_EQ(wire::chunk_bytes_in_use(), 0U);
  });
}

TEST_F(ConnectionTest, OversizedRecordIsClosed) {
  FrontEndOptions options;
  options.limits.records.record_bytes_max = 1000;
  start(options);
  Client fits = connect();
  ASSERT_TRUE(fits.send_record(std::string(1000, 'x')));
  EXPECT_EQ(fits.receive_record().size(), 1000U);
  Client too_long = connect();
  ASSERT_TRUE(too_long.write(bytes_of(std::string_view("\x80\0\x03\xe9", 4))));
  EXPECT_TRUE(too_long.closed());
  Client empty = connect();
  ASSERT_TRUE(empty.write(bytes_of(std::string_view("\x80\0\0\0", 4))));
  EXPECT_TRUE(empty.closed());
  EXPECT_TRUE(server->wait_until([&] { return handler().gone.size() == 2 && front().connections() == 1; }));
}

TEST_F(ConnectionTest, TwoHundredConnections) {
  start();
  std::vector<Client> clients;
  clients.reserve(200);
  for (int i = 0; i < 200; ++i) clients.push_back(connect());
  for (int round = 0; round < 5; ++round) {
    for (int i = 0; i < 200; ++i)
      ASSERT_TRUE(clients[static_cast<size_t>(i)].send_record(numbered(i + round)));
    for (int i = 0; i < 200; ++i)
      ASSERT_EQ(clients[static_cast<size_t>(i)].receive_record(), numbered(i + round));
  }
  server->on_loop([&] { EXPECT_EQ(front().connections(), 200U); });
  clients.clear();
  ASSERT_TRUE(server->wait_until([&] { return handler().gone.size() == 200; }));
  server->on_loop([&] { EXPECT_EQ(front().connections(), 0U); });
}

TEST_F(ConnectionTest, GarbageClosesAndLeavesNothing) {
  start();
  std::mt19937 random(1);
  for (int i = 0; i < 50; ++i) {
    Client client = connect();
    std::string garbage(200'000, '\0');
    for (char& c : garbage) c = static_cast<char>(random());
    // Some begin well.
    if (i % 2 == 0) {
      ASSERT_TRUE(client.send_record("good"));
    }
    garbage[0] = static_cast<char>(garbage[0] | 0x40);  // the first mark is too long
    (void)client.write(bytes_of(garbage));
    EXPECT_TRUE(client.closed());
  }
  ASSERT_TRUE(server->wait_until([&] { return handler().gone.size() == 50; }));
  server->on_loop([&] {
    EXPECT_EQ(front().connections(), 0U);
    EXPECT_EQ(wire::chunk_bytes_in_use(), 0U);
    EXPECT_EQ(pages_in_use(), 0U);
  });
}

TEST_F(ConnectionTest, FullTheLongestIdleMakesRoom) {
  FrontEndOptions options;
  options.connections_max = 3;
  start(options);
  server->on_loop([&] { handler().hold = true; });
  Client busy = connect();
  ASSERT_TRUE(busy.send_record("busy"));
  ASSERT_TRUE(server->wait_until([&] { return handler().held.size() == 1; }));
  server->on_loop([&] { handler().hold = false; });
  Client idle = connect();
  ASSERT_TRUE(idle.send_record("1"));
  EXPECT_EQ(idle.receive_record(), "1");
  Client active = connect();
  ASSERT_TRUE(active.send_record("2"));
  EXPECT_EQ(active.receive_record(), "2");
  Client fresh = connect();
  ASSERT_TRUE(fresh.send_record("3"));
  EXPECT_EQ(fresh.receive_record(), "3");
  EXPECT_TRUE(idle.closed());
  server->on_loop([&] {
    handler().answer(handler().held.front());
    handler().held.clear();
    EXPECT_EQ(front().figures().displaced, 1U);
    EXPECT_EQ(front().connections(), 3U);
  });
  EXPECT_EQ(busy.receive_record(), "busy");
}

TEST_F(ConnectionTest, FullOfBusyConnectionsRefuses) {
  FrontEndOptions options;
  options.connections_max = 1;
  start(options);
  server->on_loop([&] { handler().hold = true; });
  Client busy = connect();
  ASSERT_TRUE(busy.send_record("busy"));
  ASSERT_TRUE(server->wait_until([&] { return handler().held.size() == 1; }));
  Client refused = connect();
  EXPECT_TRUE(refused.closed());
  server->on_loop([&] { EXPECT_EQ(front().figures().refused, 1U); });
}

TEST_F(ConnectionTest, RequestsOutliveTheirConnection) {
  start();
  server->on_loop([&] { handler().hold = true; });
  {
    Client client = connect();
    ASSERT_TRUE(client.send_record("outlives"));
    ASSERT_TRUE(server->wait_until([&] { return handler().held.size() == 1; }));
  }
  ASSERT_TRUE(server->wait_until([&] { return handler().gone.size() == 1; }));
  server->on_loop([&] {
    const wire::Request& request = handler().held.front();
    EXPECT_EQ(handler().gone[0], request.connection);
    EXPECT_EQ(text_of(request.message), "outlives");
    handler().answer(request);  // dropped
    front().close(request.connection);
    handler().held.clear();
    EXPECT_EQ(wire::chunk_bytes_in_use(), 0U);
  });
}

TEST_F(ConnectionTest, ServerEndsWithRequestsInFlight) {
  start();
  server->on_loop([&] { handler().hold = true; });
  Client client = connect();
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(client.send_record(numbered(i)));
  ASSERT_TRUE(server->wait_until([&] { return handler().held.size() == 10; }));
  server.reset();
  EXPECT_TRUE(client.closed());
}

TEST_F(ConnectionTest, ServerClosesOne) {
  start();
  Client client = connect();
  Client other = connect();
  ASSERT_TRUE(client.send_record("which"));
  EXPECT_EQ(client.receive_record(), "which");
  wire::Address peer;
  server->on_loop([&] {
    front().for_each([&](wire::ConnectionId id, const Connection::Ends& ends) {
      if (id != wire::ConnectionId(1)) return;
      EXPECT_EQ(ends.local, server->address());
      peer = ends.peer;
    });
    front().close(wire::ConnectionId(1));
    EXPECT_TRUE(handler().gone.empty()) << "not told inline";
  });
  sockaddr_in own{};
  socklen_t length = sizeof own;
  ASSERT_EQ(::getsockname(client.descriptor(), reinterpret_cast<sockaddr*>(&own), &length), 0);
  EXPECT_EQ(peer.port, ntohs(own.sin_port));
  EXPECT_TRUE(client.closed());
  ASSERT_TRUE(other.send_record("other"));
  EXPECT_EQ(other.receive_record(), "other");
  EXPECT_TRUE(server->wait_until([&] { return handler().gone == std::vector{wire::ConnectionId(1)}; }));
}

TEST_F(ConnectionTest, OutOfDescriptorsTheLongestIdleMakesRoom) {
  start();
  Client first = connect();
  ASSERT_TRUE(first.send_record("first"));
  EXPECT_EQ(first.receive_record(), "first");
  Client second = connect();  // accepted or in the backlog: its descriptors are taken below
  ASSERT_TRUE(second.send_record("second"));
  EXPECT_EQ(second.receive_record(), "second");

  // The listener will log, and to check the logger's type for the first time the sanitizer needs descriptors.
  const auto level = spdlog::get_level();
  spdlog::set_level(spdlog::level::off);
  spdlog::warn("not shown: {}", "off");

  const int pending = ::socket(AF_INET, SOCK_STREAM, 0);
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  // The lowest free descriptor is the limit: no other can be made.
  const int lowest_free = ::dup(0);
  ::close(lowest_free);
  const rlimit none{static_cast<rlim_t>(lowest_free), before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(server->address().port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT_EQ(::connect(pending, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  EXPECT_TRUE(server->wait_until([&] { return front().figures().accepted == 3; }));
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  spdlog::set_level(level);
  EXPECT_TRUE(first.closed());
  ASSERT_TRUE(second.send_record("again"));
  EXPECT_EQ(second.receive_record(), "again");
  ::close(pending);
}

TEST_F(ConnectionTest, ListensOnIpv6AndOnAdoptedSockets) {
  start();
  server->on_loop([&] {
    wire::Address v6;
    v6.is_v6 = true;
    v6.ip[15] = 1;
    if (auto result = server->listener().listen(v6); result) {
      EXPECT_TRUE(server->listener().addresses()[1].is_v6);
      EXPECT_EQ(to_string(server->listener().addresses()[1]).substr(0, 6), "[::1]:");
    }
    wire::Address v4;
    v4.ip = {127, 0, 0, 1};
    Result<int> fd = open_listening_socket(v4);
    ASSERT_TRUE(fd);
    ASSERT_TRUE(server->listener().adopt(*fd));
    EXPECT_EQ(open_listening_socket(server->address()).error().kind, ErrorKind::busy);
    const int not_listening = ::socket(AF_INET, SOCK_STREAM, 0);
    EXPECT_EQ(server->listener().adopt(not_listening).error().kind, ErrorKind::invalid);
    EXPECT_EQ(server->listener().adopt(1 << 20).error().kind, ErrorKind::invalid);
  });
  wire::Address adopted;
  server->on_loop([&] { adopted = server->listener().addresses().back(); });
  Client client(adopted);
  ASSERT_TRUE(client.send_record("hello"));
  EXPECT_EQ(client.receive_record(), "hello");
}

// To where a client takes callbacks.
TEST_F(ConnectionTest, MakesOnesOfItsOwn) {
  start();
  wire::Address loopback;
  loopback.ip = {127, 0, 0, 1};
  const Result<int> listening = open_listening_socket(loopback);
  ASSERT_TRUE(listening);
  const wire::Address there = local_address(*listening);
  wire::ConnectionId made, none;
  const auto send = [&](wire::ConnectionId connection, const std::string& text) {
    wire::Reply call;
    call.put_raw(bytes_of(text));
    front().send(connection, std::move(call));
  };
  server->on_loop([&] {
    made = front().connect(there);
    send(made, "hello");  // before it is there
    EXPECT_EQ(front().connections(), 1U);
  });
  ASSERT_NE(made, wire::ConnectionId(0));
  Client client = Client::accepted(*listening);
  EXPECT_EQ(client.receive_record(), "hello");
  ASSERT_TRUE(client.send_record("back"));
  EXPECT_TRUE(server->wait_until([&] { return handler().handled == 1; }));
  EXPECT_EQ(client.receive_record(), "back");
  server->on_loop([&] { front().close(made); });
  EXPECT_TRUE(client.closed());
  ::close(*listening);
  // Where nobody listens.
  server->on_loop([&] {
    none = front().connect(there);
    send(none, "hello");
  });
  EXPECT_TRUE(server->wait_until([&] { return handler().gone.size() == 2 && front().connections() == 0; }));
  server->on_loop([&] {
    EXPECT_EQ(handler().gone, (std::vector{made, none}));
    EXPECT_EQ(front().figures().made, 2U);
  });
}

// A client that has come to one of several addresses of this machine is called back from that one.
TEST_F(ConnectionTest, AConnectionToAClientHasTheAddressThatItKnows) {
  start();
  const auto listening = [](const char* ip) {
    return open_listening_socket(parse_address(ip, 0).value(), false).value();
  };
  const auto close_all = [](std::initializer_list<int> descriptors) {
    for (const int descriptor : descriptors) ::close(descriptor);
  };
  const int server_socket = listening("127.0.0.7"), client_socket = listening("127.0.0.2");
  const int client = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_storage address;
  socklen_t length = to_kernel(parse_address("127.0.0.2", 0).value(), address);
  ASSERT_EQ(::bind(client, reinterpret_cast<const sockaddr*>(&address), length), 0);
  length = to_kernel(local_address(server_socket), address);
  ASSERT_EQ(::connect(client, reinterpret_cast<const sockaddr*>(&address), length), 0);
  pollfd ready{.fd = server_socket, .events = POLLIN, .revents = 0};
  ASSERT_EQ(::poll(&ready, 1, 10'000), 1);
  const int accepted = ::accept4(server_socket, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
  ASSERT_GE(accepted, 0);
  server->on_loop([&] {
    front().adopt(accepted);
    EXPECT_NE(front().connect(local_address(client_socket)), wire::ConnectionId());
  });
  ready.fd = client_socket;
  ASSERT_EQ(::poll(&ready, 1, 10'000), 1);
  const int called = ::accept4(client_socket, nullptr, nullptr, SOCK_CLOEXEC);
  ASSERT_GE(called, 0);
  wire::Address known = local_address(server_socket), caller = peer_address(called);
  EXPECT_EQ(caller.ip, known.ip) << to_string(caller);
  close_all({client, server_socket, client_socket, called});
}

}  // namespace
}  // namespace perdure::server
