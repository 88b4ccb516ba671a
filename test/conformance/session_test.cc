// CREATE_SESSION (RFC 8881 §18.36), DESTROY_SESSION (§18.37), BIND_CONN_TO_SESSION (§18.34), BACKCHANNEL_CTL
// (§18.33), RECLAIM_COMPLETE (§18.51).
#include "conformance/conformance.h"

namespace perdure::conformance {
namespace {

constexpr uint32_t persist = 1, back_channel = 2, rdma = 4;

class CreateSession : public Conformance {
 public:
  void SetUp() override {
    Conformance::SetUp();
    client = exchanged_of(expect(NFS4_OK, exchange_id(1, "owner")));
  }
  SessionCreated create(uint32_t seqid, const ChannelAttributes& fore = {},
                        const ChannelAttributes& back = {}) {
    return created_of(expect(NFS4_OK, create_session(client.client, seqid, persist, fore, back)));
  }
  Exchanged client;
};

TEST_F(CreateSession, GivesAPersistentSession) {
  const SessionCreated created = create(client.seqid);
  EXPECT_EQ(created.seqid, client.seqid);
  EXPECT_EQ(created.flags, persist);
  EXPECT_EQ(created.fore.slots, session_slots);
  EXPECT_EQ(created.fore.operations, 64U);
  expect(NFS4_OK, Ops().sequence(created.id, 1, 0, 0, false).root());
}

TEST_F(CreateSession, WhatIsNotAskedForIsNotGranted) {
  const Reply reply = expect(NFS4_OK, create_session(client.client, client.seqid, 0));
  EXPECT_EQ(created_of(reply).flags, 0U);
  const Reply second = expect(NFS4_OK, create_session(client.client, client.seqid + 1, rdma));
  EXPECT_EQ(created_of(second).flags, 0U) << "there is no RDMA here";
}

TEST_F(CreateSession, ARepetitionGetsTheSameReply) {
  const Reply first = expect(NFS4_OK, create_session(client.client, client.seqid));
  EXPECT_EQ(expect(NFS4_OK, create_session(client.client, client.seqid)).bytes, first.bytes);
  restart();
  EXPECT_EQ(expect(NFS4_OK, create_session(client.client, client.seqid)).bytes, first.bytes);
  const SessionCreated second = create(client.seqid + 1);
  EXPECT_NE(second.id, created_of(first).id);
  expect(NFS4_OK, Ops().sequence(second.id, 1, 0, 0, false).root());
  expect(NFS4_OK, Ops().sequence(created_of(first).id, 1, 0, 0, false).root());
}

TEST_F(CreateSession, MisorderedRequestsAreRefused) {
  for (const uint32_t seqid : {client.seqid - 1, client.seqid + 1, client.seqid + 100, client.seqid - 100})
    expect(NFS4ERR_SEQ_MISORDERED, create_session(client.client, seqid));
  create(client.seqid);
  expect(NFS4ERR_SEQ_MISORDERED, create_session(client.client, client.seqid - 1));
  expect(NFS4ERR_SEQ_MISORDERED, create_session(client.client, client.seqid + 2));
}

TEST_F(CreateSession, UnknownClients) {
  expect(NFS4ERR_STALE_CLIENTID, create_session(0, 1));
  expect(NFS4ERR_STALE_CLIENTID, create_session(client.client + 1, client.seqid));
}

TEST_F(CreateSession, AnotherPrincipalCannotConfirm) {
  expect(NFS4ERR_CLID_INUSE, create_session(client.client, client.seqid), 1000);
  create(client.seqid);
}

TEST_F(CreateSession, UnknownFlagsAreInvalid) {
  expect(NFS4ERR_INVAL, create_session(client.client, client.seqid, 8));
  expect(NFS4ERR_INVAL, create_session(client.client, client.seqid + 1, 0x80000000));
  create(client.seqid + 2);
}

// RFC 8881 §18.36.4: its sequence id is used up, and its result is what a repetition gets.
TEST_F(CreateSession, AnErrorIsCached) {
  const Ops bad = create_session(client.client, client.seqid, 0, {.request_max = 20});
  const Reply refused = expect(NFS4ERR_TOOSMALL, bad);
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(expect(NFS4ERR_TOOSMALL, bad).bytes, refused.bytes);
    restart();
  }
  expect(NFS4ERR_SEQ_MISORDERED, create_session(client.client, client.seqid + 2));
  EXPECT_FALSE(exchanged_of(expect(NFS4_OK, exchange_id(1, "owner"))).flags & Exchanged::confirmed)
      << "no session, so not confirmed";
  client = exchanged_of(expect(NFS4_OK, exchange_id(1, "owner")));
  const SessionCreated session = create(client.seqid);
  expect(NFS4ERR_TOOSMALL, create_session(client.client, client.seqid + 1, 0, {.response_max = 20}));
  EXPECT_EQ(exchanged_of(expect(NFS4_OK, exchange_id(1, "owner"))).seqid, client.seqid + 2);
  create(client.seqid + 2);
  expect(NFS4_OK, Ops().sequence(session.id, 1, 0, 0, false).root());
}

// Behind SEQUENCE the slots of both keep it.
TEST_F(CreateSession, AnErrorIsCachedBehindSequenceToo) {
  const ByteVector session = create(client.seqid).id;
  const auto behind = [&](uint32_t slot, uint32_t flags) {
    Ops ops;
    ops.sequence(session, 1, slot, slot, false).op(OP_CREATE_SESSION).u64(client.client);
    ops.u32(client.seqid + 1).u32(flags);
    for (int channel = 0; channel < 2; ++channel)
      ops.u32(0).u32(100000).u32(100000).u32(1000).u32(16).u32(4).u32(0);
    return ops.u32(1).u32(0);
  };
  const Reply refused = expect(NFS4ERR_INVAL, behind(0, 8));
  EXPECT_EQ(expect(NFS4ERR_INVAL, behind(0, 8)).bytes, refused.bytes);
  expect(NFS4ERR_INVAL, behind(1, 8));
  create(client.seqid + 2);
}

// Clients disagree on whether an error uses up a sequence id.
TEST_F(CreateSession, WhoWasRefusedMayAskForSomethingElseUnderTheSameSequenceId) {
  expect(NFS4ERR_TOOSMALL, create_session(client.client, client.seqid, 0, {.request_max = 20}));
  restart();
  const Reply created = expect(NFS4_OK, create_session(client.client, client.seqid));
  EXPECT_EQ(expect(NFS4_OK, create_session(client.client, client.seqid)).bytes, created.bytes);
  create(client.seqid + 1);
}

TEST_F(CreateSession, ChannelsThatAreTooSmall) {
  expect(NFS4ERR_TOOSMALL, create_session(client.client, client.seqid, 0, {.request_max = 20}));
  expect(NFS4ERR_TOOSMALL, create_session(client.client, client.seqid + 1, 0, {.response_max = 20}));
  expect(NFS4ERR_TOOSMALL, create_session(client.client, client.seqid + 2, 0, {.response_max = 0}));
}

TEST_F(CreateSession, LimitsAreLoweredAndNeverRaised) {
  constexpr uint32_t much = UINT32_MAX;
  const SessionCreated big = create(
      client.seqid,
      {.request_max = much, .response_max = much, .cached_max = much, .operations = much, .slots = much});
  EXPECT_LT(big.fore.request_max, 16U << 20U);
  EXPECT_LT(big.fore.response_max, 16U << 20U);
  EXPECT_LE(big.fore.cached_max, big.fore.response_max);
  EXPECT_LE(big.fore.operations, 1024U);
  EXPECT_LE(big.fore.slots, 1024U);
  const SessionCreated small =
      create(client.seqid + 1,
             {.request_max = 1000, .response_max = 2000, .cached_max = 500, .operations = 3, .slots = 1});
  EXPECT_EQ(small.fore.request_max, 1000U);
  EXPECT_EQ(small.fore.response_max, 2000U);
  EXPECT_EQ(small.fore.cached_max, 500U);
  EXPECT_EQ(small.fore.operations, 3U);
  EXPECT_EQ(small.fore.slots, 1U);
  EXPECT_EQ(small.fore.header_pad, 0U);
}

TEST_F(CreateSession, AnRdmaDepthIsAtMostOne) {
  const auto with_depths = [&](uint32_t count) {
    Ops ops;
    ops.op(OP_CREATE_SESSION).u64(client.client).u32(client.seqid).u32(0);
    for (int channel = 0; channel < 2; ++channel) {
      ops.u32(0).u32(100000).u32(100000).u32(1000).u32(16).u32(4).u32(count);
      for (uint32_t i = 0; i < count; ++i) ops.u32(8);
    }
    return ops.u32(0x40000000).u32(0);
  };
  expect(NFS4ERR_BADXDR, with_depths(2));
  expect(NFS4_OK, with_depths(1));
}

TEST_F(CreateSession, CallbackSecurityOfEachKind) {
  const auto with_security = [&](uint32_t seqid) {
    Ops ops = create_session(client.client, seqid);
    ByteVector bytes = ops.finish();
    return bytes;
  };
  // The last word is the number of callback_sec_parms4.
  const auto call_with = [&](uint32_t seqid, const Ops& security) {
    ByteVector bytes = with_security(seqid);
    bytes.resize(bytes.size() - 4);
    const ByteVector more = security.finish();
    bytes.insert(bytes.end(), more.begin() + 12, more.end());
    const std::optional<Reply> reply = send(bytes);
    EXPECT_TRUE(reply.has_value());
    return reply ? reply->status : NFS4ERR_SERVERFAULT;
  };
  EXPECT_EQ(call_with(client.seqid, Ops().u32(1).u32(0)), NFS4_OK);
  EXPECT_EQ(call_with(client.seqid + 1, Ops().u32(1).u32(1).u32(7).text("host").u32(0).u32(0).u32(1).u32(5)),
            NFS4_OK);
  EXPECT_EQ(call_with(client.seqid + 2, Ops().u32(1).u32(6).u32(1).text("aa").text("bb")), NFS4_OK);
  EXPECT_EQ(call_with(client.seqid + 3, Ops().u32(1).u32(99)), NFS4ERR_BADXDR);
}

TEST_F(CreateSession, OnlyOperationOrBehindSequence) {
  expect(NFS4ERR_NOT_ONLY_OP, create_session(client.client, client.seqid).root());
  const ByteVector session = create(client.seqid).id;
  Ops behind;
  behind.sequence(session, 1, 0, 0, false)
      .op(OP_CREATE_SESSION)
      .u64(client.client)
      .u32(client.seqid + 1)
      .u32(0);
  for (int channel = 0; channel < 2; ++channel)
    behind.u32(0).u32(100000).u32(100000).u32(1000).u32(16).u32(4).u32(0);
  expect(NFS4_OK, behind.u32(1).u32(0));
}

TEST_F(CreateSession, SessionsOfOneClientAreBounded) {
  uint32_t created = 0;
  Reply reply;
  do {
    reply = call(create_session(client.client, client.seqid + created, 0, {.slots = 1}));
  } while (reply.status == NFS4_OK && ++created < 1000);
  EXPECT_EQ(reply.status, NFS4ERR_NOSPC);
  EXPECT_GE(created, 4U);
}

class Sessions : public WithClients {};

TEST_F(Sessions, DestroySession) {
  expect(NFS4_OK, destroy_session(alice.session()));
  expect(NFS4ERR_BADSESSION, destroy_session(alice.session()));
  expect(NFS4ERR_BADSESSION, alice.seq().root());
  expect(NFS4ERR_BADSESSION, destroy_session(ByteVector(16, std::byte{0x5a})));
  restart();
  expect(NFS4ERR_BADSESSION, destroy_session(alice.session()));
  // Its client is still there.
  expect(NFS4_OK, create_session(alice.id(), alice.create_seqid() + 1));
}

// RFC 8881 §18.37.3.
TEST_F(Sessions, ASessionDestroysItselfOnlyAtTheEnd) {
  alice.expect(NFS4ERR_NOT_ONLY_OP, alice.seq().op(OP_DESTROY_SESSION).fixed(alice.session()).root());
  alice.ok(alice.seq().op(OP_DESTROY_SESSION).fixed(bob.session()).root());
  alice.ok(alice.seq().root().op(OP_DESTROY_SESSION).fixed(alice.session()));
  expect(NFS4ERR_BADSESSION, alice.seq().root());
  expect(NFS4ERR_NOT_ONLY_OP, destroy_session(alice.session()).root());
}

TEST_F(Sessions, BindConnToSession) {
  constexpr uint32_t fore = 1, back = 2, fore_or_both = 3, back_or_both = 7;
  for (const uint32_t direction : {fore, back, fore_or_both, back_or_both}) {
    const Reply reply = expect(NFS4_OK, bind_conn(alice.session(), direction));
    wire::XdrDecoder in = reply.in(OP_BIND_CONN_TO_SESSION);
    const Bytes id = in.get_opaque_fixed(16);
    EXPECT_EQ(ByteVector(id.begin(), id.end()), alice.session());
    const uint32_t granted = in.get_u32();
    EXPECT_TRUE(granted == fore || granted == back || granted == 3) << granted;
    if (direction == fore || direction == back) {
      EXPECT_EQ(granted, direction);
    }
    EXPECT_FALSE(in.get_bool());
  }
  expect(NFS4ERR_BADSESSION, bind_conn(ByteVector(16, std::byte{1}), fore));
  for (const uint32_t direction : {0U, 4U, 99U}) {
    const Nfsstat4 status = call(bind_conn(alice.session(), direction)).status;
    EXPECT_TRUE(status == NFS4ERR_INVAL || status == NFS4ERR_BADXDR) << nfs4::name(status);
  }
  expect(NFS4ERR_NOT_ONLY_OP, bind_conn(alice.session(), fore).root());
  alice.expect(NFS4ERR_NOT_ONLY_OP,
               alice.seq().op(OP_BIND_CONN_TO_SESSION).fixed(alice.session()).u32(fore).u32(0));
}

TEST_F(Sessions, BackchannelCtl) {
  alice.ok(alice.seq().op(OP_BACKCHANNEL_CTL).u32(0x40000001).u32(1).u32(0));
  alice.expect(NFS4ERR_BADXDR, alice.seq().op(OP_BACKCHANNEL_CTL).u32(0x40000001).u32(1).u32(77));
  expect(NFS4ERR_OP_NOT_IN_SESSION, Ops().op(OP_BACKCHANNEL_CTL).u32(0x40000001).u32(0));
}

TEST_F(Sessions, ReclaimComplete) {
  alice.expect(NFS4ERR_COMPLETE_ALREADY, alice.seq().op(OP_RECLAIM_COMPLETE).u32(0));
  restart();
  alice.expect(NFS4ERR_COMPLETE_ALREADY, alice.seq().op(OP_RECLAIM_COMPLETE).u32(0));
  alice.expect(NFS4ERR_NOFILEHANDLE, alice.seq().op(OP_RECLAIM_COMPLETE).u32(1));
  alice.ok(alice.seq().root().op(OP_RECLAIM_COMPLETE).u32(1));
  alice.expect(NFS4ERR_BADXDR, alice.seq().op(OP_RECLAIM_COMPLETE).u32(2));
  expect(NFS4ERR_OP_NOT_IN_SESSION, Ops().op(OP_RECLAIM_COMPLETE).u32(0));
}

// RFC 8881 §18.51.3: no file system ever migrates here, so it is ignored; it does not stand for the global
// one.
TEST_F(Sessions, ReclaimCompleteOfOneFileSystem) {
  Client carol(*this, "carol");
  carol.connect(false);
  alice.create_file("f");
  for (int i = 0; i < 3; ++i) carol.ok(carol.seq().root().op(OP_RECLAIM_COMPLETE).u32(1));
  carol.expect(NFS4ERR_GRACE, carol.seq().root().open({.name = "f"}));
  carol.ok(carol.seq().op(OP_RECLAIM_COMPLETE).u32(0));
  carol.ok(carol.seq().root().open({.name = "f"}));
  for (int i = 0; i < 3; ++i) carol.ok(carol.seq().root().op(OP_RECLAIM_COMPLETE).u32(1));
  const Ops once_more = carol.seq(1).op(OP_RECLAIM_COMPLETE).u32(0);
  carol.expect(NFS4ERR_COMPLETE_ALREADY, once_more);
  // A repetition of the request is none of the operation.
  Client dave(*this, "dave");
  dave.connect(false);
  const Reply complete = dave.ok(dave.seq(1).op(OP_RECLAIM_COMPLETE).u32(0));
  EXPECT_EQ(dave.ok(dave.seq_again(1).op(OP_RECLAIM_COMPLETE).u32(0)).bytes, complete.bytes);
}

// RFC 8881 §18.51.3: what is not a reclaim must wait for RECLAIM_COMPLETE.
TEST_F(Sessions, BeforeReclaimCompleteNothingNewIsOpened) {
  alice.create_file("f");
  Client carol(*this, "carol");
  carol.connect(false);
  carol.expect(NFS4ERR_GRACE, carol.seq().root().open({.name = "f"}));
  carol.expect(NFS4ERR_NO_GRACE, carol.seq().root().lookup("f").open({.claim = 1}));
  carol.ok(carol.seq().op(OP_RECLAIM_COMPLETE).u32(0));
  carol.ok(carol.seq().root().open({.name = "f"}));
  carol.expect(NFS4ERR_NO_GRACE, carol.seq().root().lookup("f").open({.claim = 1}));
}

}  // namespace
}  // namespace perdure::conformance
