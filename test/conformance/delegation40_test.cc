// Delegations of NFSv4.0 (RFC 7530 §10.4): the server makes the connection over which it calls its client.
#include "conformance/conformance.h"

namespace perdure::conformance {
namespace {

class Delegations40 : public Conformance {
 public:
  static constexpr uint32_t callback_program = 0x40000000, callback_ident = 7, cb_getattr = 3, cb_recall = 4,
                            change_and_size = 1U << 3U | 1U << 4U;
  static constexpr uint32_t read_access = 1, both = 3;
  static constexpr std::chrono::seconds pause_of_links{5}, lease{90};

  static Ops setclientid(std::string_view callback, uint64_t verifier) {
    return Ops(0)
        .op(OP_SETCLIENTID)
        .u64(verifier)
        .text("alice")
        .u32(callback_program)
        .text("tcp")
        .text(callback)
        .u32(callback_ident);
  }
  void SetUp() override {
    Conformance::SetUp();
    server.peer.ip = {192, 0, 2, 1};
    bob.connect();
    const Client::Opened file = bob.create_file("f");
    bob.ok(bob.seq().fh(file.handle).close(file.stateid));
  }
  uint64_t name_client(std::string_view callback = "192.0.2.1.8.1", uint64_t verifier = 1) {
    const Reply reply = expect(NFS4_OK, setclientid(callback, verifier));
    wire::XdrDecoder in = reply.in(OP_SETCLIENTID);
    const uint64_t client = in.get_u64(), confirm = in.get_u64();
    expect(NFS4_OK, Ops(0).op(OP_SETCLIENTID_CONFIRM).u64(client).u64(confirm));
    return client;
  }
  // It can be called: CB_NULL is answered.
  void connect() {
    alice = name_client();
    answer_null();
  }
  void answer_null() {
    ASSERT_FALSE(server.callbacks.empty());
    ASSERT_EQ(server.callbacks.back().procedure, 0U);
    server.answer(server.callbacks.back(), {});
  }
  struct Opened {
    Stateid open, delegation;
    ByteVector handle;
    uint32_t type = 0;  // of the delegation: 0 none, 1 read, 2 write
  };
  Opened open(uint32_t access) {
    OpenCall call{.name = "f", .access = access};
    call.seqid = seqid_++;
    call.client = alice;
    const Reply reply = expect(NFS4_OK, Ops(0).root().open(call).getfh());
    Opened o{.open = stateid_of(reply, OP_OPEN), .delegation = {}, .handle = handle_of(reply)};
    wire::XdrDecoder in = reply.in(OP_OPEN);
    in.get_opaque_fixed(16 + 20 + 4);
    for (uint32_t words = in.get_u32(); words > 0; --words) in.get_u32();
    o.type = in.get_u32();
    if (o.type != 0) {
      const Bytes delegation = in.get_opaque_fixed(16);
      o.delegation.assign(delegation.begin(), delegation.end());
    }
    return o;
  }
  // Of an owner that is confirmed.
  Opened open_confirmed(uint32_t access) {
    const Opened first = open(read_access);
    EXPECT_EQ(first.type, 0U) << "whoever is not confirmed gets none";
    const Reply confirmed =
        expect(NFS4_OK, Ops(0).fh(first.handle).op(OP_OPEN_CONFIRM).fixed(first.open).u32(seqid_++));
    close(first.handle, stateid_of(confirmed, OP_OPEN_CONFIRM));
    return open(access);
  }
  void close(Bytes handle, const Stateid& stateid) {
    expect(NFS4_OK, Ops(0).fh(handle).op(OP_CLOSE).u32(seqid_++).fixed(stateid));
  }
  Ops give_back(const Opened& o) { return Ops(0).fh(o.handle).op(OP_DELEGRETURN).fixed(o.delegation); }
  Ops renew() { return Ops(0).op(OP_RENEW).u64(alice); }
  // Bob is in the way.
  uint32_t write_as_bob(Bytes handle) {
    const Stateid anonymous(16);
    const uint32_t xid = server.send(bob.seq(2).fh(handle).write(anonymous, 0, "data").finish(), bob.uid());
    server.env.run_until_idle();
    EXPECT_FALSE(server.replied(xid));
    return xid;
  }
  Nfsstat4 status_of(uint32_t xid) {
    EXPECT_TRUE(server.pump_until([&] { return server.replied(xid); }));
    return server.await(xid).status();
  }
  // The last call is a CB_RECALL of this delegation.
  void expect_recall(const Opened& o) {
    ASSERT_FALSE(server.callbacks.empty());
    ASSERT_EQ(server.callbacks.back().procedure, 1U);
    wire::XdrDecoder in(server.callbacks.back().arguments);
    in.get_opaque(1024);
    EXPECT_EQ(in.get_u32(), 0U);
    EXPECT_EQ(in.get_u32(), callback_ident);
    EXPECT_EQ(in.get_u32(), 1U);
    EXPECT_EQ(in.get_u32(), cb_recall);
    EXPECT_TRUE(std::ranges::equal(in.get_opaque_fixed(16), o.delegation));
    in.get_bool();
    EXPECT_TRUE(std::ranges::equal(in.get_opaque(128), o.handle));
    EXPECT_TRUE(in.finished());
  }
  // A CB_GETATTR of change and size.
  void expect_asked(const Opened& o) {
    ASSERT_FALSE(server.callbacks.empty());
    wire::XdrDecoder in(server.callbacks.back().arguments);
    in.get_opaque(1024);
    in.get_u32();
    in.get_u32();
    EXPECT_EQ(in.get_u32(), 1U);
    EXPECT_EQ(in.get_u32(), cb_getattr);
    EXPECT_TRUE(std::ranges::equal(in.get_opaque(128), o.handle));
    EXPECT_EQ(in.get_u32(), 1U);
    EXPECT_EQ(in.get_u32(), change_and_size);
    EXPECT_TRUE(in.finished());
  }
  void answer_call(uint32_t operation, Nfsstat4 status, Bytes result = {}) {
    wire::XdrEncoder out;
    out.put_u32(static_cast<uint32_t>(status));
    out.put_u32(0);
    out.put_u32(1);
    out.put_u32(operation);
    out.put_u32(static_cast<uint32_t>(status));
    out.put_raw(result);
    server.answer(server.callbacks.back(), out.flatten());
  }
  void answer_recall(Nfsstat4 status = NFS4_OK) { answer_call(cb_recall, status); }

  uint64_t alice = 0;
  Client bob{*this, "bob"};

 private:
  uint32_t seqid_ = 0;
};

TEST_F(Delegations40, AreRecalledOverAConnectionOfTheServers) {
  connect();
  ASSERT_EQ(server.made.size(), 1U);
  EXPECT_EQ(wire::to_string(server.made.begin()->second), "192.0.2.1:2049");
  const Opened o = open_confirmed(both);
  EXPECT_EQ(o.type, 2U);
  const uint32_t xid = write_as_bob(o.handle);
  expect_recall(o);
  answer_recall();
  EXPECT_FALSE(server.replied(xid));
  expect(NFS4_OK, give_back(o));
  EXPECT_EQ(status_of(xid), NFS4_OK);
  EXPECT_EQ(server.made.size(), 1U) << "one connection is enough";
}

TEST_F(Delegations40, NoneForWhoeverCannotBeCalled) {
  alice = name_client();
  EXPECT_EQ(open_confirmed(read_access).type, 0U) << "CB_NULL is not answered yet";
}

TEST_F(Delegations40, NobodySendsTheServerToSomebodyElse) {
  alice = name_client("192.0.2.2.8.1");
  EXPECT_TRUE(server.made.empty());
  alice = name_client("nowhere", 2);
  EXPECT_TRUE(server.made.empty());
  EXPECT_EQ(open_confirmed(read_access).type, 0U);
}

// As Linux returns one.
TEST_F(Delegations40, AGetattrInFrontOfItsReturnDoesNotWait) {
  connect();
  const Opened o = open_confirmed(both);
  EXPECT_EQ(o.type, 2U);
  expect(NFS4_OK, Ops(0)
                      .fh(o.handle)
                      .getattr({Attribute::size, Attribute::change})
                      .op(OP_DELEGRETURN)
                      .fixed(o.delegation));
  EXPECT_EQ(server.callbacks.size(), 1U) << "CB_NULL";
}

// From somewhere else it may be anybody's. That client is asked first.
TEST_F(Delegations40, ANamelessGetattrFromElsewhereRecalls) {
  connect();
  const Opened o = open_confirmed(both);
  server.peer.ip[3] = 77;
  const uint32_t xid =
      server.send(Ops(0).fh(o.handle).getattr({Attribute::size, Attribute::change}).finish());
  server.env.run_until_idle();
  expect_asked(o);
  answer_call(cb_getattr, NFS4ERR_NOTSUPP);
  server.env.run_until_idle();
  expect_recall(o);
  server.peer.ip[3] = 1;
  expect(NFS4_OK, give_back(o));
  EXPECT_EQ(status_of(xid), NFS4_OK);
}

TEST_F(Delegations40, IsAskedWhatItHasChanged) {
  connect();
  const Opened o = open_confirmed(both);
  const auto seen_by_bob = [&](uint32_t slot) {
    return server.send(bob.seq(slot).fh(o.handle).getattr({Attribute::change, Attribute::size}).finish(),
                       bob.uid());
  };
  const uint32_t xid = seen_by_bob(2);
  server.env.run_until_idle();
  expect_asked(o);
  // The connection is made again, and it is asked over the new one.
  server.lose(server.callbacks.back().connection);
  answer_null();
  server.env.run_until_idle();
  expect_asked(o);
  wire::XdrEncoder out;
  for (const uint32_t value : {1U, change_and_size, 16U}) out.put_u32(value);
  out.put_u64(1);
  out.put_u64(777);
  answer_call(cb_getattr, NFS4_OK, out.flatten());
  EXPECT_EQ(status_of(xid), NFS4_OK);
  expect(NFS4_OK, give_back(o));
}

// The connection is made again, and the recall goes on over the new one.
TEST_F(Delegations40, ARecallOutlivesItsConnection) {
  connect();
  const Opened o = open_confirmed(read_access);
  EXPECT_EQ(o.type, 1U);
  const uint32_t xid = write_as_bob(o.handle);
  expect_recall(o);
  server.lose(server.callbacks.back().connection);
  answer_null();
  expect_recall(o);
  expect(NFS4_OK, give_back(o));
  EXPECT_EQ(status_of(xid), NFS4_OK);
}

TEST_F(Delegations40, ARecallGoesOnAfterACrash) {
  connect();
  const Opened o = open_confirmed(read_access);
  const uint32_t xid = write_as_bob(o.handle);
  expect_recall(o);
  server.callbacks.clear();
  restart();
  EXPECT_TRUE(server.pump_until([&] { return !server.callbacks.empty(); }));
  answer_null();
  expect_recall(o);
  expect(NFS4_OK, give_back(o));
  const uint32_t again =
      server.send(bob.seq_again(2).fh(o.handle).write(Stateid(16), 0, "data").finish(), bob.uid(), xid);
  EXPECT_EQ(status_of(again), NFS4_OK);
}

// RFC 7530 §16.28.4, §10.2.1.
TEST_F(Delegations40, RenewTellsThatThereIsNoWay) {
  connect();
  const Opened o = open_confirmed(read_access);
  expect(NFS4_OK, renew());
  server.refuses = true;
  server.lose(server.made.begin()->first);
  expect(NFS4ERR_CB_PATH_DOWN, renew());
  server.refuses = false;
  pass(pause_of_links);
  expect(NFS4ERR_CB_PATH_DOWN, renew());
  answer_null();
  expect(NFS4_OK, renew());
  expect(NFS4_OK, give_back(o));
}

TEST_F(Delegations40, WhatIsNotReturnedInTimeIsGone) {
  connect();
  const Opened o = open_confirmed(read_access);
  const uint32_t xid = write_as_bob(o.handle);
  answer_recall();
  pass(lease / 2);
  EXPECT_EQ(status_of(xid), NFS4ERR_DELAY);
  expect(NFS4_OK, renew());
  pass(lease / 2 + std::chrono::seconds(1));
  bob.ok(bob.seq(2).fh(o.handle).write(Stateid(16), 0, "data"));
  expect(NFS4ERR_EXPIRED, give_back(o));
  expect(NFS4_OK, renew());
}

TEST_F(Delegations40, AClientThatMovesIsCalledWhereItIs) {
  connect();
  name_client("192.0.2.1.8.2");
  answer_null();
  ASSERT_EQ(server.made.size(), 1U);
  EXPECT_EQ(wire::to_string(server.made.begin()->second), "192.0.2.1:2050");
  const Opened o = open_confirmed(read_access);
  EXPECT_EQ(o.type, 1U);
}

}  // namespace
}  // namespace perdure::conformance
