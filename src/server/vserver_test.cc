// What clients see of a whole vserver, over crashes: sessions, replies and opens survive, and nothing happens
// twice.
#include "server/vserver.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "fs/data.h"
#include "server/testing/vserver_fixture.h"

namespace perdure::server {
namespace {

using nfs4::Nfsstat4;
using nfs4::Opnum4;
using testing::CompoundBuilder;
using testing::CompoundReply;
using testing::TestClient;
using testing::VserverFixture;

std::string status_name(const CompoundReply& reply) {
  return nfs4::name(reply.status());
}

TEST(Vserver, AClientConnectsAndSessionsArePersistent) {
  VserverFixture server;
  server.start();
  TestClient client(server, "alice");
  client.connect();
  EXPECT_TRUE(client.persistent());
  client.ok(client.sequence().putrootfh().getfh());
}

TEST(Vserver, TheSessionIsThereAfterACrash) {
  VserverFixture server;
  server.start();
  TestClient client(server, "alice");
  client.connect();
  client.ok(client.sequence().putrootfh().mkdir("a"));
  for (int i = 0; i < 5; ++i) {
    server.crash();
    server.start();
    client.ok(client.sequence().putrootfh().lookup("a"));
    client.ok(client.sequence().putrootfh().lookup("a").mkdir("b" + std::to_string(i)));
  }
}

TEST(Vserver, ARetransmissionAfterACrashGetsTheFirstReply) {
  VserverFixture server;
  server.start();
  TestClient client(server, "alice");
  client.connect();
  const CompoundBuilder mkdir = client.sequence().putrootfh().mkdir("once");
  const CompoundReply first = client.call(mkdir);
  EXPECT_EQ(status_name(first), "NFS4_OK");
  server.crash();
  server.start();
  const CompoundReply second = client.call(mkdir);
  EXPECT_EQ(second.bytes(), first.bytes());
}

// The power goes at each moment between the call and its reply.
TEST(Vserver, AnUnansweredCallIsExecutedExactlyOnce) {
  for (int turns = 0; turns < 40; ++turns) {
    SCOPED_TRACE(turns);
    VserverFixture server(static_cast<uint64_t>(turns) + 1);
    server.start();
    TestClient client(server, "alice");
    client.connect();
    const CompoundBuilder mkdir = client.sequence().putrootfh().mkdir("once");
    const uint32_t xid = server.send(mkdir.finish());
    for (int i = 0; i < turns && !server.replied(xid); ++i) server.env.run_one();
    const bool answered = server.replied(xid);
    server.crash();
    server.start();
    if (answered) client.ok(client.sequence(1).putrootfh().lookup("once"));
    const CompoundReply again = client.call(mkdir);
    EXPECT_EQ(status_name(again), "NFS4_OK") << "its own effect must not be in its way";
    CompoundReply third = client.call(client.sequence().putrootfh().mkdir("once"));
    EXPECT_EQ(status_name(third), "NFS4ERR_EXIST");
  }
}

TEST(Vserver, FalseRetriesAndMisorderedRequestsAreRefused) {
  VserverFixture server;
  server.start();
  TestClient client(server, "alice");
  client.connect();
  client.ok(client.sequence().putrootfh().mkdir("a"));
  CompoundBuilder other;
  other.op(Opnum4::OP_SEQUENCE).fixed(client.session()).u32(2).u32(0).u32(15).u32(0).putrootfh().mkdir("b");
  EXPECT_EQ(status_name(client.call(other)), "NFS4ERR_SEQ_FALSE_RETRY");
  CompoundBuilder skipping;
  skipping.op(Opnum4::OP_SEQUENCE).fixed(client.session()).u32(9).u32(0).u32(15).u32(0).putrootfh();
  EXPECT_EQ(status_name(client.call(skipping)), "NFS4ERR_SEQ_MISORDERED");
}

// The Linux client encodes a retransmission anew, with the highest slot id of that moment.
TEST(Vserver, ARetransmissionMayNameAnotherHighestSlot) {
  VserverFixture server;
  server.start();
  TestClient client(server, "alice");
  client.connect();
  const CompoundReply first = client.call(client.sequence().putrootfh().mkdir("once"));
  EXPECT_EQ(status_name(first), "NFS4_OK");
  for (uint32_t highest : {0U, 7U}) {
    CompoundBuilder again;
    again.op(Opnum4::OP_SEQUENCE).fixed(client.session()).u32(2).u32(0).u32(highest).u32(0);
    const CompoundReply reply = client.call(again.putrootfh().mkdir("once"));
    EXPECT_EQ(reply.bytes(), first.bytes()) << status_name(reply);
    server.crash();
    server.start();
  }
}

ByteVector get_stateid(CompoundReply& reply) {
  const Bytes b = reply.in().get_opaque_fixed(16);
  return ByteVector(b.begin(), b.end());
}

TEST(Vserver, OpensAndStableDataSurvive) {
  VserverFixture server;
  server.start();
  TestClient alice(server, "alice"), bob(server, "bob");
  alice.connect();
  bob.connect();
  CompoundReply opened = alice.ok(alice.sequence().putrootfh().create_file("f", "owner").getfh());
  opened.next(Opnum4::OP_PUTROOTFH);
  EXPECT_EQ(opened.next(Opnum4::OP_OPEN), Nfsstat4::NFS4_OK);
  const ByteVector stateid = get_stateid(opened);
  const ByteVector small(3000, std::byte{'s'}), big(300000, std::byte{'b'});
  alice.ok(alice.sequence().putrootfh().lookup("f").write(stateid, 1000, 2, small));
  alice.ok(alice.sequence().putrootfh().lookup("f").write(stateid, 100000, 2, big));
  server.crash();
  server.start();
  CompoundReply read = alice.ok(alice.sequence().putrootfh().lookup("f").read(stateid, 0, 1000000));
  read.next(Opnum4::OP_PUTROOTFH);
  read.next(Opnum4::OP_LOOKUP);
  EXPECT_EQ(read.next(Opnum4::OP_READ), Nfsstat4::NFS4_OK);
  EXPECT_TRUE(read.in().get_bool());
  const Bytes data = read.in().get_opaque(2000000);
  ASSERT_EQ(data.size(), 400000U);
  for (size_t i = 0; i < data.size(); ++i) {
    const bool in_small = i >= 1000 && i < 4000, in_big = i >= 100000;
    const auto expected = in_small ? std::byte{'s'} : in_big ? std::byte{'b'} : std::byte{0};
    if (data[i] != expected) {
      FAIL() << "byte " << i << " is " << static_cast<int>(data[i]);
    }
  }
  // Alice's open is still there: nobody can deny what it does.
  EXPECT_EQ(status_name(bob.call(bob.sequence().putrootfh().open_file("f", "bob", 1, 2))),
            "NFS4ERR_SHARE_DENIED");
}

// Writes ask for write-back from inside their runs, and wait for it.
TEST(Vserver, MoreIsWrittenThanFitsIntoMemory) {
  VserverFixture server;
  server.options.memory_bytes = 2U << 20U;
  server.start();
  TestClient client(server, "alice");
  client.connect();
  CompoundReply opened = client.ok(client.sequence().putrootfh().create_file("f", "owner"));
  opened.next(Opnum4::OP_PUTROOTFH);
  EXPECT_EQ(opened.next(Opnum4::OP_OPEN), Nfsstat4::NFS4_OK);
  const ByteVector stateid = get_stateid(opened);
  const ByteVector page(4096, std::byte{'p'});
  for (const uint32_t stable : {0U, 2U}) {
    for (uint64_t i = 0; i < 300; ++i) {
      const uint64_t offset = (2 * i + stable) * page.size();
      client.ok(client.sequence().putrootfh().lookup("f").write(stateid, offset, stable, page));
    }
  }
  CompoundReply read = client.ok(client.sequence().putrootfh().lookup("f").read(stateid, 0, 4096));
  read.next(Opnum4::OP_PUTROOTFH);
  read.next(Opnum4::OP_LOOKUP);
  EXPECT_EQ(read.next(Opnum4::OP_READ), Nfsstat4::NFS4_OK);
  read.in().get_bool();
  const Bytes data = read.in().get_opaque(10000);
  EXPECT_EQ(ByteVector(data.begin(), data.end()), page);
}

TEST(Vserver, ACleanStopLeavesNothingToRedo) {
  VserverFixture server;
  server.start();
  TestClient client(server, "alice");
  client.connect();
  for (int i = 0; i < 50; ++i) client.ok(client.sequence().putrootfh().mkdir("d" + std::to_string(i)));
  server.stop();
  server.start();
  EXPECT_EQ(server.vserver().restoration().records, 0U);
  client.ok(client.sequence().putrootfh().lookup("d49"));
}

// However short the lives of the server processes are.
TEST(Vserver, CrashesInARowDoNotAddUpToMoreAndMoreToRedo) {
  VserverFixture server;
  server.options.checkpoint.records_max = 100;
  server.start();
  TestClient client(server, "alice");
  client.connect();
  for (int crash = 0; crash < 10; ++crash) {
    for (int i = 0; i < 30; ++i)
      client.ok(client.sequence().putrootfh().mkdir("d" + std::to_string(100 * crash + i)));
    server.crash();
    server.start();
    EXPECT_LE(server.vserver().restoration().records, 100U);
  }
}

// The write verifier stays only where nothing unstable can have been lost.
TEST(Vserver, TheWriteVerifierOutlivesACleanStopAndNothingElse) {
  VserverFixture server;
  server.start();
  TestClient client(server, "alice");
  client.connect();
  CompoundReply opened = client.ok(client.sequence().putrootfh().create_file("f", "owner"));
  opened.next(Opnum4::OP_PUTROOTFH);
  EXPECT_EQ(opened.next(Opnum4::OP_OPEN), Nfsstat4::NFS4_OK);
  const ByteVector stateid = get_stateid(opened);
  const ByteVector data(300000, std::byte{'u'});
  const auto write = [&] {
    CompoundReply reply = client.ok(client.sequence().putrootfh().lookup("f").write(stateid, 0, 0, data));
    reply.next(Opnum4::OP_PUTROOTFH);
    reply.next(Opnum4::OP_LOOKUP);
    reply.next(Opnum4::OP_WRITE);
    EXPECT_EQ(reply.in().get_u32(), data.size());
    EXPECT_EQ(reply.in().get_u32(), 0U) << "unstable";
    return reply.in().get_u64();
  };
  const auto commit = [&] {
    CompoundReply reply =
        client.ok(client.sequence().putrootfh().lookup("f").op(Opnum4::OP_COMMIT).u64(0).u32(0));
    reply.next(Opnum4::OP_PUTROOTFH);
    reply.next(Opnum4::OP_LOOKUP);
    reply.next(Opnum4::OP_COMMIT);
    return reply.in().get_u64();
  };
  std::set<uint64_t> seen;
  for (int round = 0; round < 3; ++round) {
    const uint64_t verifier = write();
    EXPECT_TRUE(seen.insert(verifier).second);
    for (int stops = 0; stops < 3; ++stops) {
      server.stop();
      server.start();
      EXPECT_EQ(commit(), verifier);
      EXPECT_EQ(write(), verifier);
    }
    CompoundReply read = client.ok(client.sequence().putrootfh().lookup("f").read(stateid, 0, 1000000));
    read.next(Opnum4::OP_PUTROOTFH);
    read.next(Opnum4::OP_LOOKUP);
    EXPECT_EQ(read.next(Opnum4::OP_READ), Nfsstat4::NFS4_OK);
    EXPECT_TRUE(read.in().get_bool());
    EXPECT_TRUE(std::ranges::equal(read.in().get_opaque(1000000), data));
    server.crash();
    server.start();
  }
  EXPECT_FALSE(seen.contains(commit()));
}

// A write on its way to the blocks has reserved them. Whatever happens to its file or its stateid meanwhile,
// it gives them back.
struct FileDataFailures : ::testing::Test {
  VserverFixture server;
  TestClient client{server, "alice"};
  ByteVector stateid;
  const ByteVector data = ByteVector(300000, std::byte{'u'});

  FileDataFailures() {
    server.start();
    client.connect();
    CompoundReply opened = client.ok(client.sequence().putrootfh().create_file("f", "owner"));
    opened.next(Opnum4::OP_PUTROOTFH);
    opened.next(Opnum4::OP_OPEN);
    stateid = get_stateid(opened);
  }
  CompoundBuilder writing(uint32_t stable) {
    return client.sequence().putrootfh().lookup("f").write(stateid, 0, stable, data);
  }
  CompoundBuilder committing() {
    return client.sequence().putrootfh().lookup("f").op(Opnum4::OP_COMMIT).u64(0).u32(0);
  }
  static uint64_t verifier_of(CompoundReply reply, Opnum4 operation) {
    EXPECT_EQ(status_name(reply), "NFS4_OK");
    reply.next(Opnum4::OP_SEQUENCE);
    reply.in().get_opaque_fixed(36);
    reply.next(Opnum4::OP_PUTROOTFH);
    reply.next(Opnum4::OP_LOOKUP);
    reply.next(operation);
    if (operation == Opnum4::OP_WRITE) reply.in().get_u64();  // how much, and how stable
    return reply.in().get_u64();
  }
  uint64_t write_unstable() { return verifier_of(client.call(writing(0)), Opnum4::OP_WRITE); }
  void expect_content() {
    CompoundReply read = client.ok(client.sequence().putrootfh().lookup("f").read(stateid, 0, 1000000));
    read.next(Opnum4::OP_PUTROOTFH);
    read.next(Opnum4::OP_LOOKUP);
    read.next(Opnum4::OP_READ);
    EXPECT_TRUE(read.in().get_bool());
    EXPECT_TRUE(std::ranges::equal(read.in().get_opaque(1000000), data));
  }
};

// What was not flushed is in doubt, now and for every later flush: the server process ends, and nobody was
// told that it is there.
TEST_F(FileDataFailures, AFailedFlushIsNeverASuccess) {
  std::set<uint64_t> seen;
  for (const bool commits : {true, false}) {
    SCOPED_TRACE(commits ? "COMMIT" : "stable WRITE");
    EXPECT_TRUE(seen.insert(write_unstable()).second);
    const CompoundBuilder request = commits ? committing() : writing(2);
    server.env.inject({.path = "blocks", .kind = env::IoKind::flush});
    const uint32_t xid = server.send(request.finish());
    ASSERT_TRUE(server.pump_until([&] { return server.failed(); }));
    for (int turns = 0; turns < 1000 && server.env.run_one();) ++turns;
    if (server.replied(xid)) {
      EXPECT_EQ(status_name(server.await(xid)), "NFS4ERR_IO");
    }
    server.crash();
    server.start();
    // Its repetition: if it goes through now, then under a verifier that makes the client send its data anew.
    CompoundReply again = client.call(request);
    if (again.status() != Nfsstat4::NFS4ERR_IO) {
      EXPECT_FALSE(seen.contains(verifier_of(again, commits ? Opnum4::OP_COMMIT : Opnum4::OP_WRITE)));
    }
    EXPECT_FALSE(seen.contains(verifier_of(client.call(committing()), Opnum4::OP_COMMIT)));
    const uint64_t verifier = write_unstable();
    EXPECT_EQ(verifier_of(client.call(committing()), Opnum4::OP_COMMIT), verifier);
    expect_content();
    server.crash();
    server.start();
    expect_content();
  }
}

// A failed write spoils nothing that anybody counts on: the client is told, and may try again.
TEST_F(FileDataFailures, AFailedWriteOfBlocksIsAnError) {
  const uint64_t verifier = write_unstable();
  server.env.inject({.path = "blocks", .kind = env::IoKind::write});
  EXPECT_EQ(status_name(client.call(committing())), "NFS4ERR_IO");
  EXPECT_EQ(verifier_of(client.call(committing()), Opnum4::OP_COMMIT), verifier);
  expect_content();
  server.env.inject({.path = "blocks", .kind = env::IoKind::write});
  EXPECT_EQ(status_name(client.call(writing(2))), "NFS4ERR_IO");
  EXPECT_EQ(verifier_of(client.call(writing(2)), Opnum4::OP_WRITE), verifier);
  server.crash();
  server.start();
  expect_content();
}

TEST(Vserver, AWriteToAFileThatIsRemovedMeanwhileReservesNothingForEver) {
  VserverFixture server;
  server.start();
  TestClient alice(server, "alice"), bob(server, "bob");
  alice.connect();
  bob.connect();
  CompoundReply opened = alice.ok(alice.sequence().putrootfh().create_file("f", "owner"));
  opened.next(Opnum4::OP_PUTROOTFH);
  EXPECT_EQ(opened.next(Opnum4::OP_OPEN), Nfsstat4::NFS4_OK);
  const ByteVector stateid = get_stateid(opened), anonymous(16), data(300000, std::byte{'u'});
  alice.ok(alice.sequence().putrootfh().lookup("f").op(Opnum4::OP_CLOSE).u32(0).fixed(stateid));
  fs::Data& blocks = server.vserver().fs().data();
  server.env.hold_io(true);
  const uint32_t write =
      server.send(alice.sequence().putrootfh().lookup("f").write(anonymous, 0, 2, data).finish());
  while (blocks.placements.under_way() == 0) ASSERT_TRUE(server.env.run_one());
  const uint32_t remove = server.send(bob.sequence().putrootfh().remove("f").finish());
  while (server.env.run_one()) {
  }
  server.env.hold_io(false);
  EXPECT_EQ(status_name(server.await(remove)), "NFS4_OK");
  EXPECT_EQ(status_name(server.await(write)), "NFS4ERR_STALE");
  EXPECT_EQ(blocks.placements.under_way(), 0U);
  EXPECT_EQ(blocks.allocator.reserved_blocks(), 0U);
}

// The checkpoint of a stop makes it possible, and nothing may ever change any more.
TEST(Vserver, WhatWasFreedBeforeAStopIsFreeAfterIt) {
  VserverFixture server;
  server.start();
  TestClient client(server, "alice");
  client.connect();
  const ByteVector anonymous(16), data(300000, std::byte{'u'});
  CompoundReply opened = client.ok(client.sequence().putrootfh().create_file("f", "owner"));
  opened.next(Opnum4::OP_PUTROOTFH);
  EXPECT_EQ(opened.next(Opnum4::OP_OPEN), Nfsstat4::NFS4_OK);
  const ByteVector stateid = get_stateid(opened);
  client.ok(client.sequence().putrootfh().lookup("f").write(anonymous, 0, 2, data));
  client.ok(client.sequence().putrootfh().lookup("f").op(Opnum4::OP_CLOSE).u32(0).fixed(stateid));
  client.ok(client.sequence().putrootfh().remove("f"));
  EXPECT_NE(server.vserver().fs().freed.size(), 0U);
  server.stop();
  server.start();
  server.env.run_until_idle();
  EXPECT_EQ(server.vserver().fs().freed.size(), 0U);
}

// Owners are found by keyed hashes, and session ids carry a seal: both under a secret of the vserver's own.
TEST(Vserver, ItsSecretSurvivesARestartAndIsNobodyElses) {
  VserverFixture one(1), other(2);
  std::array<std::array<std::byte, 16>, 2> sessions;
  for (VserverFixture* server : {&one, &other}) {
    server->start();
    TestClient client(*server, "alice");
    client.connect();
    sessions[server == &one ? 0 : 1] = client.session();
    for (const bool crash : {true, false}) {
      crash ? server->crash() : server->stop();
      server->start();
      EXPECT_THAT(server->findings(), ::testing::IsEmpty());
      CompoundReply same = server->call(
          CompoundBuilder().op(Opnum4::OP_EXCHANGE_ID).u64(1).text("alice").u32(0).u32(0).u32(0));
      same.next(Opnum4::OP_EXCHANGE_ID);
      EXPECT_EQ(same.in().get_u64(), client.client_id()) << "found by its hash";
    }
  }
  const auto seal = [](const auto& id) { return ByteVector(id.begin() + 8, id.end()); };
  EXPECT_TRUE(std::ranges::equal(Bytes(sessions[0]).first(8), Bytes(sessions[1]).first(8)));
  EXPECT_NE(seal(sessions[0]), seal(sessions[1]));
}

TEST(Vserver, ManyLeasesThatEndAtOnceEndSoon) {
  VserverFixture server;
  server.options.clients.lease_seconds = 10;
  server.start();
  constexpr int clients = 200;
  for (int i = 0; i < clients; ++i) {
    TestClient client(server, "client " + std::to_string(i));
    client.connect();
    client.ok(client.sequence().putrootfh().create_file("f" + std::to_string(i), "o"));
  }
  const auto expired = [&] { return server.vserver().clients().figures().expired; };
  ASSERT_TRUE(server.pump_until([&] { return expired() > 0; }));
  const env::Instant first = server.env.now();
  ASSERT_TRUE(server.pump_until([&] { return expired() == clients; }));
  EXPECT_LT(server.env.now() - first, std::chrono::seconds(3));
  EXPECT_EQ(server.vserver().clients().figures().opens, 0U);
  EXPECT_THAT(server.findings(), ::testing::IsEmpty());
}

TEST(Vserver, WhatIsNotACompoundIsAnswered) {
  VserverFixture server;
  server.start();
  TestClient client(server, "alice");
  client.connect();
  EXPECT_EQ(status_name(client.call(CompoundBuilder(3).putrootfh())), "NFS4ERR_MINOR_VERS_MISMATCH");
  EXPECT_EQ(status_name(client.call(CompoundBuilder().putrootfh())), "NFS4ERR_OP_NOT_IN_SESSION");
  EXPECT_EQ(status_name(client.call(CompoundBuilder())), "NFS4_OK");
  EXPECT_EQ(status_name(client.call(client.sequence().op(static_cast<Opnum4>(99)))), "NFS4ERR_OP_ILLEGAL");
  EXPECT_EQ(status_name(client.call(client.sequence().op(Opnum4::OP_LAYOUTGET))), "NFS4ERR_NOTSUPP");
  EXPECT_EQ(status_name(client.call(client.sequence().getfh())), "NFS4ERR_NOFILEHANDLE");
  EXPECT_EQ(status_name(client.call(client.sequence().op(Opnum4::OP_PUTFH))), "NFS4ERR_BADXDR");
}

}  // namespace
}  // namespace perdure::server
