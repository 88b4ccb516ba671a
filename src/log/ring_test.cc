#include "log/ring.h"

#include <random>

#include "base/crc32c.h"
#include "log/testing/log_fixture.h"

namespace perdure::log {
namespace {

constexpr uint64_t kib = 1024;

class RingTest : public LogFixture {
 protected:
  void create_and_open(uint64_t capacity) {
    capacity_ = capacity;
    ASSERT_TRUE(create(capacity + area_begin));
    ASSERT_TRUE(open());
  }
  void expect_corrupt(Lsn lsn, Lsn from = Lsn(0), Lsn applied = Lsn(0)) {
    const Result<Lsn> end = open(from, applied);
    ASSERT_FALSE(end) << "ends at " << end->value;
    EXPECT_EQ(end.error().kind, ErrorKind::corrupt);
    EXPECT_NE(end.error().message.find(fmt::format("LSN {} ", lsn)), std::string::npos)
        << end.error().message;
    crash(SectorFate::drop);
  }
  void expect_end(Lsn end, const ReadRecords& records, Lsn from = Lsn(0)) {
    const Result<Lsn> found = open(from);
    ASSERT_TRUE(found) << found.error().message;
    EXPECT_EQ(*found, end);
    EXPECT_EQ(read_, records);
  }
  void expect_what_is_read_to_survive(const std::function<void()>& then);
};

TEST_F(RingTest, ANewRingIsEmptyAndEveryStartHasItsNumber) {
  create_and_open(64 * kib);
  EXPECT_EQ(ring_->capacity(), 64 * kib);
  for (uint64_t start = 1; start < 10; ++start) {
    EXPECT_EQ(ring_->start_number(), StartNumber(start));
    EXPECT_EQ(ring_->position(), Lsn(0));
    EXPECT_EQ(ring_->room(), 64 * kib);
    EXPECT_TRUE(read_.empty());
    crash(SectorFate::drop);
    ASSERT_TRUE(open());
  }
}

TEST_F(RingTest, IsNotCreatedOverAnother) {
  create_and_open(64 * kib);
  EXPECT_EQ(create(128 * kib).error().kind, ErrorKind::busy);
  crash(SectorFate::drop);
  EXPECT_EQ(create(128 * kib).error().kind, ErrorKind::invalid);
  EXPECT_TRUE(open());
}

TEST_F(RingTest, OpenNamesWhatIsWrong) {
  EXPECT_EQ(open_only().error().kind, ErrorKind::not_found);
  create_and_open(64 * kib);
  std::optional<ErrorKind> kind;
  LogRing::open(env_, path, [&](auto r) { kind = r.error().kind; });
  EXPECT_FALSE(kind);  // never inline
  env_.run_until_idle();
  EXPECT_EQ(kind, ErrorKind::busy);
  crash(SectorFate::drop);

  const ByteVector good = env_.content(path);
  env_.overwrite(path, 0, ByteVector(area_begin));
  EXPECT_EQ(open_only().error().kind, ErrorKind::corrupt);
  crash(SectorFate::drop);

  // A superblock of another version, with a good checksum.
  ByteVector other(good.begin(), good.begin() + sector_bytes);
  other[8] = std::byte{2};
  const uint32_t crc = crc32c(Bytes(other).first(sector_bytes - 4));
  std::memcpy(other.data() + sector_bytes - 4, &crc, sizeof crc);
  env_.overwrite(path, 0, other);
  EXPECT_EQ(open_only().error().kind, ErrorKind::unsupported);
}

TEST_F(RingTest, CreationFailsWithoutSpaceAndCanBeRepeated) {
  env_.set_space(64 * kib);
  EXPECT_EQ(create(128 * kib).error().kind, ErrorKind::no_space);
  env_.set_space(UINT64_MAX);
  for (uint64_t n = 0;; ++n) {  // a crash at each I/O
    env_.stall_io_after(n);
    bool done = false;
    LogRing::create(env_, path, 128 * kib, [&](Result<void> r) { done = r.has_value(); });
    env_.run_until_idle();
    if (done) break;
    ASSERT_LT(n, 10U);
    crash(SectorFate::tear);
  }
  crash(SectorFate::drop);
  ASSERT_TRUE(open());
  EXPECT_EQ(ring_->capacity(), 128 * kib - area_begin);
}

TEST_F(RingTest, AStartNumberIsNeverGivenTwice) {
  create_and_open(64 * kib);
  StartNumber last = ring_->start_number();
  for (int round = 0; round < 200; ++round) {
    crash(SectorFate::drop);
    // A start that dies at its write of the superblock.
    if (round % 3 != 0) {
      env_.stall_io_after(1 + static_cast<uint64_t>(round) % 2);
      LogRing::open(env_, path, [&](auto) { FAIL(); });
      env_.run_until_idle();
      env_.crash();
    } else if (round % 2 == 0) {
      flip(last.value % slot_count * sector_bytes + 16);  // the newest superblock is lost later
    }
    ASSERT_TRUE(open());
    ASSERT_GT(ring_->start_number(), last);
    last = ring_->start_number();
  }
}

// Of a start that is killed within its opening nothing may be stable, and the next one must not rest on it.
TEST_F(RingTest, StartsThatDieInTheirOpeningLeaveASuperblock) {
  create_and_open(64 * kib);
  crash(SectorFate::drop);
  for (uint64_t round = 0; round < 400; ++round) {
    for (const uint64_t requests : {1 + round % 3, 1 + round / 3 % 3}) {
      env_.stall_io_after(requests);
      std::unique_ptr<LogRing> opened;
      LogRing::open(env_, path, [&](Result<std::unique_ptr<LogRing>> ring) { opened = *std::move(ring); });
      env_.run_until_idle();
      env_.kill();
    }
    env_.crash([](const std::string&, uint64_t) { return SectorFate::tear; });
    const Result<void> opened = open_only();
    ASSERT_TRUE(opened) << opened.error().message << ", round " << round;
    crash(SectorFate::drop);
  }
}

// A batch whose write failed, or was never answered, may be readable and yet only in the disk's cache, where
// `then` happens to it. A start that goes on behind it has made it durable.
void RingTest::expect_what_is_read_to_survive(const std::function<void()>& then) {
  create_and_open(1024 * kib);
  int found = 0;
  for (int round = 0; round < 20; ++round) {
    append_batch(1, 'a');
    const size_t durable = read_.size() + 1;
    env_.inject({.path = path, .kind = env::IoKind::write});
    append(100, 'b');
    env_.run_until_idle();
    env_.kill();
    commit_.reset();
    ring_.reset();
    then();
    env_.clear_faults();
    ASSERT_TRUE(open());
    const size_t seen = read_.size();
    ASSERT_GE(seen, durable);
    if (seen > durable) ++found;
    append_batch(1, 'c');
    crash(SectorFate::drop);
    const Result<Lsn> end = open();
    ASSERT_TRUE(end) << end.error().message;
    EXPECT_EQ(read_.size(), seen + 1);
  }
  EXPECT_GT(found, 0);
}

TEST_F(RingTest, WhatAStartHasReadSurvivesAPowerCut) {
  expect_what_is_read_to_survive([] {});
}

// A flush that failed may have lost what the cache had, and a later one that succeeds does not bring it back.
TEST_F(RingTest, WhatAFailedFlushHasLostIsWrittenAgain) {
  expect_what_is_read_to_survive([this] {
    env_.inject({.path = path, .kind = env::IoKind::flush});
    bool failed = false;
    const std::unique_ptr<env::File> file = std::move(*env_.open(path, false));
    file->flush([&failed](Result<void> flushed) { failed = !flushed; });
    env_.run_until_idle();
    ASSERT_TRUE(failed);
  });
}

TEST_F(RingTest, EveryFailingRequestOfAStartIsReported) {
  create_and_open(64 * kib);
  append_batch(2, 'a');
  for (uint64_t n = 0;; ++n) {
    crash(SectorFate::drop);
    env_.clear_faults();
    env_.inject({.path = path, .kind = {}, .skip = n});
    const Result<Lsn> end = open();
    if (end) {
      EXPECT_GE(n, 4U);  // two of open(), at least one of each pass of read()
      EXPECT_EQ(read_.size(), 1U);
      break;
    }
    EXPECT_EQ(end.error().kind, ErrorKind::io);
  }
}

TEST_F(RingTest, RecordsComeBackInOrder) {
  create_and_open(256 * kib);
  ReadRecords expected;
  for (size_t i = 0; i < 20; ++i) {
    expected.push_back(append(100 + 400 * i, static_cast<char>('a' + i)));
    if (i % 3 == 0) env_.run_until_idle();
  }
  env_.run_until_idle();
  const Lsn end = ring_->position();
  crash(SectorFate::drop);
  expect_end(end, expected);
  for (const ReadRecord& r : read_) EXPECT_TRUE(parse_record(r.bytes, r.lsn));
}

TEST_F(RingTest, RecordsBeforeAppliedAreSkipped) {
  create_and_open(64 * kib);
  const ReadRecord a = append_batch(1, 'a');
  append(200, 'b');
  const Lsn applied = commit_->next_lsn();
  const Lsn from = commit_->batch_start();
  const ReadRecord c = append(200, 'c');
  env_.run_until_idle();
  crash(SectorFate::drop);
  ASSERT_TRUE(open(from, applied));
  EXPECT_EQ(read_, ReadRecords{c});
  EXPECT_EQ(ring_->tail(), from);
  EXPECT_EQ(ring_->room(), 64 * kib - sector_bytes);
}

TEST_F(RingTest, BatchesWrapAroundATinyRing) {
  create_and_open(64 * kib);
  std::mt19937_64 random(3);
  std::deque<ReadRecord> expected;
  uint64_t wrapped = 0;
  for (int i = 0; i < 400; ++i) {
    const size_t sectors = 1 + random() % 5;
    const Lsn begin = ring_->position();
    expected.push_back(append_batch(sectors, static_cast<char>(i)));
    wrapped += begin.value % capacity_ + sectors * sector_bytes > capacity_ ? 1 : 0;
    while (ring_->room() < 5 * sector_bytes) {
      ring_->trim(expected[1].lsn - Lsn(batch_header_bytes));
      expected.pop_front();
    }
    if (i % 7 == 0) {
      const Lsn tail = ring_->tail();
      const Lsn end = ring_->position();
      crash(SectorFate::drop);
      expect_end(end, ReadRecords(expected.begin(), expected.end()), tail);
    }
  }
  EXPECT_GT(wrapped, 20U);
  EXPECT_GT(ring_->position().value, 10 * capacity_);
}

TEST_F(RingTest, ARingCanBeFilledToItsLastByte) {
  create_and_open(64 * kib);
  ReadRecords expected;
  for (int i = 0; i < 16; ++i) expected.push_back(append_batch(1, static_cast<char>('a' + i)));
  EXPECT_EQ(ring_->room(), 0U);
  crash(SectorFate::drop);
  expect_end(Lsn(64 * kib), expected);
  EXPECT_EQ(ring_->room(), 0U);
  ring_->trim(Lsn(sector_bytes));
  expected.push_back(append_batch(1, 'z'));
  crash(SectorFate::drop);
  expected.erase(expected.begin());
  expect_end(Lsn(64 * kib + sector_bytes), expected, Lsn(sector_bytes));
}

TEST_F(RingTest, TheLargestRecordsLieInManyChunksAndWrap) {
  create_and_open(24 << 20);
  env_.set_io_shuffled(true);
  ReadRecords expected;
  for (int i = 0; i < 4; ++i) {
    if (i >= 2) {
      ring_->trim(expected[2].lsn - Lsn(batch_header_bytes));
      expected.erase(expected.begin(), expected.begin() + 2);
    }
    expected.push_back(append(1000, 'x'));
    expected.push_back(append(record_bytes_max, static_cast<char>('a' + i)));
    env_.run_until_idle();
  }
  const Lsn tail = ring_->tail();
  const Lsn end = ring_->position();
  EXPECT_GT(end.value, capacity_);
  crash(SectorFate::drop);
  expect_end(end, expected, tail);
}

// One batch after two good ones: whichever of its sectors reach the disk, it is there whole or not at all.
TEST_F(RingTest, ATornTailEndsTheLogCleanly) {
  constexpr size_t sectors = 6;
  constexpr uint32_t all_landed = (1U << sectors) - 1;
  for (const size_t before : {1U, 8U}) {  // with eight, the last batch wraps
    for (uint32_t landed = 0; landed <= all_landed; ++landed) {
      for (const SectorFate lost : {SectorFate::drop, SectorFate::tear}) {
        create_and_open(64 * kib);
        append_batch(before, 'x');
        const Lsn tail = ring_->position();
        ring_->trim(tail);
        const ReadRecords good{append_batch(2, 'a'), append_batch(3, 'b')};
        const Lsn position = ring_->position();
        ReadRecords all = good;
        all.push_back(append(sectors * sector_bytes - batch_header_bytes, 'c'));
        commit_->flush();
        crash([&](const std::string&, uint64_t offset) {
          const uint64_t i = (offset + capacity_ - offset_of(position)) % capacity_ / sector_bytes;
          return (landed >> i & 1U) != 0 ? SectorFate::keep : lost;
        });
        if (landed == all_landed)
          expect_end(position + Lsn(sectors * sector_bytes), all, tail);
        else
          expect_end(position, good, tail);
        ASSERT_FALSE(HasFailure()) << "sectors " << landed;
        crash(SectorFate::drop);
        env_.remove(path);
      }
    }
  }
}

// What a dead process wrote behind the log's end stays dead, however often it goes on like this.
TEST_F(RingTest, ADeadTailNeverComesBack) {
  create_and_open(64 * kib);
  std::mt19937_64 random(5);
  ReadRecords expected;
  Lsn tail;
  for (int start = 0; start < 300; ++start) {
    for (uint64_t n = random() % 3; n > 0; --n)
      expected.push_back(append_batch(1 + random() % 3, static_cast<char>('a' + start % 26)));
    const Lsn position = ring_->position();
    append((1 + random() % 4) * sector_bytes - batch_header_bytes,
           static_cast<char>(start));  // torn: its last sector is lost
    const uint64_t lost = offset_of(commit_->next_lsn() - Lsn(sector_bytes));
    commit_->flush();
    crash([&](const std::string&, uint64_t at) { return at == lost ? SectorFate::drop : SectorFate::keep; });
    expect_end(position, expected, tail);
    ASSERT_FALSE(HasFailure()) << "start " << start;
    while (ring_->room() < 10 * sector_bytes) {
      expected.erase(expected.begin());
      tail = expected.empty() ? ring_->position() : expected[0].lsn - Lsn(batch_header_bytes);
      ring_->trim(tail);
    }
  }
}

// Of batches that are written at the same time the disk may lose any. Those behind the first that is lost are
// dead, also for a reader that begins where one of them lies.
TEST_F(RingTest, BatchesBehindALostOneAreDead) {
  create_and_open(64 * kib);
  const ReadRecord a = append_batch(1, 'a');
  env_.hold_io(true);
  for (int i = 0; i < 3; ++i) {
    append(sector_bytes - batch_header_bytes, 'x');
    commit_->flush();
  }
  ASSERT_EQ(env_.io_under_way(), 3U);
  const uint64_t lost = offset_of(Lsn(sector_bytes));
  crash([&](const std::string&, uint64_t at) { return at == lost ? SectorFate::drop : SectorFate::keep; });
  env_.hold_io(false);
  expect_end(Lsn(sector_bytes), {a});
  const StartNumber start = ring_->start_number();
  const ReadRecord b = append_batch(1, 'b');
  crash(SectorFate::drop);
  expect_end(Lsn(2 * sector_bytes), {a, b});
  crash(SectorFate::drop);
  // A checkpoint of `start` moved the tail to the first of the dead.
  ASSERT_EQ(open(Lsn(2 * sector_bytes), Lsn(2 * sector_bytes), start), Lsn(2 * sector_bytes));
  EXPECT_TRUE(read_.empty());
}

// But one that a later batch knows to be durable is damaged.
TEST_F(RingTest, ABatchThatALaterOneKnowsIsDamaged) {
  create_and_open(64 * kib);
  append_batch(1, 'a');
  append_batch(1, 'b');
  append_batch(1, 'c');
  crash(SectorFate::drop);
  flip(offset_of(Lsn(sector_bytes)) + 100);
  const Result<Lsn> end = open();
  ASSERT_FALSE(end);
  EXPECT_EQ(end.error().kind, ErrorKind::corrupt);
}

TEST_F(RingTest, ABatchOfAnEarlierLapIsNeverTaken) {
  create_and_open(64 * kib);
  for (int i = 0; i < 16; ++i) append_batch(1, 'o');
  ring_->trim(Lsn(64 * kib));
  const ReadRecord n = append_batch(1, 'n');
  crash(SectorFate::drop);
  expect_end(Lsn(64 * kib + sector_bytes), {n}, Lsn(64 * kib));
  crash(SectorFate::drop);
  // Nor by a reader that begins there.
  expect_end(Lsn(64 * kib + 2 * sector_bytes), {}, Lsn(64 * kib + 2 * sector_bytes));
}

// Two histories of one start: the second replaces the first's batches up to one that lies there whole, with
// the right LSN and start number.
TEST_F(RingTest, ABatchThatFollowsAnotherPredecessorIsADeadTail) {
  create_and_open(64 * kib);
  crash(SectorFate::drop);
  const ByteVector fork = env_.content(path);
  ASSERT_TRUE(open());
  append_batch(1, 'a');
  append_batch(1, 'b');
  append_batch(1, 'c');
  const StartNumber start = ring_->start_number();
  const ByteVector first = env_.content(path);
  crash(SectorFate::drop);

  env_.overwrite(path, 0, fork);
  ASSERT_TRUE(open());
  EXPECT_EQ(ring_->start_number(), start);
  ReadRecords expected{append_batch(1, 'A'), append_batch(1, 'B')};
  const uint64_t c_at = offset_of(Lsn(2 * sector_bytes));
  env_.overwrite(path, c_at, Bytes(first).subspan(c_at, sector_bytes));
  crash(SectorFate::drop);
  expect_end(Lsn(2 * sector_bytes), expected);
  // It goes on from there.
  expected.push_back(append_batch(1, 'C'));
  crash(SectorFate::drop);
  expect_end(Lsn(3 * sector_bytes), expected);
}

// A disk that has lost the write of a batch shows what lay there before. If that is the dead tail of an
// earlier start, the log does not end there: later batches know that there was another one.
TEST_F(RingTest, ADeadTailInThePlaceOfADurableBatchIsDamage) {
  create_and_open(64 * kib);
  const ByteVector empty = env_.content(path);
  append_batch(1, 'x');
  append_batch(1, 'y');
  const ByteVector dead = env_.content(path);
  env_.overwrite(path, 0, empty);
  for (int start = 0; start < 2; ++start) {
    crash(SectorFate::drop);
    ASSERT_TRUE(open());
  }
  const ReadRecord a = append_batch(1, 'a');
  append_batch(1, 'b');
  const ByteVector before = env_.content(path);
  for (const char c : {'c', 'd'}) append_batch(1, c);
  const uint64_t at = offset_of(Lsn(sector_bytes));
  env_.overwrite(path, at, Bytes(dead).subspan(at, sector_bytes));
  crash(SectorFate::drop);
  expect_corrupt(Lsn(sector_bytes));

  // Without them it is the end, as far as anybody can tell.
  env_.overwrite(path, 0, before);
  env_.overwrite(path, at, Bytes(dead).subspan(at, sector_bytes));
  crash(SectorFate::drop);
  expect_end(Lsn(sector_bytes), {a});
}

TEST_F(RingTest, ALowerStartNumberEndsTheLog) {
  // Behind a batch of start 2 lies one of start 1 that even has the right chain.
  create_and_open(64 * kib);
  const ReadRecord a = append_batch(1, 'a');
  crash(SectorFate::drop);
  ASSERT_TRUE(open());
  const ReadRecord b = append_batch(1, 'b');
  append_batch(1, 'c');
  crash(SectorFate::drop);
  ByteVector disk = env_.content(path);
  uint64_t salt = 0;
  std::memcpy(&salt, disk.data() + 16, sizeof salt);
  const MutableBytes c = MutableBytes(disk).subspan(offset_of(Lsn(2 * sector_bytes)), batch_header_bytes);
  std::optional<BatchHeader> header = decode_batch_header(c, salt);
  ASSERT_TRUE(header);
  EXPECT_EQ(header->start, StartNumber(2));
  header->start = StartNumber(1);
  encode_batch_header(*header, salt, c);
  env_.overwrite(path, 0, disk);
  expect_end(Lsn(2 * sector_bytes), {a, b});
  crash(SectorFate::drop);

  // A start that has not been yet is no dead tail but a damaged superblock.
  header->start = StartNumber(1000);
  encode_batch_header(*header, salt, c);
  env_.overwrite(path, offset_of(Lsn(2 * sector_bytes)), c);
  expect_corrupt(Lsn(2 * sector_bytes));
}

// A start whose checkpoint was complete reads no batch, so its first one has no chain.
TEST_F(RingTest, AStartThatReadNothingIsContinuedByLaterStarts) {
  create_and_open(64 * kib);
  const ReadRecord a = append_batch(1, 'a');
  const Lsn end = ring_->position();
  crash(SectorFate::drop);
  expect_end(end, {}, end);
  const ReadRecord b = append_batch(1, 'b');
  crash(SectorFate::drop);
  expect_end(end + Lsn(sector_bytes), {a, b});
}

TEST_F(RingTest, DamageBeforeTheDurablePointIsAnErrorThatNamesTheBatch) {
  create_and_open(64 * kib);
  std::vector<Lsn> begins;
  for (const size_t sectors : {2U, 1U, 4U, 1U, 3U}) {
    begins.push_back(ring_->position());
    append_batch(sectors, static_cast<char>('a' + sectors));
  }
  const Lsn end = ring_->position();
  crash(SectorFate::drop);
  for (size_t batch = 0; batch < begins.size(); ++batch) {
    const bool last = batch + 1 == begins.size();
    const Lsn behind = last ? end : begins[batch + 1];
    for (Lsn at = begins[batch]; at < behind; at += Lsn(1000)) {
      flip(offset_of(at));
      if (!last) {
        expect_corrupt(begins[batch]);
      } else {
        // The last batch could be one that never became durable, unless somebody knows better.
        ASSERT_TRUE(open());
        EXPECT_EQ(ring_->position(), begins[batch]);
        crash(SectorFate::drop);
        expect_corrupt(begins[batch], Lsn(0), end + Lsn(batch_header_bytes));
      }
      flip(offset_of(at));
      ASSERT_FALSE(HasFailure());
    }
  }
}

// A disk that gives wrong bytes once: of the last batches nothing else says that they were durable.
TEST_F(RingTest, AMisreadDoesNotEndTheLog) {
  create_and_open(64 * kib);
  ReadRecords records;
  for (int i = 0; i < 3; ++i) records.push_back(append_batch(2, 'a'));
  int good = 0;
  for (int round = 0; round < 1000; ++round) {
    crash(SectorFate::drop);
    int reads_before = round % 5;
    env_.set_misread([&](const std::string&) { return reads_before-- == 0; });
    const Result<Lsn> end = open();
    env_.set_misread({});
    if (!end) continue;  // the next start is well
    ++good;
    ASSERT_EQ(read_, records) << "round " << round;
  }
  EXPECT_GT(good, 500);
}

TEST_F(RingTest, DamageIsFoundAcrossTheWrapAndBehindTheLargestBatch) {
  create_and_open(20 << 20);
  append_batch(1000, 'x');
  append_batch(1000, 'x');
  append_batch(1000, 'x');
  const Lsn tail = ring_->position();
  ring_->trim(tail);
  append_batch(1, 'a');
  const Lsn large = ring_->position();
  append(batch_bytes_full - record_alignment, 'f');
  append(record_bytes_max, 'l');
  env_.run_until_idle();
  EXPECT_EQ((ring_->position() - large).value, batch_bytes_max);
  append_batch(1, 'z');
  EXPECT_GT(ring_->position().value, capacity_);
  crash(SectorFate::drop);
  flip(offset_of(large));  // the whole batch lies between it and the one that proves that it was durable
  expect_corrupt(large, tail);
}

// A header proves that an earlier batch was durable only where it belongs: elsewhere it is a copy.
TEST_F(RingTest, AHeaderAtTheWrongPlaceProvesNothing) {
  create_and_open(64 * kib);
  for (int i = 0; i < 4; ++i) append_batch(1, static_cast<char>('a' + i));
  crash(SectorFate::drop);
  const ByteVector disk = env_.content(path);
  const Bytes last = Bytes(disk).subspan(offset_of(Lsn(3 * sector_bytes)), sector_bytes);
  env_.overwrite(path, area_begin, ByteVector(capacity_));
  env_.overwrite(path, offset_of(Lsn(2 * sector_bytes)), last);
  expect_end(Lsn(0), {});
  crash(SectorFate::drop);
  env_.overwrite(path, offset_of(Lsn(3 * sector_bytes)), last);
  expect_corrupt(Lsn(0));
}

TEST_F(RingTest, ATailThatWasOverwrittenIsNoEmptyLog) {
  create_and_open(64 * kib);
  for (int i = 0; i < 16; ++i) append_batch(1, 'o');
  ring_->trim(Lsn(8 * sector_bytes));
  for (int i = 0; i < 4; ++i) append_batch(1, 'n');
  crash(SectorFate::drop);
  expect_corrupt(Lsn(0));
  expect_corrupt(Lsn(2 * sector_bytes), Lsn(2 * sector_bytes));
}

TEST_F(RingTest, AReadThatBeginsWithinASectorIsAnError) {
  create_and_open(64 * kib);
  crash(SectorFate::drop);
  const Result<Lsn> end = open(Lsn(64), Lsn(64));
  ASSERT_FALSE(end);
  EXPECT_EQ(end.error().kind, ErrorKind::corrupt);
}

// An old copy of the log beside a newer checkpoint: what would be appended could never be read again.
TEST_F(RingTest, ALogThatIsOlderThanTheCheckpointIsAnError) {
  create_and_open(64 * kib);
  append_batch(1, 'o');
  crash(SectorFate::keep);
  const Result<Lsn> end = open(Lsn(0), Lsn(0), StartNumber(2));  // and this is the second start
  ASSERT_FALSE(end);
  EXPECT_EQ(end.error().kind, ErrorKind::corrupt);
}

TEST_F(RingTest, AnErrorOfTheCallerEndsTheReading) {
  create_and_open(64 * kib);
  append_batch(1, 'a');
  append_batch(1, 'b');
  crash(SectorFate::drop);
  ASSERT_TRUE(open_only());
  int calls = 0;
  std::optional<Result<Lsn>> result;
  ring_->read(
      Lsn(0), Lsn(0), StartNumber(0),
      [&](Bytes, Lsn) -> Result<void> {
        ++calls;
        return error(ErrorKind::invalid, "enough");
      },
      [&](Result<Lsn> r) { result = std::move(r); });
  env_.run_until_idle();
  EXPECT_EQ(calls, 1);
  ASSERT_TRUE(result);
  EXPECT_EQ(result->error().message, "enough");
}

// A record whose row holds, at sector boundaries of the ring, copies of real batches: of the log so far and
// of what will be behind it. (A client that stores a copy of the server's own log would do that.)
TEST_F(RingTest, CopiesOfBatchesInsideRecordsAreNeverTakenForBatches) {
  create_and_open(64 * kib);
  append_batch(1, 'a');
  append_batch(1, 'b');
  append_batch(1, 'c');
  append_batch(1, 'd');
  const ByteVector old = env_.content(path);
  ring_->trim(Lsn(4 * sector_bytes));
  std::mt19937_64 random(11);
  ReadRecords expected;
  Lsn tail = ring_->tail();
  for (int round = 0; round < 300; ++round) {
    // The first sector holds the headers and the row's beginning; then one copy in each sector.
    constexpr size_t copies = 4;
    ByteVector row(sector_bytes - batch_header_bytes - record_overhead);
    const ByteVector now = env_.content(path);
    for (size_t i = 0; i < copies; ++i) {
      const ByteVector& from = random() % 2 == 0 ? old : now;
      const auto at = static_cast<ptrdiff_t>(area_begin + random() % 16 * sector_bytes);
      row.insert(row.end(), from.begin() + at, from.begin() + at + static_cast<ptrdiff_t>(sector_bytes));
    }
    const Lsn position = ring_->position();
    const ReadRecord record = append(row);
    ASSERT_EQ(record.bytes.size(), (copies + 1) * sector_bytes - batch_header_bytes);
    commit_->flush();
    const uint64_t fate = random() % 3;
    if (fate == 0) {
      env_.run_until_idle();
      expected.push_back(record);
      crash(SectorFate::drop);
      expect_end(position + Lsn((copies + 1) * sector_bytes), expected, tail);
    } else {
      // Its header is lost: the copies are what follows the log's end. Or they get in front of the log's next
      // end.
      crash([&](const std::string&, uint64_t at) {
        return at == offset_of(position) ? SectorFate::drop : SectorFate::keep;
      });
      expect_end(position, expected, tail);
      if (fate == 2) {
        expected.push_back(append_batch(1, 's'));
        crash(SectorFate::drop);
        expect_end(position + Lsn(sector_bytes), expected, tail);
      }
    }
    ASSERT_FALSE(HasFailure()) << "round " << round;
    while (ring_->room() < (copies + 1) * sector_bytes) {
      expected.erase(expected.begin());
      tail = expected.empty() ? ring_->position() : expected[0].lsn - Lsn(batch_header_bytes);
      ring_->trim(tail);
    }
  }
}

// Whatever the disk says, reading ends with an error or with records that were written, in their order.
TEST_F(RingTest, RandomDamageNeverInventsRecords) {
  create_and_open(40 * kib);
  std::vector<ReadRecord> expected;
  for (size_t i = 0; i < 5; ++i) {
    expected.push_back(append(200 + 300 * i, static_cast<char>('a' + i)));
    expected.push_back(append(3000, static_cast<char>('A' + i)));
    env_.run_until_idle();
  }
  crash(SectorFate::drop);
  const ByteVector good = env_.content(path);
  std::mt19937_64 random(17);
  size_t errors = 0, ends = 0;
  for (int round = 0; round < 10'000; ++round) {
    ByteVector bad = good;
    for (uint64_t n = 1 + random() % 3; n > 0; --n) {
      const uint64_t sector = random() % (good.size() / sector_bytes);
      // Mostly where the structure is.
      const uint64_t at = sector * sector_bytes + random() % (random() % 4 != 0 ? 200 : sector_bytes);
      switch (random() % 3) {
        case 0:
          bad[at] = static_cast<std::byte>(random());
          break;
        case 1:
          bad[at] ^= static_cast<std::byte>(1U << random() % 8);
          break;
        default:
          std::copy_n(
              good.begin() + static_cast<ptrdiff_t>(random() % (good.size() / sector_bytes) * sector_bytes),
              sector_bytes, bad.begin() + static_cast<ptrdiff_t>(sector * sector_bytes));
      }
    }
    env_.overwrite(path, 0, bad);
    if (const Result<Lsn> end = open()) {
      ++ends;
      ASSERT_LE(read_.size(), expected.size());
    } else {
      ++errors;
      ASSERT_EQ(end.error().kind, ErrorKind::corrupt);
    }
    for (size_t i = 0; i < read_.size(); ++i) ASSERT_EQ(read_[i], expected[i]) << "round " << round;
    crash(SectorFate::drop);
  }
  EXPECT_GT(errors, 500U);
  EXPECT_GT(ends, 500U);
}

// The same behind the checksums: a batch may claim anything about its payload.
TEST_F(RingTest, BatchesThatLieAreSafe) {
  create_and_open(16 * kib);
  append_batch(3, 'a');
  crash(SectorFate::drop);
  const ByteVector good = env_.content(path);
  uint64_t salt = 0;
  std::memcpy(&salt, good.data() + 16, sizeof salt);
  std::mt19937_64 random(23);
  for (int round = 0; round < 10'000; ++round) {
    ByteVector bad = good;
    const MutableBytes batch = MutableBytes(bad).subspan(area_begin);
    std::optional<BatchHeader> header = decode_batch_header(batch.first(batch_header_bytes), salt);
    ASSERT_TRUE(header);
    if (random() % 2 == 0) header->payload_bytes = static_cast<uint32_t>(random() >> random() % 64);
    for (int i = 0; i < 4; ++i)
      batch[batch_header_bytes + random() % 100] = static_cast<std::byte>(random() >> random() % 8);
    const uint64_t covered = std::min<uint64_t>(header->payload_bytes, capacity_ - batch_header_bytes);
    header->payload_crc = crc32c(batch.subspan(batch_header_bytes, covered));
    encode_batch_header(*header, salt, batch.first(batch_header_bytes));
    env_.overwrite(path, 0, bad);
    const Result<Lsn> end = open();
    for (const ReadRecord& r : read_) (void)for_each_change(r.bytes, [](const RowChange&) {});
    ASSERT_TRUE(end || end.error().kind == ErrorKind::corrupt);
    crash(SectorFate::drop);
  }
}

}  // namespace
}  // namespace perdure::log
