#include "log/record.h"

#include <gtest/gtest.h>

#include <random>

namespace perdure::log {
namespace {

ByteVector copy_of(Bytes b) {
  return ByteVector(b.begin(), b.end());
}

// A record as a rename would make it: two steps, puts and an erase.
Bytes build(RecordBuilder& builder, Lsn lsn = Lsn(4160)) {
  builder.begin(TransactionId(77), 5, 1'700'000'000'000'000'123);
  builder.begin_step({.operation = 22, .step = 0, .status = 0, .current = InodeId(2), .saved = InodeId(0)});
  builder.begin_step({.operation = 29, .step = 3, .status = 13, .current = InodeId(9), .saved = InodeId(2)});
  builder.put(1, bytes_of("key1"), bytes_of("row one"));
  builder.erase(2, bytes_of("key-2"));
  builder.begin_put(3);
  builder.encoder().put<uint32_t>(0x31323334);
  builder.key_done();
  builder.encoder().put_bytes(bytes_of("written in place"));
  builder.put_done();
  return builder.finish(lsn, Epoch(6));
}

TEST(Record, ComesBackAsItWasBuilt) {
  RecordBuilder builder;
  for (int again = 0; again < 2; ++again) {
    const Bytes record = build(builder);
    EXPECT_TRUE(builder.has_changes());
    EXPECT_EQ(builder.steps(), 2U);
    const Result<RecordView> view = parse_record(record, Lsn(4160));
    ASSERT_TRUE(view) << view.error().message;
    EXPECT_EQ(view->header.lsn, Lsn(4160));
    EXPECT_EQ(view->header.epoch, Epoch(6));
    EXPECT_EQ(view->header.transaction, TransactionId(77));
    EXPECT_EQ(view->header.client, 5U);
    EXPECT_EQ(view->header.time_ns, 1'700'000'000'000'000'123);
    ASSERT_EQ(view->steps.size(), 2U);
    EXPECT_EQ(view->steps[0].control.operation, 22);
    EXPECT_TRUE(view->steps[0].changes.empty());
    const StepView& step = view->steps[1];
    EXPECT_EQ(step.control.operation, 29);
    EXPECT_EQ(step.control.step, 3);
    EXPECT_EQ(step.control.status, 13U);
    EXPECT_EQ(step.control.current, InodeId(9));
    EXPECT_EQ(step.control.saved, InodeId(2));
    ASSERT_EQ(step.changes.size(), 3U);
    EXPECT_EQ(step.changes[0].table, 1);
    EXPECT_FALSE(step.changes[0].erased);
    EXPECT_EQ(text_of(step.changes[0].key), "key1");
    EXPECT_EQ(text_of(step.changes[0].row), "row one");
    EXPECT_EQ(step.changes[1].table, 2);
    EXPECT_TRUE(step.changes[1].erased);
    EXPECT_EQ(text_of(step.changes[1].key), "key-2");
    EXPECT_TRUE(step.changes[1].row.empty());
    EXPECT_EQ(text_of(step.changes[2].key), "4321");
    EXPECT_EQ(text_of(step.changes[2].row), "written in place");
  }
}

// The bytes themselves, so that the layout does not change by accident: docs/formats/record.md.
TEST(Record, LayoutIsAsDocumented) {
  RecordBuilder builder;
  Decoder in(build(builder));
  EXPECT_EQ(in.get<uint32_t>(), 56U + 32 + 32 + (8 + 4 + 7) + (8 + 5) + (8 + 4 + 16));
  in.get<uint32_t>();  // CRC
  EXPECT_EQ(in.get<uint64_t>(), 4160U);
  EXPECT_EQ(in.get<uint64_t>(), 6U);
  EXPECT_EQ(in.get<uint64_t>(), 77U);
  EXPECT_EQ(in.get<uint64_t>(), 5U);
  EXPECT_EQ(in.get<int64_t>(), 1'700'000'000'000'000'123);
  EXPECT_EQ(in.get<uint32_t>(), 2U);
  EXPECT_EQ(in.get<uint32_t>(), 0U);
  EXPECT_EQ(in.get<uint32_t>(), 32U);
  EXPECT_EQ(in.get<uint32_t>(), 0U);
  in.get_bytes(24);
  EXPECT_EQ(in.get<uint32_t>(), 32U + 19 + 13 + 28);
  EXPECT_EQ(in.get<uint32_t>(), 3U);
  EXPECT_EQ(in.get<uint16_t>(), 29U);
  EXPECT_EQ(in.get<uint16_t>(), 3U);
  EXPECT_EQ(in.get<uint32_t>(), 13U);
  EXPECT_EQ(in.get<uint64_t>(), 9U);
  EXPECT_EQ(in.get<uint64_t>(), 2U);
  EXPECT_EQ(in.get<uint8_t>(), 1U);
  EXPECT_EQ(in.get<uint8_t>(), 0U);
  EXPECT_EQ(in.get<uint16_t>(), 4U);
  EXPECT_EQ(in.get<uint32_t>(), 7U);
  EXPECT_EQ(text_of(in.get_bytes(11)), "key1row one");
  EXPECT_TRUE(in.ok());
}

TEST(Record, ForEachChangeGivesTheChangesInOrder) {
  RecordBuilder builder;
  std::string trace;
  const Result<RecordHeader> header = for_each_change(build(builder), [&](const RowChange& c) {
    trace += fmt::format("{}{}{}={};", c.table, c.erased ? "-" : "+", text_of(c.key), text_of(c.row));
  });
  ASSERT_TRUE(header);
  EXPECT_EQ(header->transaction, TransactionId(77));
  EXPECT_EQ(trace, "1+key1=row one;2-key-2=;3+4321=written in place;");
}

TEST(Record, WithoutChangesSaysSo) {
  RecordBuilder builder;
  build(builder);
  builder.begin(TransactionId(1), 0, 0);
  builder.begin_step({});
  EXPECT_FALSE(builder.has_changes());
  EXPECT_TRUE(parse_record(builder.finish(Lsn(64), Epoch(1)), Lsn(64)));
}

TEST(Record, AnotherLsnIsCorruptAndNamed) {
  RecordBuilder builder;
  const Result<RecordView> view = parse_record(build(builder), Lsn(8256));
  ASSERT_FALSE(view);
  EXPECT_EQ(view.error().kind, ErrorKind::corrupt);
  EXPECT_NE(view.error().message.find("8256"), std::string::npos);
}

TEST(Record, EveryFlippedBitIsFound) {
  RecordBuilder builder;
  ByteVector record = copy_of(build(builder));
  for (size_t bit = 0; bit < record.size() * 8; ++bit) {
    record[bit / 8] ^= static_cast<std::byte>(1U << bit % 8);
    const Result<RecordView> view = parse_record(record, Lsn(4160));
    ASSERT_FALSE(view) << "bit " << bit;
    ASSERT_EQ(view.error().kind, ErrorKind::corrupt);
    record[bit / 8] ^= static_cast<std::byte>(1U << bit % 8);
  }
}

TEST(Record, EveryPrefixIsCorrupt) {
  RecordBuilder builder;
  const Bytes record = build(builder);
  for (size_t n = 0; n < record.size(); ++n) {
    // In memory of its own, so that the sanitizer sees a read past its end.
    const ByteVector prefix = copy_of(record.first(n));
    EXPECT_FALSE(parse_record(prefix, Lsn(4160)));
    EXPECT_FALSE(for_each_change(prefix, [](const RowChange&) {}));
    EXPECT_FALSE(first_record(prefix));
  }
}

// Behind the CRC: whatever the bytes say, the parser stays within them.
TEST(Record, RandomMutationsAreSafe) {
  RecordBuilder builder;
  const ByteVector good = copy_of(build(builder));
  std::mt19937_64 random(1);
  size_t accepted = 0;
  for (int round = 0; round < 50'000; ++round) {
    ByteVector record = good;
    for (uint64_t n = 1 + random() % 4; n > 0; --n) {
      const size_t at = random() % record.size();
      switch (random() % 4) {
        case 0:
          record[at] = static_cast<std::byte>(random());
          break;
        case 1:
          record[at] = std::byte{0xff};
          break;
        case 2:
          record.resize(std::max<size_t>(at, 1));
          break;
        default:
          record.insert(record.begin() + static_cast<ptrdiff_t>(at), std::byte{0});
          break;
      }
    }
    const uint32_t size = static_cast<uint32_t>(record.size());
    if (size >= sizeof size && random() % 2 == 0) std::memcpy(record.data(), &size, sizeof size);
    const ByteVector exact(record.begin(), record.end());
    size_t bytes = 0;
    const Result<RecordHeader> header =
        for_each_change(exact, [&](const RowChange& c) { bytes += c.key.size() + c.row.size(); });
    EXPECT_LE(bytes, exact.size());
    accepted += header ? 1 : 0;
    EXPECT_EQ(parse_record(exact, Lsn(4160)).has_value(), exact == good);
    EXPECT_LE(first_record(exact).value_or(Bytes()).size(), exact.size());
  }
  EXPECT_GT(accepted, 1000U);  // many get past the header: the mutations reach the parser's depth
}

}  // namespace
}  // namespace perdure::log
