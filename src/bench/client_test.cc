#include "bench/client.h"

#include <gtest/gtest.h>

#include "bench/testing/fake_server.h"

namespace perdure::bench {
namespace {

using Fault = FakeServer::Fault;

// The client's own requests in a session before those of the test: RECLAIM_COMPLETE and the look-up of the
// path.
constexpr uint64_t set_up_requests = 2;
constexpr uint32_t requests_per_slot = 30;

ClientOptions options_for(const FakeServer& server, Sessions sessions = Sessions::one) {
  ClientOptions options;
  options.server = fmt::format("127.0.0.1:{}", server.port());
  options.path = "/some/path";
  options.connections = 2;
  options.depth = 3;
  options.sessions = sessions;
  options.reconnect_max = seconds(5);
  options.stall_max = seconds(5);
  return options;
}

// ACCESS with a number of its own: the fake server gives it back.
Task<> ask(Slot& slot, uint64_t& answered, uint64_t& wrong) {
  FileHandle fh;
  fh.size = 8;
  for (uint32_t i = 0; i < requests_per_slot; ++i) {
    const uint32_t number = slot.index() * 1000 + i;
    slot.begin(true).putfh(fh).access(number);
    Reply& r = co_await slot.exchange();
    uint32_t supported = 0;
    uint32_t granted = 0;
    if (!(r.putfh() && r.access(supported, granted)) || granted != number) ++wrong;
    ++answered;
  }
}

struct Outcome {
  Result<void> result;
  uint64_t answered = 0;
  uint64_t wrong = 0;
  ClientCounters counters;
};

Outcome run_all(ClientOptions options) {
  auto client = Client::create(std::move(options));
  EXPECT_TRUE(client);
  Outcome outcome;
  outcome.result = (*client)->start();
  if (!outcome.result) return outcome;
  {
    TaskGroup tasks;
    for (size_t i = 0; i < (*client)->slots(); ++i)
      tasks.spawn(ask((*client)->slot(i), outcome.answered, outcome.wrong));
    outcome.result = (*client)->run(tasks, seconds(20));
  }
  (*client)->finish();
  outcome.counters = (*client)->counters();
  return outcome;
}

constexpr uint64_t all_requests = 2 * 3 * requests_per_slot;

TEST(Client, AsksAndGetsItsAnswers) {
  FakeServer server;
  const Outcome outcome = run_all(options_for(server));
  ASSERT_TRUE(outcome.result) << outcome.result.error().message;
  EXPECT_EQ(outcome.answered, all_requests);
  EXPECT_EQ(outcome.wrong, 0U);
  EXPECT_EQ(server.executed(), all_requests + set_up_requests);
  EXPECT_EQ(server.connections(), 2U);
  EXPECT_EQ(server.binds(), 1U);  // the second connection, to the session of the first
}

TEST(Client, SendsUnansweredRequestsAgainByteForByteAndTheyAreExecutedOnce) {
  for (const Fault fault : {Fault::lose_request, Fault::lose_reply, Fault::lose_half_reply}) {
    FakeServer server;
    for (uint64_t n = set_up_requests; n < all_requests; n += 11) server.plan(n, fault);
    const Outcome outcome = run_all(options_for(server));
    ASSERT_TRUE(outcome.result) << outcome.result.error().message;
    EXPECT_EQ(outcome.answered, all_requests);
    EXPECT_EQ(outcome.wrong, 0U);
    EXPECT_FALSE(server.violated());
    EXPECT_EQ(server.executed(), all_requests + set_up_requests);
    EXPECT_GT(outcome.counters.connections_lost, 10U);
    EXPECT_GT(outcome.counters.requests_sent_again, 10U);
    EXPECT_EQ(server.binds(), outcome.counters.connections_lost + 1);
    EXPECT_TRUE(fault == Fault::lose_request || server.replayed() > 0);
  }
}

TEST(Client, GivesUpAConnectionThatIsSilentBeforeItIsBound) {
  FakeServer server;
  server.plan(set_up_requests + 20, Fault::lose_and_be_dumb);
  ClientOptions options = options_for(server);
  options.suspect_after = 100'000'000;
  const Outcome outcome = run_all(options);
  ASSERT_TRUE(outcome.result) << outcome.result.error().message;
  EXPECT_EQ(outcome.answered, all_requests);
  EXPECT_EQ(outcome.counters.connections_lost, 2U);
  EXPECT_EQ(server.executed(), all_requests + set_up_requests);
}

TEST(Client, CutsItsOwnConnectionsInTheMiddleOfRequests) {
  FakeServer server;
  auto client = Client::create(options_for(server));
  ASSERT_TRUE(client && (*client)->start());
  uint64_t answered = 0;
  uint64_t wrong = 0;
  TaskGroup tasks;
  for (size_t i = 0; i < (*client)->slots(); ++i) {
    (*client)->cut(i % 2, i * 50);
    tasks.spawn(ask((*client)->slot(i), answered, wrong));
  }
  ASSERT_TRUE((*client)->run(tasks, seconds(20)));
  EXPECT_EQ(answered, all_requests);
  EXPECT_EQ(wrong, 0U);
  EXPECT_FALSE(server.violated());
  EXPECT_GT((*client)->counters().connections_lost, 0U);
}

TEST(Client, RepeatsAfterADelay) {
  FakeServer server;
  for (uint64_t n = set_up_requests; n < all_requests; n += 40) server.plan(n, Fault::delay);
  const Outcome outcome = run_all(options_for(server));
  ASSERT_TRUE(outcome.result) << outcome.result.error().message;
  EXPECT_EQ(outcome.answered, all_requests);
  EXPECT_GT(outcome.counters.sequence_delays, 3U);
  EXPECT_FALSE(server.violated());
}

TEST(Client, ReadsRepliesInFragments) {
  FakeServer server;
  for (uint64_t n = 0; n < all_requests; n += 3) server.plan(n, Fault::fragments);
  const Outcome outcome = run_all(options_for(server));
  ASSERT_TRUE(outcome.result) << outcome.result.error().message;
  EXPECT_EQ(outcome.answered, all_requests);
  EXPECT_EQ(outcome.wrong, 0U);
}

TEST(Client, NeverBeginsANewSession) {
  FakeServer server;
  server.plan(set_up_requests + 20, Fault::forget_session);
  const Outcome outcome = run_all(options_for(server));
  ASSERT_FALSE(outcome.result);
  EXPECT_NE(outcome.result.error().message.find("BADSESSION"), std::string::npos)
      << outcome.result.error().message;
  EXPECT_LT(outcome.answered, all_requests);
}

TEST(Client, StopsWhenTheServerBreaksTheProtocol) {
  for (const Fault fault : {Fault::wrong_xid, Fault::garbage}) {
    FakeServer server;
    server.plan(set_up_requests + 5, fault);
    const Outcome outcome = run_all(options_for(server));
    EXPECT_FALSE(outcome.result);
  }
}

TEST(Client, TakesAHugeRecordMarkForALostConnection) {
  FakeServer server;
  server.plan(set_up_requests + 5, Fault::huge_record);
  const Outcome outcome = run_all(options_for(server));
  ASSERT_TRUE(outcome.result) << outcome.result.error().message;
  EXPECT_EQ(outcome.answered, all_requests);
  EXPECT_EQ(outcome.counters.connections_lost, 1U);
}

TEST(Client, NoticesAnExecutionThatWasDoneTwice) {
  FakeServer server;
  ClientOptions options = options_for(server);
  options.plant_twice_every = 10;
  const Outcome outcome = run_all(options);
  ASSERT_TRUE(outcome.result) << outcome.result.error().message;
  EXPECT_EQ(outcome.answered, all_requests);
  EXPECT_EQ(server.executed(), all_requests + set_up_requests + outcome.counters.planted);
  EXPECT_GT(outcome.counters.planted, 10U);
}

TEST(Client, GivesUpOnAServerThatIsNotThere) {
  uint16_t port = 0;
  {
    FakeServer server;
    port = server.port();
  }
  ClientOptions options;
  options.server = fmt::format("127.0.0.1:{}", port);
  options.reconnect_max = milliseconds(50);
  auto client = Client::create(options);
  ASSERT_TRUE(client);
  const auto started = (*client)->start();
  ASSERT_FALSE(started);
  EXPECT_NE(started.error().message.find("cannot be reached"), std::string::npos);
}

TEST(Resolve, HostsAndPorts) {
  EXPECT_TRUE(resolve("127.0.0.1:2049"));
  EXPECT_TRUE(resolve("127.0.0.1"));
  EXPECT_TRUE(resolve("[::1]:2049"));
  EXPECT_TRUE(resolve("::1"));
  EXPECT_FALSE(resolve("127.0.0.1:no-such-port"));
}

}  // namespace
}  // namespace perdure::bench
