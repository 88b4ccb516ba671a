// What a client sees of a CB_COMPOUND of CB_SEQUENCE and another operation, and how it answers (RFC 8881
// §20).
#pragma once

#include "conformance/conformance.h"

namespace perdure::conformance {

constexpr uint32_t keep_session = 1, with_back_channel = 2;  // flags of CREATE_SESSION
constexpr uint32_t cb_getattr = 3, cb_recall = 4, cb_sequence = 11, cb_notify_lock = 13, cb_offload = 15;

struct CalledBack {
  ByteVector session;
  uint32_t seqid = 0;
  uint32_t operation = 0;
  ByteVector arguments;  // of the operation

  static CalledBack of(const server::testing::VserverFixture::Callback& callback) {
    wire::XdrDecoder in(callback.arguments);
    in.get_opaque(1024);
    EXPECT_EQ(in.get_u32(), 2U);  // the minor version of the session
    in.get_u32();
    EXPECT_EQ(in.get_u32(), 2U);
    EXPECT_EQ(in.get_u32(), cb_sequence);
    CalledBack called;
    const Bytes session = in.get_opaque_fixed(16);
    called.session.assign(session.begin(), session.end());
    called.seqid = in.get_u32();
    for (int i = 0; i < 4; ++i) in.get_u32();
    called.operation = in.get_u32();
    const Bytes rest = in.rest();
    called.arguments.assign(rest.begin(), rest.end());
    return called;
  }
};

// To the last call. `result` stands behind the status of the operation.
inline void answer_callback(server::testing::VserverFixture& server, Nfsstat4 sequence,
                            Nfsstat4 operation = NFS4_OK, Bytes result = {}) {
  ASSERT_FALSE(server.callbacks.empty());
  const auto callback = server.callbacks.back();
  const CalledBack called = CalledBack::of(callback);
  wire::XdrEncoder out;
  out.put_u32(static_cast<uint32_t>(sequence != NFS4_OK ? sequence : operation));
  out.put_u32(0);
  out.put_u32(sequence != NFS4_OK ? 1 : 2);
  out.put_u32(cb_sequence);
  out.put_u32(static_cast<uint32_t>(sequence));
  if (sequence == NFS4_OK) {
    out.put_opaque_fixed(called.session);
    for (int i = 0; i < 4; ++i) out.put_u32(0);
    out.put_u32(called.operation);
    out.put_u32(static_cast<uint32_t>(operation));
    out.put_raw(result);
  }
  server.answer(callback, out.flatten());
}

}  // namespace perdure::conformance
