#include "wire/record_reader.h"

#include <gtest/gtest.h>

#include <deque>
#include <random>
#include <string>

#include "wire/xdr_decoder.h"

namespace perdure::wire {
namespace {

void put_fragment(std::string& stream, std::string_view data, bool last, uint32_t claimed_extra = 0) {
  std::byte mark[4];
  store_u32(mark, (static_cast<uint32_t>(data.size()) + claimed_extra) | (last ? 1U << 31 : 0));
  stream += text_of(mark);
  stream += data;
}

std::string pattern(size_t n, std::mt19937& random) {
  std::string text(n, '\0');
  const auto first = static_cast<unsigned char>(random());
  for (size_t i = 0; i < n; ++i) text[i] = static_cast<char>(first + i * 7);
  return text;
}

// Feeds a stream to a reader in pieces of 1..piece_max bytes, as far as the reader offers room.
struct Feed {
  RecordReader reader;
  std::vector<std::string> records = {};
  std::deque<Record> kept = {};
  size_t keep = 0;  // so many records stay referred to
  bool broken = false;
  size_t received = 0;

  explicit Feed(const RecordLimits& limits, ReceiveMeter* meter = nullptr) : reader(limits, meter) {}

  // False once the reader is broken.
  bool feed(std::string_view stream, size_t piece_max, std::mt19937& random) {
    while (!stream.empty() && !broken) {
      const MutableBytes room = reader.room();
      const size_t n = std::min({room.size(), stream.size(), 1 + random() % piece_max});
      std::memcpy(room.data(), stream.data(), n);
      stream.remove_prefix(n);
      received += n;
      reader.received(n);
      take();
    }
    return !broken;
  }
  void take() {
    Record record;
    RecordReader::Next next;
    while ((next = reader.next(record)) == RecordReader::Next::record) {
      records.emplace_back(text_of(record.message));
      kept.push_back(std::move(record));
      if (kept.size() > keep) kept.pop_front();
    }
    broken = next == RecordReader::Next::broken;
  }
};

TEST(RecordReader, OneByteAtATime) {
  std::mt19937 random(1);
  std::string stream;
  put_fragment(stream, "hello", true);
  put_fragment(stream, "", false);
  put_fragment(stream, "wo", false);
  put_fragment(stream, "r", false);
  put_fragment(stream, "ld", true);
  put_fragment(stream, "ab", false);
  put_fragment(stream, "", true);
  Feed feed({.record_bytes_max = 5, .fragments_max = 4});
  EXPECT_TRUE(feed.feed(stream, 1, random));
  EXPECT_EQ(feed.records, (std::vector<std::string>{"hello", "world", "ab"}));
  EXPECT_FALSE(feed.reader.partial());
}

TEST(RecordReader, RandomRecordsFragmentsAndSplits) {
  const size_t before = chunk_bytes_in_use();
  for (unsigned seed = 0; seed < 60; ++seed) {
    std::mt19937 random(seed);
    const RecordLimits limits{.record_bytes_max = seed % 2 == 0 ? 200'000U : 3'000U, .fragments_max = 20};
    Feed feed(limits);
    feed.keep = seed % 5;
    std::vector<std::string> expected;
    std::string stream;
    for (int i = 0; i < 60; ++i) {
      const size_t size = 1 + random() % (random() % 3 == 0 ? limits.record_bytes_max : 500);
      expected.push_back(pattern(size, random));
      std::string_view rest = expected.back();
      for (size_t fragments = 1 + random() % 20; fragments > 1; --fragments) {
        const size_t n = random() % (rest.size() + 1);
        put_fragment(stream, rest.substr(0, n), false);
        rest.remove_prefix(n);
      }
      put_fragment(stream, rest, true);
    }
    ASSERT_TRUE(feed.feed(stream, seed % 3 == 0 ? 7 : 100'000, random));
    ASSERT_EQ(feed.records.size(), expected.size());
    ASSERT_TRUE(feed.records == expected) << seed;
    for (size_t i = 0; i < feed.kept.size(); ++i)
      ASSERT_EQ(text_of(feed.kept[i].message), expected[expected.size() - feed.kept.size() + i])
          << "still there";
  }
  EXPECT_EQ(chunk_bytes_in_use(), before);
}

TEST(RecordReader, LimitsAreExact) {
  std::mt19937 random(1);
  const RecordLimits limits{.record_bytes_max = 10, .fragments_max = 3};
  const auto breaks = [&](std::initializer_list<std::pair<const char*, bool>> fragments) {
    std::string stream;
    for (const auto& [data, last] : fragments) put_fragment(stream, data, last);
    Feed feed(limits);
    return !feed.feed(stream, 100, random);
  };
  EXPECT_FALSE(breaks({{"0123456789", true}}));
  EXPECT_TRUE(breaks({{"0123456789a", true}}));
  EXPECT_FALSE(breaks({{"01234", false}, {"56789", true}}));
  EXPECT_TRUE(breaks({{"01234", false}, {"56789a", true}}));
  EXPECT_FALSE(breaks({{"", false}, {"", false}, {"1", true}}));
  EXPECT_TRUE(breaks({{"", false}, {"", false}, {"", false}, {"1", true}})) << "four fragments";
  EXPECT_TRUE(breaks({{"", true}})) << "an empty record";
  EXPECT_TRUE(breaks({{"", false}, {"", true}}));
}

TEST(RecordReader, HostileLengthBreaksBeforeMemoryIsTaken) {
  std::mt19937 random(1);
  const size_t before = chunk_bytes_in_use();
  for (const bool last : {false, true}) {
    std::string stream;
    put_fragment(stream, "x", last, 0x7ffffffe);
    Feed feed(RecordLimits{});
    EXPECT_FALSE(feed.feed(stream, 5, random));
    EXPECT_LE(feed.received, 5U);
    EXPECT_LE(chunk_bytes_in_use() - before, 64U << 10);
    EXPECT_FALSE(feed.feed("more", 5, random)) << "broken for good";
  }
  EXPECT_EQ(chunk_bytes_in_use(), before);
}

TEST(RecordReader, ZeroLengthFragmentsEnd) {
  std::mt19937 random(1);
  std::string stream;
  for (int i = 0; i < 100'000; ++i) put_fragment(stream, "", false);
  Feed feed(RecordLimits{});
  EXPECT_FALSE(feed.feed(stream, 4, random));
  EXPECT_EQ(feed.received, (1024U + 1) * 4);
}

TEST(RecordReader, SingleFragmentRecordsAreNotCopied) {
  std::mt19937 random(1);
  std::string stream;
  for (int i = 0; i < 10; ++i) put_fragment(stream, pattern(1000, random), true);
  RecordReader reader(RecordLimits{});
  const MutableBytes room = reader.room();
  ASSERT_GE(room.size(), stream.size());
  std::memcpy(room.data(), stream.data(), stream.size());
  reader.received(stream.size());
  Record record;
  for (size_t i = 0; i < 10; ++i) {
    ASSERT_EQ(reader.next(record), RecordReader::Next::record);
    EXPECT_EQ(record.message.data(), room.data() + i * 1004 + 4);
  }
}

// Counts what a stream of big records costs in moved bytes, by looking at where each byte was received.
TEST(RecordReader, StreamOfBigRecordsIsReceivedInPlace) {
  std::mt19937 random(1);
  constexpr size_t size = (1 << 20) + 200;
  std::string stream;
  for (int i = 0; i < 12; ++i) put_fragment(stream, pattern(size, random), true);
  for (const bool keep : {false, true}) {
    RecordReader reader(RecordLimits{});
    std::vector<Record> kept;
    size_t in_place = 0;
    const std::byte* last_room_end = nullptr;
    size_t last_n = 0;
    for (std::string_view rest = stream; !rest.empty();) {
      const MutableBytes room = reader.room();
      const size_t n = std::min({room.size(), rest.size(), size_t{300'000}});
      std::memcpy(room.data(), rest.data(), n);
      rest.remove_prefix(n);
      reader.received(n);
      last_room_end = room.data() + n;
      last_n = n;
      Record record;
      while (reader.next(record) == RecordReader::Next::record) {
        in_place += last_room_end == record.message.data() + record.message.size() && last_n <= size;
        if (keep) kept.push_back(record);
      }
    }
    EXPECT_EQ(in_place, 12U) << "each record ended with the receive that completed it";
  }
}

// A message that begins with "data" says in its next two bytes where its data are and how they shall lie.
std::optional<DataPlace> find_test_data(Bytes beginning) {
  if (beginning.size() < 700 || text_of(beginning.first(4)) != "data") return {};
  return DataPlace{size_t{static_cast<unsigned char>(beginning[4])} * 2,
                   size_t{static_cast<unsigned char>(beginning[5])} * 16};
}

TEST(RecordReader, DataLieOnTheBoundsOfPages) {
  const size_t before = chunk_bytes_in_use(), pages_before = pages_in_use();
  size_t paged = 0;
  ReceiveMeter* meter = ReceiveMeter::make(nullptr, [](void*) {});
  for (unsigned seed = 0; seed < 40; ++seed) {
    std::mt19937 random(seed);
    RecordLimits limits;
    limits.find_data = find_test_data;
    Feed feed(limits, meter);
    feed.keep = 1 + seed % 5;
    std::vector<std::string> expected;
    std::string stream;
    for (int i = 0; i < 30; ++i) {
      const bool big = random() % 3 != 0;
      std::string text = pattern(big ? 400'000 + random() % 600'000 : 1 + random() % 2000, random);
      if (random() % 4 != 0) text.replace(0, std::min<size_t>(4, text.size()), "data");
      expected.push_back(text);
      const size_t first = random() % 8 == 0 ? random() % text.size() : 0;
      if (first != 0) put_fragment(stream, text.substr(0, first), false);
      put_fragment(stream, text.substr(first), true);
    }
    // What pages are kept of a record must not change when the next ones come.
    std::vector<std::pair<PageRef, ByteVector>> kept;
    std::string_view rest = stream;
    while (!rest.empty()) {
      const size_t n = std::min(rest.size(), size_t{1} + random() % 200'000);
      const size_t records = feed.records.size();
      ASSERT_TRUE(feed.feed(rest.substr(0, n), 1 + random() % 100'000, random));
      rest.remove_prefix(n);
      if (feed.records.size() == records) continue;
      const Record& record = feed.kept.back();
      if (record.chunk.pages() == nullptr) continue;
      ++paged;
      const DataPlace place = *find_test_data(record.message);
      const std::byte* data = record.message.data() + place.offset;
      ASSERT_EQ(reinterpret_cast<uintptr_t>(data) % block_bytes, place.in_page);
      const std::byte* page = data + (block_bytes - place.in_page) % block_bytes;
      kept.emplace_back(record.chunk.pages()->page_at(page), ByteVector(page, page + block_bytes));
    }
    ASSERT_TRUE(feed.records == expected) << seed;
    for (const auto& [page, content] : kept) ASSERT_TRUE(std::ranges::equal(page.bytes(), content));
  }
  EXPECT_GT(paged, 100U);
  EXPECT_EQ(meter->chunk_bytes(), 0U);
  EXPECT_EQ(chunk_bytes_in_use(), before);
  EXPECT_EQ(pages_in_use(), pages_before);
  meter->unref();
}

TEST(RecordReader, HoldsNothingWhenIdle) {
  std::mt19937 random(1);
  const size_t before = chunk_bytes_in_use();
  ReceiveMeter* meter = ReceiveMeter::make(nullptr, [](void*) {});
  {
    std::string stream;
    put_fragment(stream, "request", true);
    Feed feed(RecordLimits{}, meter);
    feed.keep = 1;
    feed.feed(stream, 100, random);
    feed.reader.trim();
    EXPECT_EQ(meter->chunk_bytes(), 64U << 10) << "the request still holds its chunk";
    EXPECT_EQ(text_of(feed.kept[0].message), "request");
    feed.kept.clear();
    EXPECT_EQ(meter->chunk_bytes(), 0U);
    EXPECT_EQ(chunk_bytes_in_use(), before);

    feed.feed(std::string_view(stream).substr(0, 2), 100, random);
    EXPECT_TRUE(feed.reader.partial());
    feed.reader.trim();
    feed.feed(std::string_view(stream).substr(2), 100, random);
    EXPECT_EQ(feed.records.size(), 2U);
  }
  meter->unref();
}

TEST(Ticket, CountsRequestsAndTellsWhenOneIsGone) {
  int released = 0;
  ReceiveMeter* meter = ReceiveMeter::make(&released, [](void* owner) { ++*static_cast<int*>(owner); });
  {
    Ticket a(*meter);
    Ticket b(*meter);
    EXPECT_EQ(meter->requests(), 2U);
    Ticket moved(std::move(a));
    EXPECT_EQ(meter->requests(), 2U);
    moved = Ticket();
    EXPECT_EQ(meter->requests(), 1U);
    EXPECT_EQ(released, 1);
    meter->disown();
    meter->unref();  // the ticket keeps it
  }
  EXPECT_EQ(released, 1);
}

}  // namespace
}  // namespace perdure::wire
