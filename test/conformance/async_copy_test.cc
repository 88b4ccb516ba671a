// Asynchronous COPY (RFC 7862 §4.8, §15.2), OFFLOAD_STATUS (§15.9), OFFLOAD_CANCEL (§15.8), CB_OFFLOAD
// (§16.1).
#include "conformance/callbacks.h"

namespace perdure::conformance {
namespace {

constexpr uint64_t block = 4096;
constexpr uint32_t on_disk = 2;

class AsyncCopy : public WithClients {
 public:
  void SetUp() override {
    server.options.nfs.async_shared_bytes_min = 16 * block;
    server.options.nfs.async_moved_bytes_min = 16 * block;
    Conformance::SetUp();
    alice.connect(true, keep_session | with_back_channel);
    bob.connect(true, keep_session | with_back_channel);
    file = alice.create_file("f");
    other = alice.create_file("g");
    for (uint64_t at = 0; at < text.size(); at += 16 * block)
      alice.ok(alice.seq().fh(file.handle).write(file.stateid, at, text.substr(at, 16 * block), on_disk));
  }
  Ops ops(uint64_t from, uint64_t to, uint64_t length, bool synchronous = false) {
    return alice.seq()
        .fh(file.handle)
        .savefh()
        .fh(other.handle)
        .op(OP_COPY)
        .fixed(file.stateid)
        .fixed(other.stateid)
        .u64(from)
        .u64(to)
        .u64(length)
        .u32(1)
        .u32(synchronous ? 1 : 0)
        .u32(0);
  }
  // Gives the stateid of the copy; empty: it was done at once.
  static Stateid copy_of(const Reply& reply) {
    wire::XdrDecoder in = reply.in(OP_COPY);
    Stateid stateid;
    if (in.get_u32() == 1) {
      const Bytes bytes = in.get_opaque_fixed(16);
      stateid.assign(bytes.begin(), bytes.end());
      EXPECT_EQ(in.get_u64(), 0U);
    } else {
      in.get_u64();
    }
    in.get_u32();
    in.get_u64();
    EXPECT_TRUE(in.get_bool());
    EXPECT_EQ(in.get_bool(), stateid.empty());
    return stateid;
  }
  Stateid begin(uint64_t from, uint64_t to, uint64_t length) {
    return copy_of(alice.ok(ops(from, to, length)));
  }
  struct Ended {
    Stateid stateid;
    uint32_t status = 0;
    uint64_t count = 0;
  };
  // What the last call says.
  Ended ended() {
    if (!server.pump_until([&] { return !server.callbacks.empty(); })) ADD_FAILURE() << "nobody calls";
    if (server.callbacks.empty()) return {};
    const CalledBack called = CalledBack::of(server.callbacks.back());
    EXPECT_EQ(called.operation, cb_offload);
    wire::XdrDecoder in(called.arguments);
    const Bytes handle = in.get_opaque(128);
    EXPECT_TRUE(std::ranges::equal(handle, other.handle));
    Ended ended;
    const Bytes stateid = in.get_opaque_fixed(16);
    ended.stateid.assign(stateid.begin(), stateid.end());
    ended.status = in.get_u32();
    if (ended.status == 0) {
      EXPECT_EQ(in.get_u32(), 0U);  // no stateid
    }
    ended.count = in.get_u64();
    if (ended.status == 0) {
      EXPECT_EQ(in.get_u32(), on_disk);
      in.get_u64();
    }
    EXPECT_TRUE(in.finished());
    return ended;
  }
  void expect_copied(uint64_t from, uint64_t to, uint64_t length) {
    for (uint64_t at = 0; at < length; at += 16 * block) {
      const auto count = static_cast<uint32_t>(std::min(length - at, 16 * block));
      const Reply reply = alice.ok(alice.seq().fh(other.handle).read(other.stateid, to + at, count));
      wire::XdrDecoder in = reply.in(OP_READ);
      in.get_bool();
      EXPECT_TRUE(in.get_string(1U << 20U) == std::string_view(text).substr(from + at, count))
          << "from " << at;
    }
  }
  Ops status_ops(Client& client, const Stateid& copy) {
    return client.seq().fh(other.handle).op(OP_OFFLOAD_STATUS).fixed(copy);
  }
  Ops cancel_ops(Client& client, const Stateid& copy) {
    return client.seq().fh(other.handle).op(OP_OFFLOAD_CANCEL).fixed(copy);
  }

  static std::string make_text() {
    std::string made(40 * block + 77, ' ');
    for (size_t i = 0; i < made.size(); ++i) made[i] = static_cast<char>('a' + (i * 7 + i / 4096) % 26);
    return made;
  }
  const std::string text = make_text();
  Client::Opened file, other;
};

TEST_F(AsyncCopy, SharesBlocks) {
  const Stateid copy = begin(0, 0, 0);
  ASSERT_FALSE(copy.empty());
  const Ended end = ended();
  EXPECT_EQ(end.stateid, copy);
  EXPECT_EQ(end.status, 0U);
  EXPECT_EQ(end.count, text.size());
  answer_callback(server, NFS4_OK);
  server.env.run_until_idle();
  expect_copied(0, 0, text.size());
  alice.expect(NFS4ERR_BAD_STATEID, status_ops(alice, copy));
}

TEST_F(AsyncCopy, MovesBytes) {
  const Stateid copy = begin(100, 3, 33 * block);
  ASSERT_FALSE(copy.empty());
  EXPECT_EQ(ended().count, 33 * block);
  const Reply told = alice.ok(status_ops(alice, copy));
  wire::XdrDecoder in = told.in(OP_OFFLOAD_STATUS);
  EXPECT_EQ(in.get_u64(), 33 * block);
  EXPECT_EQ(in.get_u32(), 1U);
  EXPECT_EQ(in.get_u32(), 0U);
  bob.expect(NFS4ERR_BAD_STATEID, status_ops(bob, copy));
  answer_callback(server, NFS4_OK);
  expect_copied(100, 3, 33 * block);
}

TEST_F(AsyncCopy, WhatIsSmallOrMustNotWaitIsDoneAtOnce) {
  EXPECT_TRUE(begin(0, 0, 8 * block).empty());
  EXPECT_TRUE(copy_of(alice.ok(ops(0, 0, 0, true))).empty());
  expect_copied(0, 0, text.size());
  EXPECT_TRUE(server.callbacks.empty());
}

TEST_F(AsyncCopy, ErrorsAreFoundBeforeItBegins) {
  alice.expect(NFS4ERR_INVAL, ops(0, 0, 100 * block));
  EXPECT_TRUE(server.callbacks.empty());
}

TEST_F(AsyncCopy, IsCancelled) {
  const Stateid copy = begin(100, 3, 33 * block);
  bob.expect(NFS4ERR_BAD_STATEID, cancel_ops(bob, copy));
  alice.ok(cancel_ops(alice, copy));
  alice.expect(NFS4ERR_BAD_STATEID, cancel_ops(alice, copy));
  alice.expect(NFS4ERR_BAD_STATEID, status_ops(alice, copy));
}

TEST_F(AsyncCopy, GoesOnAfterARestart) {
  const Stateid copy = begin(100, 3, 33 * block);
  restart();
  alice.expect(NFS4_OK, bind_conn(alice.session(), 3));
  const Ended end = ended();
  EXPECT_EQ(end.stateid, copy);
  EXPECT_EQ(end.count, 33 * block);
  restart();  // it is told again
  alice.expect(NFS4_OK, bind_conn(alice.session(), 3));
  server.callbacks.clear();
  EXPECT_EQ(ended().stateid, copy);
  answer_callback(server, NFS4ERR_RETRY_UNCACHED_REP);
  server.env.run_until_idle();
  alice.expect(NFS4ERR_BAD_STATEID, status_ops(alice, copy));
  expect_copied(100, 3, 33 * block);
}

}  // namespace
}  // namespace perdure::conformance
