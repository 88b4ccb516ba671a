// The checker of a whole vserver: what concerns transactions in flight; and the long ones, looked at between
// all of their steps. (Damage to files and client state: fs/check_test.cc, client/check_test.cc.)
#include "server/check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "server/testing/vserver_fixture.h"

namespace perdure::server {
namespace {

using nfs4::Opnum4;
using testing::CompoundReply;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::TestClient;
using testing::VserverFixture;

struct CheckTest : ::testing::Test {
  VserverFixture server;
  TestClient alice{server, "alice"};

  CheckTest() {
    server.start();
    alice.connect();
  }
  template <class Body>
  void change(Body body) {
    state::Run run(server.vserver().database());
    run.begin(TransactionId(1), 0, server.env.wall_time());
    body(run);
    run.end_step({});
    run.commit();
  }
  ByteVector create(const char* name) {
    CompoundReply opened = alice.ok(alice.sequence().putrootfh().create_file(name, "owner").getfh());
    opened.next(Opnum4::OP_PUTROOTFH);
    opened.next(Opnum4::OP_OPEN);
    const Bytes stateid = opened.in().get_opaque_fixed(16);
    return ByteVector(stateid.begin(), stateid.end());
  }
};

TEST_F(CheckTest, MachinesThatCannotBeReadAreFound) {
  auto& transactions = server.vserver().processor().transactions();
  const processor::TransactionRow::Key key{TransactionId((uint64_t{1} << 40U) | 1000)};
  for (const auto kind : {processor::Kind::compound, processor::Kind::reclaim, processor::Kind::expire_client,
                          processor::Kind::unlogged, static_cast<processor::Kind>(99)}) {
    processor::TransactionRow row;
    row.kind = kind;
    row.machine = ByteVector(3);
    change([&](state::Run& run) { transactions.put(run, key, row); });
    EXPECT_THAT(server.findings(), Contains(HasSubstr("transaction 0x100000003e8")));
  }
  change([&](state::Run& run) { transactions.erase(run, key); });
  const processor::TransactionRow::Key later{TransactionId(uint64_t{9} << 40U)};
  change([&](state::Run& run) { transactions.put(run, later, {}); });
  EXPECT_THAT(server.findings(), Contains(HasSubstr("of a later start of the server")));
  change([&](state::Run& run) { transactions.erase(run, later); });
}

// COMMIT of many blocks, removal of a large file while it is open, CLOSE, and the reclaim: at each event of
// the loop the rows are what they should be.
TEST_F(CheckTest, NothingIsFoundAtAnyMomentOfLongTransactions) {
  const ByteVector stateid = create("big");
  const ByteVector data(200 * size_t{block_bytes}, std::byte{'d'});
  uint64_t looks = 0;
  const auto run = [&](uint32_t xid) {
    while (!server.replied(xid)) {
      if (!server.env.run_one()) server.env.advance(std::chrono::microseconds(100));
      if (++looks % 7 == 0) {
        ASSERT_THAT(server.findings(), IsEmpty());
      }
    }
    EXPECT_EQ(server.await(xid).status(), nfs4::Nfsstat4::NFS4_OK);
  };
  const auto call = [&](const testing::CompoundBuilder& compound) { run(server.send(compound.finish())); };
  for (uint64_t i = 0; i < 4; ++i)
    call(alice.sequence().putrootfh().lookup("big").write(stateid, i * data.size(), 0, data));
  auto commit = alice.sequence().putrootfh().lookup("big");
  call(commit.op(Opnum4::OP_COMMIT).u64(0).u32(0));
  call(alice.sequence().putrootfh().remove("big"));
  EXPECT_GT(looks, 20U);
  // The machine dies in the middle of what is left to do; CHECKed by the fixture.
  server.crash();
  server.start();
  EXPECT_THAT(server.findings(), IsEmpty());
}

}  // namespace
}  // namespace perdure::server
