// What lies between two blades in the field: certificates, channels over TLS, addresses, and what the arbiter
// keeps.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <filesystem>
#include <thread>

#include "env/linux/linux_env.h"
#include "mirror/bundle.h"
#include "server/data_directory.h"
#include "server/pair/certificates.h"
#include "server/pair/etcd.h"
#include "server/pair/peer_channel.h"
#include "server/pair/tls.h"
#include "server/pair/vserver_address.h"
#include "server/socket_address.h"

namespace perdure::server {
namespace {

using ::testing::HasSubstr;

struct Directory {
  Directory() {
    char name[] = "/tmp/perdure-pair-test.XXXXXX";
    path = ::mkdtemp(name);
  }
  ~Directory() { std::filesystem::remove_all(path); }
  std::string path;
};

// A blade of an authority, with its loop (run by the test's thread).
struct TestBlade {
  TestBlade(const std::string& directory, const Identity& authority, const std::string& name)
      : env(env::LinuxEnv::create().value()),
        files{directory + "/ca." + name, directory + "/c." + name, directory + "/k." + name} {
    const Identity own = make_certificate(authority, name).value();
    CHECK(write_private_file(files.authority, authority.certificate));
    CHECK(write_private_file(files.certificate, own.certificate));
    CHECK(write_private_file(files.key, own.key));
  }
  PeerOptions options(const std::string& peer) {
    return {.peer = peer,
            .tls = make_tls_context(files).value(),
            .handshake_max = std::chrono::seconds(20),
            .connect_max = std::chrono::seconds(20)};
  }
  std::unique_ptr<env::LinuxEnv> env;
  TlsFiles files;
};

// Two channel ends on one loop: the listener's blade, and the connector's.
struct Channels {
  explicit Channels(const std::string& listener_name = "a", const std::string& connector_name = "b",
                    bool same_authority = true)
      : authority(make_authority("test").value()),
        other_authority(make_authority("other").value()),
        a(directory.path, authority, listener_name),
        b(directory.path, same_authority ? authority : other_authority, connector_name),
        listener(*a.env, a.env->context(), a.options("b"),
                 [this](std::unique_ptr<mirror::Channel> channel) { accepted = std::move(channel); }) {
    CHECK(listener.listen(parse_address("127.0.0.1", 0).value()));
  }
  // Runs the loop until `done`, for 20 seconds at most.
  bool run(const std::function<bool()>& done) {
    const env::Instant end = a.env->now() + std::chrono::seconds(20);
    std::function<void()> look = [&] {
      if (done() || a.env->now() >= end) return a.env->stop();
      a.env->after(std::chrono::milliseconds(1), [&] { look(); });
    };
    look();
    a.env->run();
    return done();
  }
  bool connect_both() {
    return connect() && run([this] { return accepted != nullptr; });
  }
  // False: there is none.
  bool connect() {
    connector = std::make_unique<PeerConnector>(*a.env, a.env->context(), listener.address(), b.options("a"));
    bool ended = false;
    connector->connect([&](std::unique_ptr<mirror::Channel> channel) {
      connected = std::move(channel);
      ended = true;
    });
    run([&] { return ended; });
    return connected != nullptr;
  }

  Directory directory;
  Identity authority, other_authority;
  TestBlade a, b;
  PeerListener listener;
  std::unique_ptr<PeerConnector> connector;
  std::unique_ptr<mirror::Channel> accepted, connected;
};

ByteVector bytes_of(size_t n, unsigned seed) {
  ByteVector bytes(n);
  for (size_t i = 0; i < n; ++i) bytes[i] = static_cast<std::byte>((i * 31 + seed) % 251);
  return bytes;
}

TEST(PeerChannel, MessagesComeWholeAndInOrderBothWays) {
  Channels c;
  ASSERT_TRUE(c.connect_both());
  std::vector<ByteVector> sent, received;
  size_t back = 0;
  c.accepted->set_handler({.received =
                               [&](Bytes m) {
                                 received.emplace_back(m.begin(), m.end());
                                 c.accepted->send(m.first(1));
                               },
                           .closed = [] {}});
  c.connected->set_handler({.received = [&](Bytes m) { back += m.size(); }, .closed = [] {}});
  for (const size_t n :
       {size_t{1}, size_t{3000}, size_t{400'000}, size_t{17}, mirror::message_bytes_max, size_t{5}}) {
    sent.push_back(bytes_of(n, static_cast<unsigned>(n)));
    c.connected->send(sent.back());
  }
  // Pages follow the message.
  PageRef page = make_page();
  std::ranges::fill(page.mutable_bytes(), std::byte{7});
  c.connected->send(sent.front(), {page, page});
  EXPECT_GT(c.connected->unsent_bytes(), 0U);
  ASSERT_TRUE(c.run([&] { return back == sent.size() + 1; }));
  EXPECT_EQ(c.connected->unsent_bytes(), 0U);
  ASSERT_EQ(received.size(), sent.size() + 1);
  for (size_t i = 0; i < sent.size(); ++i) EXPECT_EQ(received[i], sent[i]) << i;
  EXPECT_EQ(received.back().size(), 1 + 2 * block_bytes);
  EXPECT_EQ(received.back().back(), std::byte{7});
}

TEST(PeerChannel, TheOtherEndHearsThatItIsClosed) {
  Channels c;
  ASSERT_TRUE(c.connect_both());
  bool closed = false;
  c.accepted->set_handler({.received = [](Bytes) {}, .closed = [&] { closed = true; }});
  c.connected.reset();
  EXPECT_TRUE(c.run([&] { return closed; }));
}

// The handler may end the channel, or give it another handler, in the middle of what has come.
TEST(PeerChannel, AHandlerMayEndIt) {
  Channels c;
  ASSERT_TRUE(c.connect_both());
  int first = 0, second = 0;
  c.accepted->set_handler({.received =
                               [&](Bytes) {
                                 ++first;
                                 c.accepted->set_handler({.received =
                                                              [&](Bytes) {
                                                                ++second;
                                                                c.accepted.reset();
                                                              },
                                                          .closed = [] {}});
                               },
                           .closed = [] {}});
  bool closed = false;
  c.connected->set_handler({.received = [](Bytes) {}, .closed = [&] { closed = true; }});
  for (int i = 0; i < 5; ++i) c.connected->send(bytes_of(100, 1));
  EXPECT_TRUE(c.run([&] { return closed; }));
  EXPECT_EQ(first, 1);
  EXPECT_EQ(second, 1);
}

TEST(PeerChannel, WhoHasAnotherNameIsRefused) {
  Channels c("a", "c");
  // The end that connects is told at its first read: TLS 1.3 lets it go on before the other end has looked.
  if (c.connect()) {
    bool closed = false;
    c.connected->set_handler({.received = [](Bytes) {}, .closed = [&] { closed = true; }});
    EXPECT_TRUE(c.run([&] { return closed; }));
  }
  EXPECT_EQ(c.accepted, nullptr);
}

TEST(PeerChannel, TheOneThatIsConnectedToMustBeThePeer) {
  Channels c("x", "b");
  EXPECT_FALSE(c.connect());
  EXPECT_EQ(c.accepted, nullptr);
}

TEST(PeerChannel, WhoComesFromAnotherPairIsRefused) {
  Channels c("a", "b", false);
  EXPECT_FALSE(c.connect());
  EXPECT_EQ(c.accepted, nullptr);
}

// Somebody who says nothing, or nonsense, keeps nobody from being heard.
TEST(PeerChannel, StrangersAreEndured) {
  Channels c;
  const wire::Address address = c.listener.address();
  sockaddr_storage kernel;
  const socklen_t length = to_kernel(address, kernel);
  std::vector<int> strangers;
  for (int i = 0; i < 10; ++i) {
    strangers.push_back(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    ASSERT_EQ(::connect(strangers.back(), reinterpret_cast<const sockaddr*>(&kernel), length), 0);
    if (i % 2 == 0) (void)::write(strangers.back(), "GET / HTTP/1.0\r\n\r\n", 18);
  }
  EXPECT_TRUE(c.connect());
  for (const int fd : strangers) ::close(fd);
}

TEST(PeerConnector, NobodyThereIsNoChannel) {
  Channels c;
  const int unused = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_storage any;
  const socklen_t length = to_kernel(parse_address("127.0.0.1", 0).value(), any);
  ASSERT_EQ(::bind(unused, reinterpret_cast<const sockaddr*>(&any), length), 0);
  PeerConnector connector(*c.a.env, c.a.env->context(), local_address(unused), c.b.options("a"));
  bool ended = false;
  connector.connect([&](std::unique_ptr<mirror::Channel> channel) {
    ended = true;
    EXPECT_EQ(channel, nullptr);
  });
  EXPECT_TRUE(c.run([&] { return ended; }));
  ::close(unused);
}

// Two paths of which one is not there, and is later: then it is used, too.
TEST(PeerConnector, SeveralPathsAreOneChannel) {
  Channels c;
  mirror::BundleAcceptor acceptor(
      *c.a.env, [&](std::unique_ptr<mirror::Channel> channel) { c.accepted = std::move(channel); });
  const auto accept = [&](std::unique_ptr<mirror::Channel> channel) { acceptor.accept(std::move(channel)); };
  PeerListener late(*c.a.env, c.a.env->context(), c.a.options("b"), accept);
  PeerListener listener(*c.a.env, c.a.env->context(), c.a.options("b"), accept);
  ASSERT_TRUE(listener.listen(parse_address("127.0.0.1", 0).value()));
  const int unused = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_storage any;
  const socklen_t length = to_kernel(parse_address("127.0.0.1", 0).value(), any);
  ASSERT_EQ(::bind(unused, reinterpret_cast<const sockaddr*>(&any), length), 0);
  const wire::Address first = local_address(unused);
  std::vector<std::unique_ptr<mirror::Connector>> paths;
  for (const wire::Address& address : {first, listener.address()})
    paths.push_back(std::make_unique<PeerConnector>(*c.a.env, c.a.env->context(), address, c.b.options("a")));
  const auto connector = mirror::connector_over(*c.a.env, std::move(paths));
  connector->connect([&](std::unique_ptr<mirror::Channel> channel) { c.connected = std::move(channel); });
  ASSERT_TRUE(c.run([&] { return c.connected != nullptr && c.accepted != nullptr; }));
  EXPECT_EQ(c.connected->paths(), 1U);
  ::close(unused);
  ASSERT_TRUE(late.listen(first));
  ASSERT_TRUE(c.run([&] { return c.connected->paths() == 2 && c.accepted->paths() == 2; }));
  std::vector<size_t> sizes;
  c.accepted->set_handler({.received = [&](Bytes m) { sizes.push_back(m.size()); }, .closed = [] {}});
  const ByteVector large = bytes_of(mirror::message_bytes_max, 1);
  for (size_t i = 0; i < 8; ++i) c.connected->send(Bytes(large).first(large.size() - i));
  ASSERT_TRUE(c.run([&] { return sizes.size() == 8; }));
  for (size_t i = 0; i < 8; ++i) EXPECT_EQ(sizes[i], large.size() - i);
  bool closed = false;
  c.connected->set_handler({.received = [](Bytes) {}, .closed = [&] { closed = true; }});
  c.accepted.reset();
  EXPECT_TRUE(c.run([&] { return closed; }));
}

TEST(VserverAddress, IsWrittenAsAddressPrefixAndInterface) {
  for (const char* text : {"192.0.2.10/24@eth0", "2001:db8::10/64@bond0.7"})
    EXPECT_EQ(to_string(parse_vserver_address(text).value()), text);
  for (const char* text : {"", "192.0.2.10", "192.0.2.10/24", "192.0.2.10@eth0", "192.0.2.10/33@eth0",
                           "192.0.2.10/0@eth0", "192.0.2.10/x@eth0", "host/24@eth0", "2001:db8::10/129@eth0",
                           "192.0.2.10/24@", "192.0.2.10/24@a-name-that-is-too-long", "192.0.2.10@eth0/24"})
    EXPECT_FALSE(parse_vserver_address(text)) << text;
}

TEST(Etcd, AConfigurationComesBackAsItWas) {
  const mirror::Start a{"a", UINT64_MAX}, b{"b", 7};
  const mirror::Configuration configuration{Epoch(9), a, {a, b}};
  EXPECT_EQ(configuration_from_json(to_json(configuration)).value(), configuration);
}

TEST(Etcd, WhatMakesNoSenseIsAnError) {
  for (
      const char* text :
      {"", "{", "[]", "7", R"({"epoch":1})",
       R"({"epoch":"1","primary":{"blade":"a","start":1},"in_sync":[]})",
       R"({"epoch":0,"primary":{"blade":"a","start":1},"in_sync":[{"blade":"a","start":1}]})",
       R"({"epoch":1,"primary":{"blade":"a","start":1},"in_sync":[]})",
       R"({"epoch":1,"primary":{"blade":"a","start":1},"in_sync":[{"blade":"b","start":1}]})",
       R"({"epoch":1,"primary":{"blade":"a","start":-1},"in_sync":[{"blade":"a","start":-1}]})",
       R"({"epoch":1,"primary":{"blade":"a","start":1},"in_sync":[{"blade":"a","start":1},{"blade":"b","start":1},{"blade":"c","start":1}]})"})
    EXPECT_FALSE(configuration_from_json(text)) << text;
}

// Answers one HTTP request with the body, and closes.
class OneAnswer {
 public:
  explicit OneAnswer(std::string body) : listening_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_storage any;
    const socklen_t length = to_kernel(parse_address("127.0.0.1", 0).value(), any);
    CHECK(::bind(listening_, reinterpret_cast<const sockaddr*>(&any), length) == 0 &&
          ::listen(listening_, 1) == 0);
    url = "http://" + to_string(local_address(listening_));
    thread_ = std::thread([this, body = std::move(body)] {
      const int fd = ::accept(listening_, nullptr, nullptr);
      char request[4096];
      (void)::read(fd, request, sizeof request);
      const std::string answer = fmt::format(
          "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{}", body.size(), body);
      (void)::write(fd, answer.data(), answer.size());
      ::close(fd);
    });
  }
  ~OneAnswer() {
    ::shutdown(listening_, SHUT_RDWR);
    thread_.join();
    ::close(listening_);
  }
  std::string url;

 private:
  int listening_;
  std::thread thread_;
};

TEST(Etcd, AnswersThatAreNotUnderstoodAreErrors) {
  for (const char* body :
       {"", "no", "[]", "{}", R"({"header":{},"kvs":[{}]})",
        R"({"header":{},"kvs":[{"value":"!","mod_revision":"1"}]})",
        R"({"header":{},"kvs":[{"value":"e30=","mod_revision":"1"}]})", R"({"header":{},"kvs":7})"}) {
    const OneAnswer server(body);
    EtcdClient client({.endpoints = {server.url}, .key = "/k"});
    EXPECT_FALSE(client.read()) << body;
  }
  const OneAnswer server(R"({"header":{}})");
  EtcdClient client({.endpoints = {server.url}, .key = "/k"});
  EXPECT_EQ(client.read().value().version, 0U);
}

// An endpoint that is silent does not hold up the one that answers.
TEST(Etcd, TheFirstGoodAnswerCounts) {
  const int silent = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_storage any;
  const socklen_t length = to_kernel(parse_address("127.0.0.1", 0).value(), any);
  ASSERT_EQ(::bind(silent, reinterpret_cast<const sockaddr*>(&any), length), 0);
  ASSERT_EQ(::listen(silent, 8), 0);
  const OneAnswer server(R"({"header":{}})");
  EtcdClient client({.endpoints = {"http://" + to_string(local_address(silent)), server.url},
                     .key = "/k",
                     .timeout = std::chrono::seconds(60)});
  const auto began = std::chrono::steady_clock::now();
  EXPECT_TRUE(client.read());
  EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(30));
  ::close(silent);
}

TEST(Etcd, NobodyThereIsAnErrorThatSaysSo) {
  EtcdClient client({.endpoints = {"http://127.0.0.1:1"}, .key = "/k"});
  EXPECT_THAT(client.read().error().message, HasSubstr("http://127.0.0.1:1"));
}

}  // namespace
}  // namespace perdure::server
