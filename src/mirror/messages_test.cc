#include "mirror/messages.h"

#include <gtest/gtest.h>

#include <random>

#include "base/crc32c.h"
#include "mirror/channel.h"

namespace perdure::mirror {
namespace {

TEST(Messages, ComeBackAsTheyWere) {
  Hello hello;
  hello.from = {"a", 17};
  hello.loaded = true;
  hello.log_end = Lsn(4096);
  const ByteVector bytes = encode_message(hello);
  const Result<Message> message = decode_message(bytes);
  ASSERT_TRUE(message);
  const auto& back = std::get<Hello>(*message);
  EXPECT_EQ(back.version, protocol_version);
  EXPECT_EQ(back.from, hello.from);
  EXPECT_TRUE(back.loaded);
  EXPECT_EQ(back.log_end, Lsn(4096));

  const Rows rows{.read_from = Lsn(8192),
                  .behind = {},
                  .upto = {std::byte{5}},
                  .rows = {{{std::byte{4}}, {}}, {{std::byte{5}}, {std::byte{1}, std::byte{2}}}}};
  const ByteVector rows_bytes = encode_message(rows);
  const Result<Message> rows_message = decode_message(rows_bytes);
  ASSERT_TRUE(rows_message);
  EXPECT_EQ(std::get<Rows>(*rows_message).rows[1].value.size(), 2U);
  EXPECT_EQ(std::get<Rows>(*rows_message).upto, rows.upto);
}

TEST(Messages, APayloadIsWhatItsChecksumSays) {
  const ByteVector payload(100, std::byte{7});
  ByteVector bytes = encode_message(Batch{Lsn(4096), Epoch(3), crc32c(payload), {}});
  bytes.insert(bytes.end(), payload.begin(), payload.end());
  const Result<Message> message = decode_message(bytes);
  ASSERT_TRUE(message);
  EXPECT_TRUE(std::ranges::equal(std::get<Batch>(*message).payload, payload));
  bytes.back() ^= std::byte{1};
  EXPECT_FALSE(decode_message(bytes));
}

TEST(Messages, BlocksAreWholeAndNotTooMany) {
  const ByteVector fields = encode_message(Blocks{BlockNo(9), {}});
  for (const size_t size : {size_t{0}, size_t{1}, size_t{4095}, size_t{65} * 4096, size_t{4097}}) {
    ByteVector bytes = fields;
    bytes.resize(fields.size() + size);
    EXPECT_FALSE(decode_message(bytes)) << size;
  }
  ByteVector bytes = fields;
  bytes.resize(fields.size() + size_t{64} * 4096);
  EXPECT_TRUE(decode_message(bytes));
}

TEST(Messages, AnyBytesAreSafe) {
  std::mt19937_64 random(1);
  std::vector<ByteVector> good{encode_message(Welcome{{"b", 5}, {{Epoch(1), Lsn(0)}, {Epoch(4), Lsn(8192)}}}),
                               encode_message(WantRows{true, {std::byte{1}}}),
                               encode_message(Rows{Lsn(0), {}, {}, {{{std::byte{1}}, {std::byte{2}}}}}),
                               encode_message(Ack{1, Lsn(2), Lsn(3), Lsn(4), true}),
                               encode_message(HandOver{}),
                               encode_message(Frozen{Lsn(8192)}),
                               encode_message(Legacy{{std::byte{1}, std::byte{2}}})};
  size_t understood = 0;
  for (int i = 0; i < 200'000; ++i) {
    ByteVector bytes = good[random() % good.size()];
    for (uint64_t n = random() % 4; n > 0; --n)
      bytes[random() % bytes.size()] = static_cast<std::byte>(random());
    if (random() % 3 == 0) bytes.resize(random() % (bytes.size() + 4));
    understood += decode_message(bytes).has_value();
  }
  EXPECT_GT(understood, 1000U);
  EXPECT_FALSE(decode_message({}));
}

TEST(History, AnEpochEndsWhereTheNextPrimaryBegan) {
  const History history{{Epoch(2), Lsn(0)}, {Epoch(5), Lsn(8192)}, {Epoch(9), Lsn(40960)}};
  EXPECT_EQ(end_of_epoch(history, Epoch(2)), Lsn(8192));
  EXPECT_EQ(end_of_epoch(history, Epoch(4)), Lsn(8192));
  EXPECT_EQ(end_of_epoch(history, Epoch(5)), Lsn(40960));
  EXPECT_EQ(end_of_epoch(history, Epoch(9)), Lsn(UINT64_MAX));
  EXPECT_EQ(end_of_epoch(history, Epoch(1)), Lsn(0));
}

}  // namespace
}  // namespace perdure::mirror
