#include "server/rpc_front.h"

#include <gtest/gtest.h>

#include <deque>

namespace perdure::server {
namespace {

constexpr uint32_t nfs = 100003;

struct FakeTransport : wire::Transport {
  void send(wire::ConnectionId connection, wire::Reply&& message) override {
    sent.emplace_back(connection, message.flatten());
  }
  void close(wire::ConnectionId connection) override { closed.push_back(connection); }
  wire::ConnectionId connect(const wire::Address&) override { return {}; }
  std::deque<std::pair<wire::ConnectionId, ByteVector>> sent;
  std::vector<wire::ConnectionId> closed;
};

struct FakeProgram : wire::RpcProgram {
  void call(wire::RpcCall&& call) override { calls.push_back(std::move(call)); }
  void closed(wire::ConnectionId connection) override { gone.push_back(connection); }
  std::vector<wire::RpcCall> calls;
  std::vector<wire::ConnectionId> gone;
};

struct FakeSink : wire::CallbackSink {
  void reply(wire::ConnectionId connection, const wire::ReplyHeader& reply) override {
    replies.emplace_back(connection, reply.xid, std::string(text_of(reply.results)));
  }
  std::vector<std::tuple<wire::ConnectionId, uint32_t, std::string>> replies;
};

struct RpcFrontTest : ::testing::Test {
  RpcFrontTest() {
    front.add_program(nfs, 3, 3, 22, v3);
    front.add_program(nfs, 4, 4, 2, v4);
    front.add_program(100005, 1, 3, 6, v3);
    front.attach(transport);
  }
  void receive(const wire::XdrEncoder& message) {
    wire::Request request;
    request.chunk = wire::make_chunk(message.size(), nullptr);
    const ByteVector bytes = message.flatten();
    std::memcpy(request.chunk.data(), bytes.data(), bytes.size());
    request.message = {request.chunk.data(), bytes.size()};
    request.connection = connection;
    request.peer = {.port = 777};
    front.handle(std::move(request));
  }
  void call(uint32_t program, uint32_t version, uint32_t procedure) {
    wire::XdrEncoder message;
    wire::begin_call(message, 99, program, version, procedure, {wire::AuthFlavor::AUTH_SYS, 5, 6, {7}});
    message.put_raw(bytes_of("arguments..."));
    receive(message);
  }
  ByteVector answer() {
    if (transport.sent.size() != 1) return {};
    EXPECT_EQ(transport.sent[0].first, connection);
    ByteVector bytes = transport.sent[0].second;
    transport.sent.clear();
    return bytes;
  }

  const wire::ConnectionId connection{42};
  FakeTransport transport;
  FakeProgram v3, v4;
  FakeSink sink;
  RpcFront front;
};

TEST_F(RpcFrontTest, HandsCallsToTheirProgram) {
  call(nfs, 4, 1);
  ASSERT_EQ(v4.calls.size(), 1U);
  const wire::RpcCall& got = v4.calls[0];
  EXPECT_EQ(got.xid, 99U);
  EXPECT_EQ(got.program, nfs);
  EXPECT_EQ(got.version, 4U);
  EXPECT_EQ(got.procedure, 1U);
  EXPECT_EQ(got.credential.uid, 5U);
  EXPECT_EQ(got.connection, connection);
  EXPECT_EQ(got.peer.port, 777);
  EXPECT_EQ(text_of(got.arguments), "arguments...");
  call(nfs, 3, 21);
  EXPECT_EQ(v3.calls.size(), 1U);
  EXPECT_TRUE(transport.sent.empty());
}

TEST_F(RpcFrontTest, AnswersNullItself) {
  call(nfs, 4, 0);
  EXPECT_TRUE(v4.calls.empty());
  wire::Reply expected;
  wire::begin_reply(expected, 99);
  EXPECT_EQ(answer(), expected.flatten());
}

TEST_F(RpcFrontTest, AnswersRpcErrorsItself) {
  call(200000, 4, 0);
  EXPECT_EQ(answer(), wire::error_reply(99, wire::AcceptStat::PROG_UNAVAIL).flatten());
  call(nfs, 2, 0);
  EXPECT_EQ(answer(), wire::program_mismatch_reply(99, 3, 4).flatten());
  call(nfs, 5, 0);
  EXPECT_EQ(answer(), wire::program_mismatch_reply(99, 3, 4).flatten());
  call(nfs, 4, 2);
  EXPECT_EQ(answer(), wire::error_reply(99, wire::AcceptStat::PROC_UNAVAIL).flatten());

  wire::XdrEncoder bad_version;
  for (const uint32_t value : {99U, 0U, 3U, nfs, 4U, 0U, 0U, 0U, 0U, 0U}) bad_version.put_u32(value);
  receive(bad_version);
  EXPECT_EQ(answer(), wire::rpc_mismatch_reply(99).flatten());

  wire::XdrEncoder gss;
  for (const uint32_t value : {99U, 0U, 2U, nfs, 4U, 0U, 6U, 0U, 0U, 0U}) gss.put_u32(value);
  receive(gss);
  EXPECT_EQ(answer(), wire::auth_error_reply(99, wire::AuthStat::AUTH_REJECTEDCRED).flatten());
  EXPECT_TRUE(transport.closed.empty());
}

TEST_F(RpcFrontTest, GarbageClosesTheConnection) {
  wire::XdrEncoder neither;
  for (const uint32_t value : {99U, 2U, 2U, nfs, 4U, 0U}) neither.put_u32(value);
  receive(neither);
  wire::XdrEncoder truncated;
  for (const uint32_t value : {99U, 0U, 2U, nfs}) truncated.put_u32(value);
  receive(truncated);
  wire::XdrEncoder tiny;
  tiny.put_u32(1);
  receive(tiny);
  EXPECT_EQ(transport.closed, std::vector<wire::ConnectionId>(3, connection));
  EXPECT_TRUE(transport.sent.empty());
}

TEST_F(RpcFrontTest, RepliesGoToTheCallbackSink) {
  wire::Reply reply;
  wire::begin_reply(reply, 7);
  reply.put_raw(bytes_of("done"));
  receive(reply);
  EXPECT_EQ(transport.closed.size(), 1U) << "nobody has called anybody";
  front.set_callback_sink(sink);
  receive(reply);
  ASSERT_EQ(sink.replies.size(), 1U);
  EXPECT_EQ(sink.replies[0], std::tuple(connection, 7U, std::string("done")));
  reply.truncate(12);
  receive(reply);
  EXPECT_EQ(transport.closed.size(), 2U) << "a truncated reply";
  EXPECT_EQ(sink.replies.size(), 1U);
}

TEST_F(RpcFrontTest, EachHandlerHearsOnceThatAConnectionIsGone) {
  front.closed(connection);
  EXPECT_EQ(v3.gone, std::vector{connection});
  EXPECT_EQ(v4.gone, std::vector{connection});
}

}  // namespace
}  // namespace perdure::server
