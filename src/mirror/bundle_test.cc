// Bundles over paths that fail.
#include "mirror/bundle.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <random>

#include "env/testing/test_env.h"

namespace perdure::mirror {
namespace {

using std::chrono::milliseconds;

// A path between two blades, 0 and 1, with its channels.
class FakePath {
 public:
  explicit FakePath(env::TestEnv& env) : env_(env) {}

  struct Pipe {
    std::array<Channel::Handler, 2> handlers;
    std::array<std::deque<ByteVector>, 2> inbox;  // what has not arrived at end i
    std::array<bool, 2> open{true, true};
  };
  class End;

  // Blade 0 connects to blade 1, which takes it with `accept`.
  class PathConnector;
  std::unique_ptr<Connector> connector(std::function<void(std::unique_ptr<Channel>)> accept);

  void send(const std::shared_ptr<Pipe>& pipe, size_t to, ByteVector message) {
    unsent_[1 - to] += message.size();
    env_.after(delay, [this, pipe, to, message = std::move(message)]() mutable {
      unsent_[1 - to] -= message.size();
      pipe->inbox[to].push_back(std::move(message));
      arrive(pipe, to);
    });
  }
  void arrive(const std::shared_ptr<Pipe>& pipe, size_t to) {
    while (!blocked[1 - to] && pipe->open[to] && pipe->handlers[to].received && !pipe->inbox[to].empty()) {
      const ByteVector message = std::move(pipe->inbox[to].front());
      pipe->inbox[to].pop_front();
      const auto received = pipe->handlers[to].received;
      received(message);
    }
  }
  void close(const std::shared_ptr<Pipe>& pipe, size_t from) {
    if (!std::exchange(pipe->open[from], false)) return;
    env_.post([pipe, to = 1 - from] { tell_closed(pipe, to); });
  }
  static void tell_closed(const std::shared_ptr<Pipe>& pipe, size_t end) {
    if (!std::exchange(pipe->open[end], false)) return;
    if (const auto closed = pipe->handlers[end].closed) closed();
  }

  // What is under way is lost.
  void cut() {
    for (const auto& weak : pipes_)
      if (const auto pipe = weak.lock())
        for (const size_t end : {0, 1}) env_.post([pipe, end] { tell_closed(pipe, end); });
  }
  void block(size_t from, bool is) {
    blocked[from] = is;
    for (const auto& weak : pipes_)
      if (const auto pipe = weak.lock(); pipe != nullptr && !is) arrive(pipe, 1 - from);
  }

  bool reachable = true;
  std::array<bool, 2> blocked{};  // what blade i sends
  env::Duration delay = milliseconds(1);
  std::array<size_t, 2> unsent_{};
  size_t messages = 0;

 private:
  env::TestEnv& env_;
  std::vector<std::weak_ptr<Pipe>> pipes_;
};

class FakePath::End final : public Channel {
 public:
  End(FakePath& path, std::shared_ptr<Pipe> pipe, size_t end)
      : path_(path), pipe_(std::move(pipe)), end_(end) {}
  ~End() override { path_.close(pipe_, end_); }
  void set_handler(Handler handler) override {
    pipe_->handlers[end_] = std::move(handler);
    path_.env_.post([path = &path_, pipe = pipe_, end = end_] { path->arrive(pipe, end); });
  }
  void send(Bytes message, std::vector<PageRef> pages) override {
    ByteVector whole(message.begin(), message.end());
    for (const PageRef& page : pages) whole.insert(whole.end(), page.bytes().begin(), page.bytes().end());
    ++path_.messages;
    path_.send(pipe_, 1 - end_, std::move(whole));
  }
  size_t unsent_bytes() const override { return path_.unsent_[end_]; }

 private:
  FakePath& path_;
  const std::shared_ptr<Pipe> pipe_;
  const size_t end_;
};

class FakePath::PathConnector final : public Connector {
 public:
  PathConnector(FakePath& path, std::function<void(std::unique_ptr<Channel>)> accept)
      : path_(path), accept_(std::move(accept)) {}
  void connect(std::move_only_function<void(std::unique_ptr<Channel>)> done) override {
    path_.env_.after(milliseconds(2), [this, done = std::move(done)]() mutable {
      if (!path_.reachable || path_.blocked[0] || path_.blocked[1]) return done(nullptr);
      auto pipe = std::make_shared<Pipe>();
      path_.pipes_.push_back(pipe);
      accept_(std::make_unique<End>(path_, pipe, 1));
      done(std::make_unique<End>(path_, pipe, 0));
    });
  }

 private:
  FakePath& path_;
  const std::function<void(std::unique_ptr<Channel>)> accept_;
};

std::unique_ptr<Connector> FakePath::connector(std::function<void(std::unique_ptr<Channel>)> accept) {
  return std::make_unique<PathConnector>(*this, std::move(accept));
}

ByteVector message(uint64_t number, size_t bytes = 100) {
  ByteVector m(std::max(bytes, sizeof number));
  std::memcpy(m.data(), &number, sizeof number);
  return m;
}

uint64_t number_of(Bytes m) {
  uint64_t number = 0;
  std::memcpy(&number, m.data(), sizeof number);
  return number;
}

class BundleTest : public ::testing::Test {
 protected:
  explicit BundleTest(uint64_t seed = 1) : env(seed), first(env), second(env) {}
  ~BundleTest() override {
    ends[0].channel.reset();
    ends[1].channel.reset();
    connector.reset();
    env.run_until_idle();
  }

  void SetUp() override {
    std::vector<std::unique_ptr<Connector>> paths;
    for (FakePath* path : {&first, &second})
      paths.push_back(path->connector([this](auto channel) { acceptor.accept(std::move(channel)); }));
    connector = connector_over(env, std::move(paths));
  }
  void connect() {
    connector->connect([this](std::unique_ptr<Channel> channel) {
      if (channel != nullptr) take(0, std::move(channel));
    });
    pass(milliseconds(600));
    ASSERT_NE(ends[0].channel, nullptr);
    ASSERT_NE(ends[1].channel, nullptr);
  }
  void take(size_t end, std::unique_ptr<Channel> channel) {
    End& e = ends[end] = End{.channel = std::move(channel)};
    e.channel->set_handler({.received =
                                [&e](Bytes m) {
                                  EXPECT_EQ(number_of(m), e.received);
                                  ++e.received;
                                },
                            .closed = [&e] { e.closed = true; }});
  }
  void send(size_t end, size_t bytes = 100) { ends[end].channel->send(message(ends[end].sent++, bytes)); }
  void pass(env::Duration time) { env.advance(time); }
  void expect_all() {
    for (const size_t end : {0, 1}) {
      EXPECT_EQ(ends[1 - end].received, ends[end].sent);
      EXPECT_FALSE(ends[end].closed);
    }
  }

  struct End {
    std::unique_ptr<Channel> channel;
    uint64_t sent = 0, received = 0;
    bool closed = false;
  };
  env::TestEnv env;
  FakePath first, second;
  std::array<End, 2> ends;
  std::unique_ptr<Connector> connector;
  BundleAcceptor acceptor{env, [this](std::unique_ptr<Channel> channel) { take(1, std::move(channel)); }};
};

TEST_F(BundleTest, MessagesComeInOrderOverPathsThatAreNotEquallyFast) {
  first.delay = milliseconds(20);
  connect();
  EXPECT_EQ(ends[0].channel->paths(), 2U);
  EXPECT_EQ(ends[1].channel->paths(), 2U);
  const size_t before = second.messages;
  for (int i = 0; i < 100; ++i) send(0, 100'000), send(1);
  EXPECT_GT(second.messages, before + 10) << "the first one is busy";
  pass(milliseconds(100));
  expect_all();
}

TEST_F(BundleTest, WhatIsOnACutPathGoesOverAnother) {
  connect();
  for (int i = 0; i < 10; ++i) send(0), send(1);
  first.cut();
  first.reachable = false;
  pass(milliseconds(10));
  expect_all();
  EXPECT_EQ(ends[0].channel->paths(), 1U);
  first.reachable = true;
  pass(milliseconds(600));
  EXPECT_EQ(ends[0].channel->paths(), 2U);
  EXPECT_EQ(ends[1].channel->paths(), 2U);
  second.cut();
  send(0), send(1);
  pass(milliseconds(10));
  expect_all();
}

TEST_F(BundleTest, ASilentPathCostsATenthOfASecond) {
  for (const size_t from : {0, 1}) {
    connect();
    first.block(from, true);
    for (int i = 0; i < 10; ++i) send(0), send(1);
    pass(milliseconds(160));
    expect_all();
    first.block(from, false);  // and what was on it comes once more
    pass(milliseconds(600));
    expect_all();
    EXPECT_EQ(ends[0].channel->paths(), 2U);
    ends[0].channel.reset();
    pass(milliseconds(10));
    EXPECT_TRUE(ends[1].closed);
  }
}

TEST_F(BundleTest, SilenceOverAllPathsIsNotTheirMatter) {
  connect();
  for (FakePath* path : {&first, &second}) path->block(0, true), path->block(1, true);
  for (int i = 0; i < 10; ++i) send(0), send(1);
  pass(std::chrono::seconds(3));
  EXPECT_EQ(ends[0].channel->paths(), 2U);
  for (FakePath* path : {&first, &second}) path->block(0, false), path->block(1, false);
  pass(milliseconds(10));
  expect_all();
}

TEST_F(BundleTest, BreaksWithItsLastPath) {
  connect();
  first.reachable = second.reachable = false;
  first.cut();
  pass(milliseconds(10));
  EXPECT_FALSE(ends[0].closed || ends[1].closed);
  second.cut();
  pass(milliseconds(10));
  EXPECT_TRUE(ends[0].closed && ends[1].closed);
  bool answered = false;
  connector->connect([&](std::unique_ptr<Channel> channel) {
    answered = true;
    EXPECT_EQ(channel, nullptr);
  });
  pass(milliseconds(10));
  EXPECT_TRUE(answered);
  first.reachable = true;
  connect();  // and another one is made
  send(0), send(1);
  pass(milliseconds(10));
  expect_all();
}

TEST_F(BundleTest, OnePathIsNoBundle) {
  std::vector<std::unique_ptr<Connector>> paths;
  paths.push_back(first.connector([this](auto channel) { acceptor.accept(std::move(channel)); }));
  connector = connector_over(env, std::move(paths));
  connector->connect([this](std::unique_ptr<Channel> channel) { take(0, std::move(channel)); });
  pass(milliseconds(10));
  for (int i = 0; i < 3; ++i) send(0);
  pass(milliseconds(10));
  for (int i = 0; i < 3; ++i) send(0), send(1);
  pass(milliseconds(10));
  expect_all();
  EXPECT_EQ(ends[1].channel->paths(), 1U);
  ends[0].channel.reset();
  pass(milliseconds(10));
  EXPECT_TRUE(ends[1].closed);
}

// An older version closes what begins with a join, and takes a plain channel.
TEST_F(BundleTest, APeerThatKnowsOfNoBundlesGetsOnePath) {
  bool takes = false;
  std::vector<std::unique_ptr<Channel>> peers;
  const auto accept = [&](std::unique_ptr<Channel> channel) {
    Channel* c = channel.get();
    peers.push_back(std::move(channel));
    c->set_handler({.received =
                        [&, c](Bytes m) {
                          takes = number_of(m) == 0 && m.size() == 100;
                          if (!takes) std::erase_if(peers, [c](const auto& p) { return p.get() == c; });
                        },
                    .closed = [] {}});
  };
  std::vector<std::unique_ptr<Connector>> paths;
  for (FakePath* path : {&first, &second}) paths.push_back(path->connector(accept));
  connector = connector_over(env, std::move(paths));
  for (int i = 0; i < 2 && !takes; ++i) {
    connector->connect([this](std::unique_ptr<Channel> channel) { take(0, std::move(channel)); });
    pass(milliseconds(4));
    send(0);
    pass(milliseconds(20));
  }
  EXPECT_TRUE(takes);
  EXPECT_FALSE(ends[0].closed);
  peers.clear();
  pass(milliseconds(20));
}

// The first path is fast to connect, and then dead.
TEST_F(BundleTest, AnyPathCanBeTheFirstToArrive) {
  first.delay = milliseconds(50);
  connect();
  send(0), send(1);
  pass(milliseconds(60));
  expect_all();
  EXPECT_EQ(ends[1].channel->paths(), 2U);
}

// A blade that stands still says nothing over any path, and loses none.
TEST_F(BundleTest, APeerThatStoodStillHasItsPathsStill) {
  connect();
  first.delay = milliseconds(8);  // its beats come a little later
  for (int i = 0; i < 20; ++i) {
    for (FakePath* path : {&first, &second}) path->block(1, true);
    pass(milliseconds(90 + i * 3));
    for (FakePath* path : {&first, &second}) path->block(1, false);
    EXPECT_EQ(ends[0].channel->paths(), 2U);
    pass(milliseconds(37));
    EXPECT_EQ(ends[0].channel->paths(), 2U);
  }
}

TEST_F(BundleTest, NonsenseEndsAPath) {
  connect();
  std::unique_ptr<Channel> other;
  bool closed = false;
  const auto say = [&](const ByteVector& what) {
    const auto c = first.connector([this](auto channel) { acceptor.accept(std::move(channel)); });
    c->connect([&](std::unique_ptr<Channel> channel) { other = std::move(channel); });
    pass(milliseconds(10));
    closed = false;
    other->set_handler({.received = [](Bytes) {}, .closed = [&] { closed = true; }});
    other->send(what);
    pass(milliseconds(10));
  };
  ByteVector join(11);
  join[0] = std::byte{0xb1};
  say(join);
  EXPECT_TRUE(closed) << "no bundle, and not the first path of one";
  join[1] = std::byte{1};
  say(join);  // a new bundle
  EXPECT_FALSE(closed);
  for (const size_t bytes : {1, 8, 9, 10}) {
    say(join);
    ByteVector nonsense(bytes, std::byte{0xff});
    if (bytes == 9) nonsense[0] = std::byte{0xb3};  // more has come than was sent
    other->send(nonsense);
    pass(milliseconds(10));
    EXPECT_TRUE(closed) << bytes;
  }
}

class Paths : public BundleTest, public ::testing::WithParamInterface<uint64_t> {
 protected:
  Paths() : BundleTest(GetParam()) {}
};

// One of the two paths works at each time.
TEST_P(Paths, NothingIsLostAsLongAsThereIsOne) {
  std::mt19937_64 random(GetParam());
  connect();
  FakePath* const paths[] = {&first, &second};
  for (int round = 0; round < 60; ++round) {
    FakePath& failing = *paths[random() % 2];
    failing.delay = milliseconds(random() % 20);
    switch (random() % 4) {
      case 0:
        failing.cut();
        break;
      case 1:
        failing.block(random() % 2, true);
        break;
      case 2:
        failing.reachable = false;
        failing.cut();
        break;
      default:
        break;
    }
    for (uint64_t i = random() % 20; i > 0; --i) send(random() % 2, 1 + random() % 300'000);
    pass(milliseconds(random() % 200));
    for (uint64_t i = random() % 20; i > 0; --i) send(random() % 2, 1 + random() % 1000);
    failing.block(0, false), failing.block(1, false);
    failing.reachable = true;
    // Until both are there again.
    for (int i = 0; i < 30 && ends[0].channel->paths() + ends[1].channel->paths() < 4; ++i)
      pass(milliseconds(100));
    ASSERT_EQ(ends[0].channel->paths() + ends[1].channel->paths(), 4U);
  }
  pass(milliseconds(200));
  expect_all();
}

INSTANTIATE_TEST_SUITE_P(Seeds, Paths, ::testing::Range<uint64_t>(1, 21));

}  // namespace
}  // namespace perdure::mirror
