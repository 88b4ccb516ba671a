#include "wire/rpc.h"

#include <gtest/gtest.h>

#include <random>
#include <string>

namespace perdure::wire {
namespace {

// XDR by hand: a number is a unsigned int, a string is raw bytes.
struct Raw {
  std::string bytes;
  Raw& u(uint32_t value) {
    for (int shift = 24; shift >= 0; shift -= 8) bytes.push_back(static_cast<char>(value >> shift));
    return *this;
  }
  Raw& s(std::string_view text) {
    bytes += text;
    return *this;
  }
  Bytes view() const { return bytes_of(bytes); }
};

std::string text(const Reply& reply) {
  return std::string(text_of(reply.flatten()));
}

Raw call_prefix() {
  return Raw().u(0xabcd).u(0).u(2).u(100003).u(4).u(1);
}
Raw sys_body(uint32_t gids) {
  Raw body;
  body.u(99).u(5).s("hosty").s(std::string(3, '\0')).u(1000).u(100).u(gids);
  for (uint32_t i = 0; i < gids; ++i) body.u(i);
  return body;
}
Raw sys_call(const Raw& body) {
  return call_prefix().u(1).u(static_cast<uint32_t>(body.bytes.size())).s(body.bytes).u(0).u(0).s("args");
}

TEST(Rpc, ParsesAuthSys) {
  const Raw message = sys_call(sys_body(16));
  const auto call = parse_call(message.view());
  ASSERT_TRUE(call);
  EXPECT_EQ(call->xid, 0xabcdU);
  EXPECT_EQ(call->program, 100003U);
  EXPECT_EQ(call->version, 4U);
  EXPECT_EQ(call->procedure, 1U);
  EXPECT_EQ(call->credential.flavor, AuthFlavor::AUTH_SYS);
  EXPECT_EQ(call->credential.uid, 1000U);
  EXPECT_EQ(call->credential.gid, 100U);
  ASSERT_EQ(call->credential.gids.size(), 16U);
  EXPECT_EQ(call->credential.gids[15], 15U);
  EXPECT_EQ(text_of(call->arguments), "args");
}

TEST(Rpc, AuthNoneIsNobody) {
  const Raw message = call_prefix().u(0).u(0).u(0).u(0);
  const auto call = parse_call(message.view());
  ASSERT_TRUE(call);
  EXPECT_EQ(call->credential, Credential());
  EXPECT_EQ(call->credential.uid, 65534U);
  EXPECT_EQ(call->credential.gid, 65534U);
  EXPECT_TRUE(call->arguments.empty());
}

TEST(Rpc, EveryTruncationIsAnErrorAndNeverACall) {
  const Raw message = sys_call(sys_body(3));
  for (size_t n = 0; n < message.bytes.size() - 4; ++n) {
    const ByteVector part(message.view().begin(), message.view().begin() + static_cast<ptrdiff_t>(n));
    const auto call = parse_call(part);
    ASSERT_FALSE(call) << n;
    EXPECT_EQ(call.error().kind, n < 24 ? CallError::Kind::not_a_call : CallError::Kind::auth) << n;
  }
}

AuthStat auth_error_of(const Raw& message) {
  const auto call = parse_call(message.view());
  if (call) return AuthStat::AUTH_OK;
  EXPECT_EQ(call.error().kind, CallError::Kind::auth);
  EXPECT_EQ(call.error().xid, 0xabcdU);
  return call.error().auth;
}

TEST(Rpc, BadCredentials) {
  EXPECT_EQ(auth_error_of(sys_call(sys_body(17))), AuthStat::AUTH_BADCRED) << "more than 16 groups";
  EXPECT_EQ(auth_error_of(sys_call(sys_body(2).u(0))), AuthStat::AUTH_BADCRED) << "bytes behind it";
  EXPECT_EQ(auth_error_of(call_prefix().u(1).u(401).s(std::string(404, 'x')).u(0).u(0)),
            AuthStat::AUTH_BADCRED);
  Raw long_name;
  long_name.u(0).u(256).s(std::string(256, 'n')).u(1).u(1).u(0);
  EXPECT_EQ(auth_error_of(sys_call(long_name)), AuthStat::AUTH_BADCRED);
  Raw longest_name;
  longest_name.u(0).u(255).s(std::string(256, 'n')).u(1).u(1).u(0);
  EXPECT_EQ(auth_error_of(sys_call(longest_name)), AuthStat::AUTH_OK);
  EXPECT_EQ(auth_error_of(call_prefix().u(0).u(4).u(0).u(0).u(0)), AuthStat::AUTH_BADCRED)
      << "AUTH_NONE with a body";
  EXPECT_EQ(auth_error_of(call_prefix().u(2).u(4).u(0).u(0).u(0)), AuthStat::AUTH_REJECTEDCRED)
      << "AUTH_SHORT";
  EXPECT_EQ(auth_error_of(call_prefix().u(6).u(0).u(0).u(0)), AuthStat::AUTH_REJECTEDCRED) << "RPCSEC_GSS";
  EXPECT_EQ(auth_error_of(call_prefix().u(7).u(0).u(0).u(0)), AuthStat::AUTH_BADCRED) << "AUTH_TLS";
  EXPECT_EQ(auth_error_of(call_prefix().u(3).u(0).u(0).u(0)), AuthStat::AUTH_BADCRED) << "AUTH_DH";
  EXPECT_EQ(auth_error_of(call_prefix().u(1000).u(0).u(0).u(0)), AuthStat::AUTH_BADCRED) << "unknown";
  EXPECT_EQ(auth_error_of(call_prefix().u(0).u(0).u(1).u(0)), AuthStat::AUTH_BADVERF);
  EXPECT_EQ(auth_error_of(call_prefix().u(0).u(0).u(0).u(4).u(0)), AuthStat::AUTH_BADVERF);
}

TEST(Rpc, WhatIsNoCallIsNotAnswered) {
  const Raw reply = Raw().u(1).u(1).u(0).u(0).u(0).u(0);
  EXPECT_EQ(parse_call(reply.view()).error().kind, CallError::Kind::not_a_call);
  const Raw neither = Raw().u(1).u(2).u(2).u(0).u(0).u(0);
  EXPECT_EQ(parse_call(neither.view()).error().kind, CallError::Kind::not_a_call);
  EXPECT_EQ(message_type(neither.view()), std::nullopt);
  EXPECT_EQ(message_type(reply.view()), MessageType::REPLY);
  EXPECT_EQ(message_type(call_prefix().view()), MessageType::CALL);
  EXPECT_EQ(message_type(reply.view().first(7)), std::nullopt);
}

// Under the sanitizers: whatever comes, nothing outside the message is read, and what is parsed lies inside.
TEST(Rpc, ChangedBytesNeverLeaveTheMessage) {
  std::mt19937 random(1);
  Reply reply;
  begin_reply(reply, 1);
  reply.put_raw(bytes_of("rest"));
  const Raw call_bytes = sys_call(sys_body(3));
  const ByteVector originals[] = {ByteVector(call_bytes.view().begin(), call_bytes.view().end()),
                                  reply.flatten()};
  for (int round = 0; round < 20'000; ++round) {
    ByteVector message = originals[round % 2];
    for (size_t changes = 1 + random() % 4; changes > 0; --changes)
      message[random() % message.size()] = static_cast<std::byte>(random() % 3 == 0 ? 0xff : random() % 20);
    message.resize(random() % 2 == 0 ? message.size() : random() % (message.size() + 1));
    message.shrink_to_fit();
    const auto inside = [&](Bytes part) {
      return part.empty() ||
             (part.data() >= message.data() && part.data() + part.size() <= message.data() + message.size());
    };
    if (const auto call = parse_call(message)) {
      EXPECT_TRUE(inside(call->arguments));
      EXPECT_LE(call->credential.gids.size(), auth_sys_gids_max);
    }
    if (const auto parsed = parse_reply(message)) {
      EXPECT_TRUE(inside(parsed->results));
    }
  }
}

TEST(Rpc, ErrorRepliesAsBytes) {
  const Raw version3 = Raw().u(7).u(0).u(3).u(100003).u(4).u(1);
  const auto mismatch = parse_call(version3.view());
  ASSERT_FALSE(mismatch);
  EXPECT_EQ(text(error_reply(mismatch.error())), Raw().u(7).u(1).u(1).u(0).u(2).u(2).bytes);

  const auto tls = parse_call(call_prefix().u(7).u(0).u(0).u(0).view());
  EXPECT_EQ(text(error_reply(tls.error())), Raw().u(0xabcd).u(1).u(1).u(1).u(1).bytes);
  EXPECT_EQ(text(auth_error_reply(7, AuthStat::AUTH_TOOWEAK)), Raw().u(7).u(1).u(1).u(1).u(5).bytes);

  EXPECT_EQ(text(error_reply(7, AcceptStat::PROG_UNAVAIL)), Raw().u(7).u(1).u(0).u(0).u(0).u(1).bytes);
  EXPECT_EQ(text(program_mismatch_reply(7, 3, 4)), Raw().u(7).u(1).u(0).u(0).u(0).u(2).u(3).u(4).bytes);
  EXPECT_EQ(text(error_reply(7, AcceptStat::PROC_UNAVAIL)), Raw().u(7).u(1).u(0).u(0).u(0).u(3).bytes);
  EXPECT_EQ(text(error_reply(7, AcceptStat::GARBAGE_ARGS)), Raw().u(7).u(1).u(0).u(0).u(0).u(4).bytes);
  EXPECT_EQ(text(error_reply(7, AcceptStat::SYSTEM_ERR)), Raw().u(7).u(1).u(0).u(0).u(0).u(5).bytes);
}

TEST(Rpc, SuccessReplyAsBytes) {
  Reply reply;
  begin_reply(reply, 7);
  EXPECT_EQ(reply.size(), reply_header_bytes);
  EXPECT_EQ(text(reply), Raw().u(7).u(1).u(0).u(0).u(0).u(0).bytes);
}

TEST(Rpc, CallsAsBytes) {
  XdrEncoder none;
  begin_call(none, 9, 0x40000000, 1, 1, Credential());
  EXPECT_EQ(text(none), Raw().u(9).u(0).u(2).u(0x40000000).u(1).u(1).u(0).u(0).u(0).u(0).bytes);

  XdrEncoder sys;
  const Credential credential{AuthFlavor::AUTH_SYS, 1, 2, {3, 4}};
  begin_call(sys, 9, 0x40000000, 1, 1, credential, "me");
  sys.put_u32(5);
  const Raw expected = Raw()
                           .u(9)
                           .u(0)
                           .u(2)
                           .u(0x40000000)
                           .u(1)
                           .u(1)
                           .u(1)
                           .u(32)
                           .u(0)
                           .u(2)
                           .s("me")
                           .s({"\0\0", 2})
                           .u(1)
                           .u(2)
                           .u(2)
                           .u(3)
                           .u(4)
                           .u(0)
                           .u(0)
                           .u(5);
  EXPECT_EQ(text(sys), expected.bytes);
  const auto parsed = parse_call(expected.view());
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->credential, credential);
}

TEST(Rpc, ParsesReplies) {
  const Raw success = Raw().u(7).u(1).u(0).u(0).u(0).u(0).s("rest");
  const auto ok = parse_reply(success.view());
  ASSERT_TRUE(ok);
  EXPECT_TRUE(ok->success());
  EXPECT_EQ(ok->xid, 7U);
  EXPECT_EQ(text_of(ok->results), "rest");

  const auto parsed = [](const Reply& reply) { return parse_reply(reply.flatten()); };
  EXPECT_EQ(parsed(error_reply(7, AcceptStat::GARBAGE_ARGS))->stat, AcceptStat::GARBAGE_ARGS);
  EXPECT_FALSE(parsed(error_reply(7, AcceptStat::GARBAGE_ARGS))->success());
  EXPECT_EQ(parsed(program_mismatch_reply(7, 1, 2))->stat, AcceptStat::PROG_MISMATCH);
  EXPECT_TRUE(parsed(rpc_mismatch_reply(7))->denied);
  EXPECT_EQ(parsed(rpc_mismatch_reply(7))->auth, AuthStat::AUTH_OK);
  EXPECT_EQ(parsed(auth_error_reply(7, AuthStat::AUTH_TOOWEAK))->auth, AuthStat::AUTH_TOOWEAK);
  EXPECT_FALSE(parsed(auth_error_reply(7, AuthStat::AUTH_TOOWEAK))->success());
}

TEST(Rpc, EveryTruncatedReplyIsRefused) {
  Reply replies[4];
  begin_reply(replies[0], 1);
  replies[1] = program_mismatch_reply(1, 2, 3);
  replies[2] = rpc_mismatch_reply(1);
  replies[3] = auth_error_reply(1, AuthStat::AUTH_FAILED);
  for (const Reply& reply : replies) {
    const ByteVector whole = reply.flatten();
    EXPECT_TRUE(parse_reply(whole));
    for (size_t n = 0; n < whole.size(); ++n)
      EXPECT_FALSE(parse_reply(ByteVector(whole.begin(), whole.begin() + static_cast<ptrdiff_t>(n)))) << n;
  }
  for (const auto& bad : {Raw().u(1).u(0).u(0).u(0).u(0).u(0), Raw().u(1).u(1).u(2).u(0).u(0).u(0),
                          Raw().u(1).u(1).u(0).u(0).u(0).u(6), Raw().u(1).u(1).u(1).u(2).u(1).u(1),
                          Raw().u(1).u(1).u(1).u(1).u(0)})
    EXPECT_FALSE(parse_reply(bad.view()));
}

}  // namespace
}  // namespace perdure::wire
