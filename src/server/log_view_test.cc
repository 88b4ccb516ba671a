// What people see of the log: of a whole vserver, and of records made by hand.
#include "server/log_view.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "client/rows.h"
#include "server/row_words.h"
#include "server/testing/vserver_fixture.h"

namespace perdure::server {
namespace {

using nfs4::Opnum4;
using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;
using ::testing::StartsWith;

struct LogViewTest : ::testing::Test {
  std::vector<std::string> lines;

  LogView view(LogFilter filter = {}, bool json = false) {
    lines.clear();
    return LogView(std::move(filter), json, [this](const std::string& line) { lines.push_back(line); });
  }
};

struct VserverLogTest : LogViewTest {
  testing::VserverFixture server;
  testing::TestClient alice{server, "alice"};

  VserverLogTest() {
    server.start();
    alice.connect();
  }
  // Everything so far. Between two batches the next LSN lies behind the next one's header.
  void wait_durable() {
    const log::GroupCommit& commit = server.vserver().commit();
    const Lsn lsn = commit.next_lsn();
    ASSERT_TRUE(server.pump_until([&] { return commit.durable() + Lsn(log::batch_header_bytes) >= lsn; }));
  }
  void show(const LogFilter& filter = {}, bool json = false) {
    LogView v = view(filter, json);
    const ByteVector disk = server.env.content("log");
    log::LogFollower follower(
        [&disk](uint64_t offset, MutableBytes into) -> Result<void> {
          std::ranges::copy(Bytes(disk).subspan(offset, into.size()), into.begin());
          return {};
        },
        disk.size(), "log");
    ASSERT_TRUE(follower.read_more({[&v](const log::LogFollower::Batch& batch, Bytes record, Lsn lsn) {
                                      return v.record(batch, record, lsn);
                                    },
                                    [&v](Lsn from, Lsn to) { v.lost(from, to); }}));
    v.end(follower.position(), follower.find()->last_start);
  }
};

TEST_F(VserverLogTest, OperationsAndRowsInWords) {
  alice.ok(alice.sequence().putrootfh().mkdir("src"));
  show();
  EXPECT_THAT(lines.front(), StartsWith("==== server process 1 writes from LSN 64 on"));
  EXPECT_THAT(lines, Contains(AllOf(HasSubstr("(alice"), HasSubstr("\n    SEQUENCE\n    PUTROOTFH"),
                                    HasSubstr("\n    CREATE  current file handle: inode"),
                                    HasSubstr("'src' is inode 2, a directory"),
                                    HasSubstr("\n        slot session="))));
  EXPECT_THAT(lines.back(),
              AllOf(StartsWith("==== the log ends at LSN"), HasSubstr("no transaction was in flight")));
}

TEST_F(VserverLogTest, SecretsAreNotShown) {
  for (const bool json : {false, true}) {
    show({}, json);
    EXPECT_THAT(lines, Contains(HasSubstr(" secret=<secret> ")));
    EXPECT_THAT(lines, Contains(HasSubstr(" name_key=<secret> ")));
  }
}

TEST_F(VserverLogTest, OneClientAlone) {
  testing::TestClient bob(server, "bob");
  bob.connect();
  alice.ok(alice.sequence().putrootfh().mkdir("of-alice"));
  bob.ok(bob.sequence().putrootfh().mkdir("of-bob"));
  for (const std::string& filter : {std::string("bob"), fmt::format("{:#x}", bob.client_id())}) {
    show({.transaction = {}, .client = filter});
    EXPECT_THAT(lines, Contains(HasSubstr("of-bob")));
    EXPECT_THAT(lines, Not(Contains(HasSubstr("of-alice"))));
  }
}

TEST_F(VserverLogTest, AsJson) {
  alice.ok(alice.sequence().putrootfh().mkdir("src"));
  show({}, true);
  size_t records = 0, creates = 0;
  for (const std::string& line : lines) {
    const nlohmann::json j = nlohmann::json::parse(line, nullptr, false);
    ASSERT_FALSE(j.is_discarded()) << line;
    if (j.contains("event")) continue;
    ++records;
    for (const nlohmann::json& step : j["steps"]) creates += step["operation"] == "CREATE" ? 1 : 0;
  }
  EXPECT_GT(records, 3U);
  EXPECT_EQ(creates, 1U);
}

// A COMMIT of many steps, killed in the middle: where it stood, and where it went on.
TEST_F(VserverLogTest, ATransactionIsFollowedThroughACrash) {
  testing::CompoundReply opened = alice.ok(alice.sequence().putrootfh().create_file("big", "o"));
  opened.next(Opnum4::OP_PUTROOTFH);
  opened.next(Opnum4::OP_OPEN);
  const Bytes b = opened.in().get_opaque_fixed(16);
  const ByteVector stateid(b.begin(), b.end());
  const ByteVector data(250 * size_t{block_bytes}, std::byte{'d'});
  for (uint64_t i = 0; i < 4; ++i)
    alice.ok(alice.sequence().putrootfh().lookup("big").write(stateid, i * data.size(), 0, data));
  auto commit = alice.sequence().putrootfh().lookup("big");
  server.send(commit.op(Opnum4::OP_COMMIT).u64(0).u32(0).finish());
  auto& transactions = server.vserver().processor().transactions();
  ASSERT_TRUE(server.pump_until([&] { return transactions.size() != 0; }));
  TransactionId id;
  transactions.for_each([&](const auto& key, const auto&) { id = key.transaction; });
  wait_durable();
  server.crash();
  server.start();
  ASSERT_TRUE(server.pump_until([&] { return server.vserver().processor().transactions().size() == 0; }));
  wait_durable();

  show({.transaction = id, .client = {}});
  ASSERT_THAT(lines, SizeIs(::testing::Ge(5U)));
  const auto restart = std::ranges::find_if(
      lines, [](const std::string& l) { return l.starts_with("==== server process 2"); });
  ASSERT_NE(restart, lines.end());
  EXPECT_THAT(*std::prev(restart), AllOf(HasSubstr("COMMIT"), HasSubstr("  waits")));
  EXPECT_THAT(*restart, AllOf(HasSubstr("resumed by this one: 1"), HasSubstr(transaction_name(id)),
                              HasSubstr("COMMIT")));
  EXPECT_THAT(*std::next(restart), HasSubstr("GOES ON after the restart"));
  EXPECT_THAT(*std::prev(lines.end(), 2), HasSubstr("  finished"));
}

TEST_F(LogViewTest, ANameThatIsKnownFromElsewhere) {
  log::RecordBuilder builder;
  builder.begin(TransactionId(uint64_t{3} << 40U | 7), 99, 0);
  builder.begin_step({.operation = 9});
  builder.put(200, bytes_of("key"), bytes_of("row"));
  const Bytes record = builder.finish(Lsn(64), Epoch(5));
  LogView v = view();
  v.know_client(client::ClientId(99), "carol");
  ASSERT_TRUE(v.record({.lsn = Lsn(0), .start = StartNumber(3), .epoch = Epoch(5)}, record, Lsn(64)));
  v.lost(Lsn(100), Lsn(200));
  EXPECT_THAT(lines,
              ElementsAre(StartsWith("==== server process 3"),
                          "64  epoch 5  1970-01-01 00:00:00.000000  transaction 3.7  client 0x63 (carol)\n"
                          "    GETATTR\n"
                          "        table 200 <6 bytes>",
                          HasSubstr("overtaken: the records from LSN 100 to 200")));
  EXPECT_FALSE(v.record({}, record.first(40), Lsn(64)));
}

TEST(RowWords, TransactionNames) {
  const TransactionId id(uint64_t{3} << 40U | 7);
  EXPECT_EQ(transaction_name(id), "3.7");
  EXPECT_EQ(parse_transaction("3.7"), id);
  EXPECT_EQ(parse_transaction("3298534883335"), id);
  EXPECT_EQ(parse_transaction("0x30000000007"), id);
  for (const char* bad : {"", ".", "3.", ".7", "x", "3.7.1", "-1", "3.9999999999999", "0x", "3 "})
    EXPECT_FALSE(parse_transaction(bad)) << bad;
}

TEST(RowWords, AnyBytesAreSafe) {
  for (unsigned table = 0; table < 256; ++table)
    for (size_t size = 0; size < 40; ++size) {
      const ByteVector bytes(size, std::byte{0xff});
      describe_row(static_cast<uint8_t>(table), bytes, Bytes(bytes));
      describe_row(static_cast<uint8_t>(table), bytes, std::nullopt);
    }
}

}  // namespace
}  // namespace perdure::server
