// EXCHANGE_ID (RFC 8881 §18.35) in all its cases, and DESTROY_CLIENTID (§18.50).
#include "conformance/conformance.h"

namespace perdure::conformance {
namespace {

constexpr uint32_t update = 0x40000000;  // EXCHGID4_FLAG_UPD_CONFIRMED_REC_A

class ExchangeId : public Conformance {
 public:
  Exchanged exchange(uint64_t verifier, uint32_t flags = 0, uint32_t uid = 0) {
    return exchanged_of(expect(NFS4_OK, exchange_id(verifier, "owner", flags), uid));
  }
  // A confirmed client.
  Exchanged confirmed(uint64_t verifier, uint32_t uid = 0) {
    const Exchanged e = exchange(verifier, 0, uid);
    session = created_of(expect(NFS4_OK, create_session(e.client, e.seqid), uid)).id;
    return e;
  }
  Ops in_session(uint32_t seqid) { return Ops().sequence(session, seqid, 0, 0, false); }
  ByteVector session;
};

TEST_F(ExchangeId, ANewOwnerGetsAnUnconfirmedClient) {
  const Reply reply = expect(NFS4_OK, exchange_id(1, "owner"));
  const Exchanged e = exchanged_of(reply);
  EXPECT_EQ(e.flags & Exchanged::confirmed, 0U);
  EXPECT_EQ(e.flags & 0x00070000, 0x00010000U) << "EXCHGID4_FLAG_USE_NON_PNFS";
}

TEST_F(ExchangeId, AnUnconfirmedClientIsReplaced) {
  const Exchanged first = exchange(1), second = exchange(1), third = exchange(2);
  EXPECT_NE(first.client, second.client);
  EXPECT_NE(second.client, third.client);
  expect(NFS4ERR_STALE_CLIENTID, create_session(first.client, first.seqid));
  expect(NFS4ERR_STALE_CLIENTID, create_session(second.client, second.seqid));
  expect(NFS4_OK, create_session(third.client, third.seqid));
}

TEST_F(ExchangeId, AnUnconfirmedClientOfAnotherPrincipalIsReplaced) {
  const Exchanged first = exchange(1, 0, 1);
  const Exchanged second = exchange(1, 0, 2);
  EXPECT_NE(first.client, second.client);
  expect(NFS4ERR_STALE_CLIENTID, create_session(first.client, first.seqid), 1);
}

TEST_F(ExchangeId, AConfirmedClientIsToldOfItself) {
  const Exchanged first = confirmed(1);
  const Exchanged again = exchange(1);
  EXPECT_EQ(again.client, first.client);
  EXPECT_NE(again.flags & Exchanged::confirmed, 0U);
  EXPECT_EQ(again.seqid, first.seqid + 1);
  expect(NFS4_OK, in_session(1).root());
}

TEST_F(ExchangeId, AClientThatHasRebootedLosesNothingBeforeItConfirms) {
  const Exchanged first = confirmed(1);
  const Exchanged rebooted = exchange(2);
  EXPECT_NE(rebooted.client, first.client);
  EXPECT_EQ(rebooted.flags & Exchanged::confirmed, 0U);
  expect(NFS4_OK, in_session(1).root());
  const ByteVector old = session;
  expect(NFS4_OK, create_session(rebooted.client, rebooted.seqid));
  expect(NFS4ERR_BADSESSION, Ops().sequence(old, 2, 0, 0, false).root());
  expect(NFS4ERR_STALE_CLIENTID, create_session(first.client, first.seqid + 1));
}

TEST_F(ExchangeId, AnotherPrincipalWaitsForTheEndOfTheLease) {
  const Exchanged first = confirmed(1, 1000);
  expect(NFS4ERR_CLID_INUSE, exchange_id(1, "owner"), 2000);
  expect(NFS4ERR_CLID_INUSE, exchange_id(2, "owner"), 2000);
  pass(std::chrono::seconds(200));
  const Exchanged second = exchange(2, 0, 2000);
  EXPECT_NE(second.client, first.client);
  expect(NFS4_OK, create_session(second.client, second.seqid), 2000);
}

TEST_F(ExchangeId, AnotherPrincipalTakesAClientWithoutState) {
  const Exchanged first = confirmed(1, 1000);
  expect(NFS4_OK, destroy_session(session), 1000);
  const Exchanged second = exchange(1, 0, 2000);
  EXPECT_NE(second.client, first.client);
  EXPECT_EQ(second.flags & Exchanged::confirmed, 0U);
}

TEST_F(ExchangeId, UpdateNeedsAConfirmedClient) {
  expect(NFS4ERR_NOENT, exchange_id(1, "owner", update));
  exchange(1);
  expect(NFS4ERR_NOENT, exchange_id(1, "owner", update));
}

TEST_F(ExchangeId, UpdateOfAConfirmedClient) {
  const Exchanged first = confirmed(1);
  const Exchanged updated = exchange(1, update);
  EXPECT_EQ(updated.client, first.client);
  EXPECT_NE(updated.flags & Exchanged::confirmed, 0U);
  expect(NFS4ERR_NOT_SAME, exchange_id(2, "owner", update));
  expect(NFS4ERR_PERM, exchange_id(1, "owner", update), 1000);
  expect(NFS4ERR_NOT_SAME, exchange_id(2, "owner", update), 1000);
}

TEST_F(ExchangeId, OwnersAreTakenAsBytes) {
  const Exchanged a = exchanged_of(expect(NFS4_OK, exchange_id(1, std::string_view("a\0b", 3))));
  const Exchanged b = exchanged_of(expect(NFS4_OK, exchange_id(1, std::string_view("a\0c", 3))));
  EXPECT_NE(a.client, b.client);
  expect(NFS4_OK, create_session(a.client, a.seqid));
  expect(NFS4_OK, exchange_id(1, std::string(1024, 'x')));
  expect(NFS4ERR_BADXDR, exchange_id(1, std::string(1025, 'x')));
}

TEST_F(ExchangeId, FlagsThatOnlyAServerSetsAreInvalid) {
  for (const uint32_t flags : {Exchanged::confirmed, 0x8U, 0x00080000U, 0x20000000U})
    expect(NFS4ERR_INVAL, exchange_id(1, "owner", flags));
  // EXCHGID4_FLAG_SUPP_MOVED_REFER, _SUPP_MOVED_MIGR, _BIND_PRINC_STATEID, and those of pNFS.
  for (const uint32_t flags : {0x1U, 0x2U, 0x100U, 0x00010000U, 0x00020000U, 0x00040000U, 0x00070000U})
    exchange(1, flags);
}

TEST_F(ExchangeId, ImplementationIdAndStateProtection) {
  const auto base = [](uint32_t protection) {
    return Ops().op(OP_EXCHANGE_ID).u64(1).text("owner").u32(0).u32(protection);
  };
  expect(NFS4_OK, base(0).u32(1).text("example.org").text("client").u64(0).u32(0));
  expect(NFS4ERR_BADXDR, base(0).u32(2).text("a").text("b").u64(0).u32(0).text("a").text("b").u64(0).u32(0));
  expect(NFS4ERR_BADXDR, base(3).u32(0));
}

// Both need RPCSEC_GSS (RFC 8881 §18.35.3), which is not there yet.
TEST_F(ExchangeId, StateProtectionIsRefused) {
  const auto base = [](uint32_t protection) {
    return Ops().op(OP_EXCHANGE_ID).u64(1).text("owner").u32(0).u32(protection);
  };
  const auto operations = [](Ops ops) { return ops.u32(1).u32(1U << 31U).u32(2).u32(0).u32(7); };
  expect(NFS4ERR_INVAL, operations(base(1)).u32(0));
  expect(NFS4ERR_BADXDR, base(1).u32(1));
  expect(NFS4ERR_BADXDR, operations(base(1)));

  const std::string sha256("\x60\x86\x48\x01\x65\x03\x04\x02\x01", 9),
      aes256("\x60\x86\x48\x01\x65\x03\x04\x01\x2a", 9);
  const auto ssv = [&](int hashes, int ciphers, uint32_t window) {
    Ops ops = operations(base(2));
    ops.u32(static_cast<uint32_t>(hashes));
    for (int i = 0; i < hashes; ++i) ops.text(sha256);
    ops.u32(static_cast<uint32_t>(ciphers));
    for (int i = 0; i < ciphers; ++i) ops.text(aes256);
    return ops.u32(window).u32(0);
  };
  expect(NFS4ERR_ENCR_ALG_UNSUPP, ssv(1, 1, 1).u32(0));
  expect(NFS4ERR_ENCR_ALG_UNSUPP, ssv(2, 3, 100).u32(0));
  expect(NFS4ERR_INVAL, ssv(0, 1, 1).u32(0));
  expect(NFS4ERR_INVAL, ssv(1, 0, 1).u32(0));
  expect(NFS4ERR_INVAL, ssv(1, 1, 0).u32(0));
  expect(NFS4ERR_BADXDR, ssv(1, 1, 1));
  EXPECT_EQ(exchange(1).flags & Exchanged::confirmed, 0U);
}

// RFC 8881 §18.35.3: the only operation, or behind SEQUENCE.
TEST_F(ExchangeId, ItStandsAloneOrBehindSequence) {
  expect(NFS4ERR_NOT_ONLY_OP, exchange_id(1, "owner").root());
  confirmed(1);
  expect(NFS4_OK, in_session(1).op(OP_EXCHANGE_ID).u64(1).text("other").u32(0).u32(0).u32(0));
}

TEST_F(ExchangeId, TheServerIsTheSameAfterACrash) {
  const Reply before = expect(NFS4_OK, exchange_id(1, "a"));
  restart();
  const Reply after = expect(NFS4_OK, exchange_id(1, "b"));
  // Server owner, scope and implementation follow the client id, sequence id and flags.
  const auto server_of = [](const Reply& r) {
    const ByteVector& body = r.results.at(0).body;
    return ByteVector(body.begin() + 16, body.end());
  };
  EXPECT_EQ(server_of(before), server_of(after));
}

TEST_F(ExchangeId, ClientsOutliveACrash) {
  const Exchanged first = confirmed(1);
  const Exchanged unconfirmed = exchanged_of(expect(NFS4_OK, exchange_id(1, "other")));
  restart();
  EXPECT_EQ(exchange(1).client, first.client);
  expect(NFS4_OK, create_session(unconfirmed.client, unconfirmed.seqid));
  EXPECT_NE(exchanged_of(expect(NFS4_OK, exchange_id(1, "third"))).client, unconfirmed.client);
}

TEST_F(ExchangeId, DestroyClientidOfUnknownAndUnconfirmedClients) {
  expect(NFS4ERR_STALE_CLIENTID, destroy_clientid(12345));
  const Exchanged e = exchange(1);
  expect(NFS4_OK, destroy_clientid(e.client));
  expect(NFS4ERR_STALE_CLIENTID, destroy_clientid(e.client));
  expect(NFS4ERR_STALE_CLIENTID, create_session(e.client, e.seqid));
}

TEST_F(ExchangeId, DestroyClientidOfAClientWithASession) {
  const Exchanged e = confirmed(1);
  expect(NFS4ERR_CLIENTID_BUSY, destroy_clientid(e.client));
  expect(NFS4ERR_CLIENTID_BUSY, in_session(1).op(OP_DESTROY_CLIENTID).u64(e.client));
  const Exchanged other = exchanged_of(expect(NFS4_OK, exchange_id(1, "other")));
  expect(NFS4_OK, in_session(2).op(OP_DESTROY_CLIENTID).u64(other.client));
  expect(NFS4_OK, destroy_session(session));
  expect(NFS4_OK, destroy_clientid(e.client));
  expect(NFS4ERR_NOT_ONLY_OP, destroy_clientid(e.client).root());
}

}  // namespace
}  // namespace perdure::conformance
