#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <thread>

#include "base/crc32c.h"
#include "base/ids.h"
#include "base/outcome.h"
#include "base/page.h"
#include "base/per_thread.h"
#include "base/siphash.h"

namespace perdure {
namespace {

TEST(Crc32c, KnownAnswer) {
  EXPECT_EQ(crc32c(bytes_of("123456789")), 0xE3069283U);
}

TEST(Crc32c, ContinuesOverPieces) {
  EXPECT_EQ(crc32c(bytes_of("6789"), crc32c(bytes_of("12345"))), crc32c(bytes_of("123456789")));
  EXPECT_EQ(crc32c({}), 0U);
}

// The vectors of the paper's appendix A: key 00..0f, message 00..0e.
TEST(SipHash, KnownAnswer) {
  std::array<std::byte, 15> message;
  for (size_t i = 0; i < message.size(); ++i) message[i] = static_cast<std::byte>(i);
  EXPECT_EQ(siphash({0x0706050403020100U, 0x0f0e0d0c0b0a0908U}, message), 0xa129ca6149be45e5U);
}

TEST(Bytes, DecoderNeverReadsPastTheEnd) {
  Encoder e;
  e.put<uint32_t>(7);
  e.put_string(bytes_of("abc"));
  Decoder d(e.bytes());
  EXPECT_EQ(d.get<uint32_t>(), 7U);
  EXPECT_EQ(text_of(d.get_string()), "abc");
  EXPECT_TRUE(d.finished());
  EXPECT_EQ(d.get<uint64_t>(), 0U);
  EXPECT_FALSE(d.ok());
  EXPECT_FALSE(d.finished());
}

TEST(Bytes, StringWithHostileLengthFails) {
  Encoder e;
  e.put<uint32_t>(0xffffffff);
  Decoder d(e.bytes());
  EXPECT_TRUE(d.get_string().empty());
  EXPECT_FALSE(d.ok());
}

Outcome<int> three() {
  return 3;
}
Outcome<int> missing() {
  return Stop::fault();
}
Outcome<int> sum(Outcome<int> (*second)()) {
  int a = TRY(three());
  int b = TRY(second());
  return a + b;
}
Outcome<int> none() {
  return Status::no_entry;
}

TEST(Outcome, TryPassesStopOn) {
  EXPECT_EQ(*sum(three), 6);
  EXPECT_TRUE(sum(missing).error().is_fault());
  EXPECT_EQ(sum(none).error().status(), Status::no_entry);
}

Result<void> refuse() {
  return error(ErrorKind::busy, "{} is locked", "ring");
}
Result<int> refused() {
  TRY(refuse());
  return 1;
}
TEST(Result, TryPassesErrorOn) {
  EXPECT_EQ(refused().error().message, "ring is locked");
}

TEST(PerThread, EachThreadHasItsOwnAndTheNextOneGetsIt) {
  struct Counter {
    int value = 0;
  };
  per_thread<Counter>().value = 1;
  Counter* first = nullptr;
  std::thread([&] {
    first = &per_thread<Counter>();
    EXPECT_EQ(first->value, 0);
    first->value = 2;
  }).join();
  std::thread([&] { EXPECT_EQ(&per_thread<Counter>(), first); }).join();
  EXPECT_EQ(first->value, 2);
  EXPECT_EQ(per_thread<Counter>().value, 1);
}

TEST(Page, ZeroPageIsSharedAndZero) {
  EXPECT_EQ(zero_page(), zero_page());
  const size_t before = pages_in_use();
  EXPECT_TRUE(std::ranges::all_of(zero_page().bytes(), [](std::byte b) { return b == std::byte{0}; }));
  PageRef page = make_page();
  EXPECT_EQ(pages_in_use(), before + 1);
  const PageRef other = page;
  EXPECT_FALSE(page.unique());
  page = PageRef();
  EXPECT_TRUE(other.unique());
}

TEST(Page, RunsAreContiguousAndTheirPagesOutliveThem) {
  const size_t before = pages_in_use();
  PageRun run = PageRun::make(100), other = PageRun::make(600);
  ASSERT_TRUE(run && other);
  EXPECT_EQ(pages_in_use(), before + 700);
  EXPECT_EQ(run.bytes(), 100 * block_bytes);
  std::mt19937 random(1);
  for (size_t i = 0; i < run.bytes(); ++i) run.memory()[i] = static_cast<std::byte>(random());
  std::memset(other.memory(), 1, other.bytes());
  const ByteVector copy(run.memory(), run.memory() + run.bytes());
  PageRef kept = run.page_at(run.memory() + 7 * block_bytes);
  run = PageRun();
  EXPECT_EQ(pages_in_use(), before + 601);
  EXPECT_TRUE(kept.unique());
  EXPECT_TRUE(std::ranges::equal(kept.bytes(), Bytes(copy).subspan(7 * block_bytes, block_bytes)));
  std::vector<PageRef> pages;
  for (int i = 0; i < 40'000; ++i) pages.push_back(make_page());  // more than two arenas
  for (PageRef& page : pages) page.mutable_bytes()[0] = std::byte{2};
  EXPECT_TRUE(std::ranges::equal(kept.bytes(), Bytes(copy).subspan(7 * block_bytes, block_bytes)));
  EXPECT_EQ(other.memory()[599 * block_bytes], std::byte{1});
  // Every second one is free: there are pages enough, but no neighbours.
  const size_t in_use = pages_in_use();
  for (size_t i = 0; i < pages.size(); i += 2) pages[i] = PageRef();
  size_t runs = 0;
  std::vector<PageRun> all;
  while (PageRun next = PageRun::make(64)) {
    all.push_back(std::move(next));
    ASSERT_LT(++runs, 1000U) << "the pool grows, though half of it is free";
  }
  EXPECT_EQ(pages_in_use(), in_use - pages.size() / 2 + 64 * runs);
}

TEST(Page, CrcOfARunIsThatOfItsBytes) {
  const PageRun run = PageRun::make(64);
  std::mt19937 random(2);
  for (size_t i = 0; i < run.bytes(); ++i) run.memory()[i] = static_cast<std::byte>(random());
  const Bytes all(run.memory(), run.bytes());
  for (int i = 0; i < 200; ++i) {
    const size_t begin = random() % all.size(), bytes = random() % (all.size() - begin);
    ASSERT_EQ(run.crc(all.subspan(begin, bytes)), crc32c(all.subspan(begin, bytes))) << begin << " " << bytes;
  }
  EXPECT_EQ(run.crc(all), crc32c(all));
}

TEST(Strong, ComparesAndFormats) {
  EXPECT_LT(Lsn(1), Lsn(2));
  EXPECT_EQ(fmt::format("{}", Lsn(17)), "17");
}

}  // namespace
}  // namespace perdure
