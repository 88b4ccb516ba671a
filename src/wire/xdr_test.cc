#include "wire/xdr.h"

#include <gtest/gtest.h>

#include <random>
#include <string>

namespace perdure::wire {
namespace {

ByteVector bytes(std::initializer_list<int> values) {
  ByteVector result;
  for (const int value : values) result.push_back(static_cast<std::byte>(value));
  return result;
}

PageRef page_filled_with(int value) {
  PageRef page = make_page();
  std::memset(page.mutable_bytes().data(), value, block_bytes);
  return page;
}

size_t piece_count(const XdrEncoder& e) {
  size_t count = 0;
  e.for_each_piece(0, [&](Bytes) { return ++count, true; });
  return count;
}

TEST(Xdr, EncodesAsRfc4506Says) {
  XdrEncoder e;
  e.put_u32(0x01020304);
  e.put_i32(-2);
  e.put_u64(0x0102030405060708);
  e.put_i64(-1);
  e.put_bool(true);
  e.put_bool(false);
  e.put_opaque_fixed(bytes_of("abcde"));
  e.put_opaque(bytes_of(""));
  e.put_string("abcd");
  e.put_string("x");
  EXPECT_EQ(e.flatten(), bytes({1,    2,    3,    4,    0xff, 0xff, 0xff, 0xfe, 1, 2, 3, 4, 5,   6, 7, 8,  //
                                0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1, 0,   0, 0, 0,  //
                                'a',  'b',  'c',  'd',  'e',  0,    0,    0,    0, 0, 0, 0,                //
                                0,    0,    0,    4,    'a',  'b',  'c',  'd',  0, 0, 0, 1, 'x', 0, 0, 0}));
}

struct Everything {
  uint32_t a = 0;
  int32_t b = 0;
  uint64_t c = 0;
  int64_t d = 0;
  bool e = false;
  std::string fixed, opaque, text;
  std::vector<uint32_t> array;
  friend bool operator==(const Everything&, const Everything&) = default;

  void encode(XdrEncoder& x) const {
    x.put_u32(a);
    x.put_i32(b);
    x.put_u64(c);
    x.put_i64(d);
    x.put_bool(e);
    x.put_opaque_fixed(bytes_of(fixed));
    x.put_opaque(bytes_of(opaque));
    x.put_string(text);
    x.put_u32(static_cast<uint32_t>(array.size()));
    for (const uint32_t value : array) x.put_u32(value);
  }
  static Everything decode(XdrDecoder& x) {
    Everything all;
    all.a = x.get_u32();
    all.b = x.get_i32();
    all.c = x.get_u64();
    all.d = x.get_i64();
    all.e = x.get_bool();
    all.fixed = text_of(x.get_opaque_fixed(7));
    all.opaque = text_of(x.get_opaque(6));
    all.text = x.get_string(20);
    const uint32_t count = x.get_count(3, 4);
    for (uint32_t i = 0; i < count; ++i) all.array.push_back(x.get_u32());
    return all;
  }
};

const Everything sample{1, -2, 3ULL << 40, -4LL << 40, true, "seven..", "sixsix", "some text", {5, 6, 7}};

TEST(Xdr, EveryTruncationFailsCleanly) {
  XdrEncoder e;
  sample.encode(e);
  const ByteVector whole = e.flatten();
  XdrDecoder d(whole);
  EXPECT_EQ(Everything::decode(d), sample);
  EXPECT_TRUE(d.finished());
  for (size_t n = 0; n < whole.size(); ++n) {
    const ByteVector part(whole.begin(),
                          whole.begin() + static_cast<ptrdiff_t>(n));  // its end is watched by asan
    XdrDecoder truncated(part);
    Everything::decode(truncated);
    EXPECT_FALSE(truncated.ok()) << n;
    EXPECT_EQ(truncated.remaining(), 0U);
  }
}

TEST(Xdr, BoolIsZeroOrOne) {
  for (const int value : {0, 1, 2, 255}) {
    const ByteVector input = bytes({0, 0, 0, value});
    XdrDecoder d(input);
    EXPECT_EQ(d.get_bool(), value == 1);
    EXPECT_EQ(d.ok(), value <= 1);
  }
  const ByteVector high = bytes({1, 0, 0, 1});
  XdrDecoder d(high);
  d.get_bool();
  EXPECT_FALSE(d.ok());
}

TEST(Xdr, LengthsAreChecked) {
  const ByteVector four = bytes({0, 0, 0, 4, 'a', 'b', 'c', 'd'});
  XdrDecoder fits(four);
  EXPECT_EQ(fits.get_string(4), "abcd");
  XdrDecoder too_long(four);
  EXPECT_EQ(too_long.get_string(3), "");
  EXPECT_FALSE(too_long.ok());
  for (const int top : {0x7f, 0x80, 0xff}) {
    const ByteVector hostile = bytes({top, 0xff, 0xff, 0xff, 1, 2, 3, 4});
    XdrDecoder d(hostile);
    EXPECT_TRUE(d.get_opaque(SIZE_MAX).empty());
    EXPECT_FALSE(d.ok());
    XdrDecoder count(hostile);
    EXPECT_EQ(count.get_count(UINT32_MAX, 8), 0U);
    EXPECT_FALSE(count.ok());
  }
  XdrDecoder d(four);
  EXPECT_TRUE(d.get_opaque_fixed(SIZE_MAX).empty());
  EXPECT_FALSE(d.ok());
}

TEST(Xdr, PaddingMustBeThereButMayBeAnything) {
  const ByteVector dirty = bytes({0, 0, 0, 1, 'x', 7, 7, 7});
  XdrDecoder d(dirty);
  EXPECT_EQ(d.get_string(9), "x");
  EXPECT_TRUE(d.finished());
  const ByteVector missing = bytes({0, 0, 0, 1, 'x', 7, 7});
  XdrDecoder m(missing);
  m.get_string(9);
  EXPECT_FALSE(m.ok());
}

TEST(Xdr, SeekForgetsAFailureAndReadsAgain) {
  const ByteVector input = bytes({0, 0, 0, 1, 0, 0, 0, 2});
  XdrDecoder d(input);
  d.get_u32();
  const size_t saved = d.position();
  EXPECT_EQ(d.get_u64(), 0U);
  EXPECT_FALSE(d.ok());
  EXPECT_EQ(d.get_u32(), 0U) << "a failure is sticky";
  d.seek(saved);
  EXPECT_TRUE(d.ok());
  EXPECT_EQ(d.get_u32(), 2U);
  EXPECT_TRUE(d.finished());
}

TEST(XdrEncoder, SmallMessageIsOnePieceWithItsRecordMark) {
  XdrEncoder e;
  e.put_string("abcd");
  e.put_record_mark();
  EXPECT_EQ(e.flatten(), bytes({0x80, 0, 0, 8, 0, 0, 0, 4, 'a', 'b', 'c', 'd'}));
  EXPECT_EQ(piece_count(e), 1U);
  XdrEncoder empty;
  empty.put_record_mark();
  EXPECT_EQ(empty.flatten(), bytes({0x80, 0, 0, 0}));
}

TEST(XdrEncoder, PagesAreReferredToNotCopied) {
  const size_t before = pages_in_use();
  {
    const PageRef pages[] = {page_filled_with(1), page_filled_with(2), page_filled_with(3)};
    XdrEncoder e;
    e.put_u32(77);
    e.append_pages(pages, 4095, 4098);
    e.put_u32(78);
    e.put_record_mark();
    ByteVector expected = bytes({0x80, 0, 0x10, 0x0c, 0, 0, 0, 77, 1});
    expected.insert(expected.end(), 4096, std::byte{2});
    for (const int value : {3, 0, 0, 0, 0, 0, 78}) expected.push_back(static_cast<std::byte>(value));
    EXPECT_EQ(e.flatten(), expected);
    EXPECT_EQ(e.size(), expected.size());
    EXPECT_EQ(e.flatten(9), ByteVector(expected.begin() + 9, expected.end()));
    EXPECT_FALSE(pages[1].unique());
    EXPECT_EQ(pages_in_use(), before + 4) << "three pages of data and one of the encoder";
  }
  EXPECT_EQ(pages_in_use(), before);
}

TEST(XdrEncoder, MessageMayBeginWithPages) {
  const PageRef pages[] = {page_filled_with(9)};
  XdrEncoder e;
  e.append_pages(pages, 0, 8);
  e.put_record_mark();
  EXPECT_EQ(e.flatten(), bytes({0x80, 0, 0, 8, 9, 9, 9, 9, 9, 9, 9, 9}));
}

TEST(XdrEncoder, NoPagesAtAllIsNothing) {
  XdrEncoder e;
  e.put_u32(0);
  e.append_pages({}, 0, 0);
  EXPECT_EQ(e.size(), 4U);
}

TEST(XdrEncoder, TruncateDropsPagesBehindTheMark) {
  PageRef pages[] = {page_filled_with(1), page_filled_with(2)};
  const size_t before = pages_in_use();
  XdrEncoder e;
  e.put_u32(1);
  const size_t mark = e.size();
  e.put_u32(block_bytes);
  e.append_pages(pages, 0, size_t{2} * block_bytes);
  e.put_u32(2);
  e.truncate(mark);
  EXPECT_TRUE(pages[0].unique());
  EXPECT_TRUE(pages[1].unique());
  EXPECT_EQ(pages_in_use(), before + 1);
  e.put_u32(3);
  EXPECT_EQ(e.flatten(), bytes({0, 0, 0, 1, 0, 0, 0, 3}));
  EXPECT_EQ(piece_count(e), 1U) << "the first page is written on";
}

TEST(XdrEncoder, PatchReachesEveryOwnPiece) {
  XdrEncoder e;
  std::vector<size_t> places;
  const PageRef pages[] = {page_filled_with(0)};
  for (int i = 0; i < 3000; ++i) {
    places.push_back(e.size());
    e.put_u32(0);
    if (i % 1000 == 500) e.append_pages(pages, 0, 5);
  }
  for (size_t i = 0; i < places.size(); ++i) e.patch_u32(places[i], static_cast<uint32_t>(i));
  const ByteVector flat = e.flatten();
  for (size_t i = 0; i < places.size(); ++i) EXPECT_EQ(load_u32(flat.data() + places[i]), i);
}

TEST(XdrEncoder, PatchOverAPageBoundary) {
  XdrEncoder e;
  e.put_raw(ByteVector(4090));
  e.put_raw(ByteVector(6));
  e.patch_u32(4090, 0x01020304);
  EXPECT_EQ(e.flatten(4090), bytes({1, 2, 3, 4, 0, 0}));
}

// Everything that an encoder can do, at random, against a plain byte vector.
TEST(XdrEncoder, AgreesWithAPlainBuffer) {
  const size_t before = pages_in_use();
  std::mt19937 random(1);
  for (int round = 0; round < 300; ++round) {
    XdrEncoder e;
    ByteVector model;
    std::vector<size_t> marks;
    const auto model_u32 = [&](uint32_t value) {
      model.resize(model.size() + 4);
      store_u32(model.data() + model.size() - 4, value);
    };
    for (int step = 0; step < 60; ++step) {
      switch (random() % 8) {
        case 0:
        case 1: {
          const auto value = static_cast<uint32_t>(random());
          e.put_u32(value);
          model_u32(value);
          break;
        }
        case 2: {
          e.put_u64(uint64_t{5} << 32 | 6);
          model_u32(5);
          model_u32(6);
          break;
        }
        case 3: {
          const ByteVector data(random() % (random() % 4 == 0 ? 20000 : 40),
                                static_cast<std::byte>(random()));
          e.put_opaque(data);
          model_u32(static_cast<uint32_t>(data.size()));
          model.insert(model.end(), data.begin(), data.end());
          model.resize(padded(model.size()));
          break;
        }
        case 4: {
          std::vector<PageRef> pages;
          for (size_t n = 1 + random() % 4; n > 0; --n)
            pages.push_back(page_filled_with(static_cast<int>(random() % 256)));
          const size_t offset = random() % block_bytes;
          const size_t length = random() % (pages.size() * block_bytes - offset + 1);
          e.append_pages(pages, offset, length);
          ByteVector all;
          for (const PageRef& page : pages) all.insert(all.end(), page.bytes().begin(), page.bytes().end());
          model.insert(model.end(), all.begin() + static_cast<ptrdiff_t>(offset),
                       all.begin() + static_cast<ptrdiff_t>(offset + length));
          model.resize(padded(model.size()));
          break;
        }
        case 5:
          marks.push_back(e.size());
          break;
        case 6:
          if (!marks.empty()) {
            e.truncate(marks.back());
            model.resize(marks.back());
            marks.pop_back();
          }
          break;
        case 7: {
          XdrEncoder moved(std::move(e));
          EXPECT_EQ(e.size(), 0U);  // NOLINT(bugprone-use-after-move): it promises to be empty
          e = std::move(moved);
          break;
        }
      }
      ASSERT_EQ(e.size(), model.size());
    }
    ASSERT_EQ(e.flatten(), model);
    const size_t from = model.empty() ? 0 : random() % model.size();
    ASSERT_EQ(e.flatten(from), ByteVector(model.begin() + static_cast<ptrdiff_t>(from), model.end()));
    e.put_record_mark();
    ASSERT_EQ(e.flatten(4), model);
    ASSERT_EQ(load_u32(e.flatten().data()), model.size() | 1U << 31);
  }
  EXPECT_EQ(pages_in_use(), before);
}

}  // namespace
}  // namespace perdure::wire
