// SEQUENCE (RFC 8881 §18.46, §2.10.6): slots, the reply cache, and the limits of a session.
#include "conformance/conformance.h"

namespace perdure::conformance {
namespace {

class Sequence : public WithClients {
 public:
  // A session of Alice's with these limits.
  SessionCreated limited(const ChannelAttributes& fore) {
    return created_of(expect(NFS4_OK, create_session(alice.id(), next_create++, 1, fore)));
  }
  static Ops in(const SessionCreated& session, uint32_t seqid, bool cache_this = false) {
    return Ops().sequence(session.id, seqid, 0, 0, cache_this);
  }
  uint32_t next_create = 2;
};

TEST_F(Sequence, ItsResult) {
  const Reply reply = alice.ok(alice.seq(3));
  wire::XdrDecoder in = reply.in(OP_SEQUENCE);
  const Bytes id = in.get_opaque_fixed(16);
  EXPECT_EQ(ByteVector(id.begin(), id.end()), alice.session());
  EXPECT_EQ(in.get_u32(), 1U) << "the sequence id";
  EXPECT_EQ(in.get_u32(), 3U) << "the slot";
  EXPECT_EQ(in.get_u32(), session_slots - 1) << "the highest slot";
  EXPECT_EQ(in.get_u32(), session_slots - 1) << "the target of the highest slot";
  EXPECT_EQ(in.get_u32(), 0U) << "status flags";
}

// RFC 8881 §18.46.3. Nothing is ever revoked, moved or to be reclaimed: not even a restart shows. And with a
// lease that has ended the whole client goes, so that there is no session left whose SEQUENCE could tell.
TEST_F(Sequence, NoStatusFlags) {
  const auto flags = [](const Reply& reply) {
    wire::XdrDecoder in = reply.in(OP_SEQUENCE);
    in.get_opaque_fixed(16 + 4 * 4);
    return in.get_u32();
  };
  Client carol(*this, "carol");
  carol.connect(false);
  EXPECT_EQ(flags(carol.ok(carol.seq())), 0U) << "before RECLAIM_COMPLETE";
  const Client::Opened file = alice.create_file("f");
  restart();
  EXPECT_EQ(flags(alice.ok(alice.seq())), 0U);
  EXPECT_EQ(flags(carol.ok(carol.seq())), 0U);
  alice.ok(alice.seq().fh(file.handle).close(file.stateid));

  alice.create_file("g");
  for (int i = 0; i < 10; ++i) {
    pass(std::chrono::seconds(30));
    EXPECT_EQ(flags(alice.ok(alice.seq())), 0U);
  }
  expect(NFS4ERR_BADSESSION, carol.seq());
  expect(NFS4ERR_STALE_CLIENTID, create_session(carol.id(), carol.create_seqid() + 1));
}

// A session with a back channel: there are no callbacks yet, so nobody misses the path for them.
TEST_F(Sequence, ABackChannelWithoutAConnectionIsNotMissed) {
  constexpr uint32_t back_channel = 2;
  const SessionCreated session =
      created_of(expect(NFS4_OK, create_session(alice.id(), next_create++, back_channel)));
  EXPECT_EQ(session.flags & back_channel, back_channel);
  restart();
  const Reply reply = expect(NFS4_OK, in(session, 1));
  wire::XdrDecoder result = reply.in(OP_SEQUENCE);
  result.get_opaque_fixed(16 + 4 * 4);
  EXPECT_EQ(result.get_u32(), 0U);
}

TEST_F(Sequence, BadSessionsAndSlots) {
  const ByteVector nobody(16, std::byte{0x77});
  expect(NFS4ERR_BADSESSION, Ops().sequence(nobody, 1, 0, 0, false).root());
  expect(NFS4ERR_BADSLOT, Ops().sequence(alice.session(), 1, session_slots, 0, false).root());
  expect(NFS4ERR_BADSLOT, Ops().sequence(alice.session(), 1, UINT32_MAX, 0, false).root());
  expect(NFS4ERR_BAD_HIGH_SLOT, Ops().sequence(alice.session(), 1, 2, session_slots, false).root());
  expect(NFS4_OK, Ops().sequence(alice.session(), 1, 2, session_slots - 1, false).root());
}

TEST_F(Sequence, MisorderedRequestsLeaveTheSlot) {
  alice.ok(alice.seq().root());  // sequence id 2
  for (const uint32_t seqid : {0U, 1U, 4U, 100U, UINT32_MAX})
    expect(NFS4ERR_SEQ_MISORDERED, Ops().sequence(alice.session(), seqid, 0, 0, false).root());
  expect(NFS4ERR_SEQ_MISORDERED, Ops().sequence(alice.session(), 2, 7, 7, false).root());
  expect(NFS4ERR_SEQ_MISORDERED, Ops().sequence(alice.session(), 0, 7, 7, false).root());
  alice.ok(alice.seq().root());
  expect(NFS4_OK, Ops().sequence(alice.session(), 1, 7, 7, false).root());
}

TEST_F(Sequence, SlotsAreIndependent) {
  for (uint32_t slot = 0; slot < session_slots; ++slot) alice.ok(alice.seq(slot).root());
  alice.ok(alice.seq(session_slots - 1).root());
}

TEST_F(Sequence, ACachedReplyIsSentAgain) {
  const Reply first = alice.ok(alice.seq(1, true).root().getattr({Attribute::fileid}).getfh());
  for (int i = 0; i < 3; ++i) {
    const Reply again = alice.ok(alice.seq_again(1, true).root().getattr({Attribute::fileid}).getfh());
    EXPECT_EQ(again.bytes, first.bytes);
  }
}

TEST_F(Sequence, AnErrorIsCachedToo) {
  const Reply first = alice.expect(NFS4ERR_NOENT, alice.seq(1, true).root().lookup("f"));
  alice.create_file("f");
  EXPECT_EQ(alice.expect(NFS4ERR_NOENT, alice.seq_again(1, true).root().lookup("f")).bytes, first.bytes);
}

// Whatever sa_cachethis says (DESIGN: each reply of a modifying request is cached).
TEST_F(Sequence, RepliesOfChangesAreAlwaysCached) {
  const Reply first = alice.ok(alice.seq(1).root().mkdir("d"));
  EXPECT_EQ(alice.ok(alice.seq_again(1).root().mkdir("d")).bytes, first.bytes);
  alice.ok(alice.seq(1).root().remove("d"));
}

// Executed again it would be newer than what was written meanwhile.
TEST_F(Sequence, RepliesOfUnstableWritesAreAlwaysCached) {
  constexpr uint32_t unstable = 0;
  const auto file = alice.create_file("f");
  const Reply first = alice.ok(alice.seq(1).fh(file.handle).write(file.stateid, 0, "old", unstable));
  alice.ok(alice.seq(2).fh(file.handle).write(file.stateid, 0, "new", unstable));
  const Reply again = alice.ok(alice.seq_again(1).fh(file.handle).write(file.stateid, 0, "old", unstable));
  EXPECT_EQ(again.bytes, first.bytes);
  EXPECT_EQ(alice.content(file.handle), "new");
}

TEST_F(Sequence, AnUncachedReplyCannotBeRepeated) {
  alice.ok(alice.seq(1).root().getfh());
  alice.expect(NFS4ERR_RETRY_UNCACHED_REP, alice.seq_again(1).root().getfh());
  alice.ok(alice.seq(1).root().getfh());
}

TEST_F(Sequence, FalseRetries) {
  alice.ok(alice.seq(1).root().mkdir("d"));
  alice.expect(NFS4ERR_SEQ_FALSE_RETRY, alice.seq_again(1).root().mkdir("e"));
  alice.expect(NFS4ERR_SEQ_FALSE_RETRY, alice.seq_again(1).root());
  alice.expect(NFS4ERR_SEQ_FALSE_RETRY, alice.seq_again(1).root().mkdir("d").getfh());
  alice.ok(alice.seq(1).root().lookup("d"));
  alice.expect(NFS4ERR_NOENT, alice.seq(1).root().lookup("e"));
}

// RFC 8881 §2.10.6.1.3.1: another user's request is none either.
TEST_F(Sequence, AnotherUsersRequestIsNoRepetition) {
  alice.ok(alice.seq(1).root().mkdir("d"));
  expect(NFS4ERR_SEQ_FALSE_RETRY, alice.seq_again(1).root().mkdir("d"), 1000);
}

TEST_F(Sequence, OnlyAtTheBeginning) {
  alice.expect(NFS4ERR_SEQUENCE_POS, alice.seq().root().sequence(alice.session(), 1, 5, 5, false));
  expect(NFS4_OK, Ops().sequence(alice.session(), 1, 5, 5, false));
}

TEST_F(Sequence, TooManyOperations) {
  const SessionCreated session = limited({.operations = 4});
  expect(NFS4_OK, in(session, 1).root().root().root());
  const Reply reply = expect(NFS4ERR_TOO_MANY_OPS, in(session, 2).root().root().root().root());
  EXPECT_EQ(reply.results.size(), 1U);
  // RFC 8881 §18.46.3: an error of SEQUENCE leaves the slot as it is.
  expect(NFS4_OK, in(session, 2).root());
}

TEST_F(Sequence, RequestsThatAreTooBig) {
  const SessionCreated session = limited({.request_max = 1024});
  expect(NFS4_OK, in(session, 1).root());
  expect(NFS4ERR_REQ_TOO_BIG, in(session, 2).root().lookup(std::string(2000, 'a')));
  expect(NFS4_OK, in(session, 2).root());
}

TEST_F(Sequence, RepliesThatAreTooBig) {
  const Client::Opened file = alice.create_file("f");
  alice.ok(alice.seq().fh(file.handle).write(file.stateid, 0, std::string(10000, 'x')));
  const SessionCreated session = limited({.response_max = 600, .cached_max = 400});
  const Reply reply = expect(NFS4_OK, in(session, 1).fh(file.handle).read(anonymous(), 0, 10000));
  EXPECT_LE(reply.bytes.size(), 600U) << "a READ is shortened";
  Ops many = in(session, 2).fh(file.handle);
  for (int i = 0; i < 20; ++i) many.getfh();
  EXPECT_LE(expect(NFS4ERR_REP_TOO_BIG, many).bytes.size(), 600U);
  Ops cached = in(session, 3, true).fh(file.handle);
  for (int i = 0; i < 20; ++i) cached.getfh();
  EXPECT_LE(expect(NFS4ERR_REP_TOO_BIG_TO_CACHE, cached).bytes.size(), 400U);
  expect(NFS4_OK, in(session, 4).fh(file.handle));
}

// RFC 8881 §18.36.3: ca_maxrequestsize is that of the RPC message, credentials included.
TEST_F(Sequence, TheLimitOfRequestsIsExact) {
  const std::string name(200, 'a');
  const auto request = [&](const SessionCreated& session) { return in(session, 1).root().lookup(name); };
  const auto bytes = static_cast<uint32_t>(request({.id = alice.session()}).finish().size()) +
                     server::testing::call_header_bytes;
  expect(NFS4ERR_NOENT, request(limited({.request_max = bytes})));
  const SessionCreated smaller = limited({.request_max = bytes - 4});
  EXPECT_EQ(expect(NFS4ERR_REQ_TOO_BIG, request(smaller)).results.size(), 1U);
  expect(NFS4_OK, in(smaller, 1).root());
}

// And so are ca_maxresponsesize and ca_maxresponsesize_cached.
TEST_F(Sequence, TheLimitsOfRepliesAreExact) {
  const auto request = [&](const SessionCreated& session, uint32_t seqid, bool cache_this) {
    Ops ops = in(session, seqid, cache_this).root();
    for (int i = 0; i < 10; ++i) ops.getfh();
    return ops;
  };
  const Reply whole = expect(NFS4_OK, request(limited({}), 1, false));
  const auto bytes = static_cast<uint32_t>(whole.bytes.size() + wire::reply_header_bytes);

  const SessionCreated fitting = limited({.response_max = bytes, .cached_max = bytes});
  expect(NFS4_OK, request(fitting, 1, false));
  expect(NFS4_OK, request(fitting, 2, true));

  const SessionCreated small = limited({.response_max = bytes - 4, .cached_max = bytes - 4});
  EXPECT_EQ(expect(NFS4ERR_REP_TOO_BIG, request(small, 1, false)).results.size(), 12U);
  const Reply cut = expect(NFS4ERR_REP_TOO_BIG_TO_CACHE, request(small, 2, true));
  EXPECT_EQ(cut.results.size(), 12U);
  EXPECT_EQ(expect(NFS4ERR_REP_TOO_BIG_TO_CACHE, request(small, 2, true)).bytes, cut.bytes) << "it is cached";

  const SessionCreated cache_small = limited({.response_max = bytes, .cached_max = bytes - 4});
  expect(NFS4_OK, request(cache_small, 1, false));
  expect(NFS4ERR_REP_TOO_BIG_TO_CACHE, request(cache_small, 2, true));
}

TEST_F(Sequence, NothingIsDoneIfItsReplyWouldNotFit) {
  const SessionCreated session = limited({.response_max = 300, .cached_max = 300});
  Ops ops = in(session, 1).root();
  for (int i = 0; i < 5; ++i) ops.getfh();
  expect(NFS4ERR_REP_TOO_BIG, ops.mkdir("d").mkdir("e"));
  alice.expect(NFS4ERR_NOENT, alice.seq().root().lookup("d").lookup("e"));
}

TEST_F(Sequence, NothingCanBeCachedWhereNoRoomIs) {
  const SessionCreated session = limited({.cached_max = 0});
  expect(NFS4ERR_REP_TOO_BIG_TO_CACHE, in(session, 1, true).root());
  expect(NFS4_OK, in(session, 1, false).root());
}

TEST_F(Sequence, SequenceIdsWrapAround) {
  // A slot that a crash has taken back accepts one jump.
  alice.ok(alice.seq(4).root().mkdir("d"));
  restart();
  const auto at = [&](uint32_t seqid) { return Ops().sequence(alice.session(), seqid, 4, 4, true).root(); };
  expect(NFS4_OK, at((1U << 31U) - 1));
  expect(NFS4ERR_SEQ_MISORDERED, at((1U << 31U) + 1));
  expect(NFS4_OK, at(1U << 31U));
}

TEST_F(Sequence, ASlotSurvivesACrash) {
  const Reply first = alice.ok(alice.seq(2).root().mkdir("d"));
  restart();
  EXPECT_EQ(alice.ok(alice.seq_again(2).root().mkdir("d")).bytes, first.bytes);
  alice.expect(NFS4ERR_SEQ_FALSE_RETRY, alice.seq_again(2).root().mkdir("e"));
  alice.expect(NFS4ERR_EXIST, alice.seq(2).root().mkdir("d"));
}

}  // namespace
}  // namespace perdure::conformance
