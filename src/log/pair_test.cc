// What a pair needs of the log (docs/decisions/pair.md): homes, the gate, batches of a primary on a mirror,
// and a ring that is cut, read again, held or begun anew.
#include "log/aligned_buffer.h"
#include "log/testing/log_fixture.h"

namespace perdure::log {
namespace {

class PairLogTest : public LogFixture {
 protected:
  void SetUp() override {
    capacity_ = 1 << 18;
    ASSERT_TRUE(create(capacity_ + area_begin));
    ASSERT_TRUE(open());
  }
  void note(Lsn lsn, char c) {
    commit_->when_durable(lsn, [this, c] { trace_ += c; });
  }
  // Reads the ring again, up to the first batch that is not wanted.
  Result<Lsn> reopen(LogRing::Wanted wanted) {
    crash(SectorFate::keep);
    read_.clear();
    TRY(open_only());
    std::optional<Result<Lsn>> result;
    ring_->read(
        Lsn(0), Lsn(0), StartNumber(0),
        [this](Bytes record, Lsn lsn) -> Result<void> {
          read_.push_back({lsn, ByteVector(record.begin(), record.end())});
          return {};
        },
        [&](Result<Lsn> r) { result = std::move(r); }, std::move(wanted));
    env_.run_until_idle();
    if (*result) {
      commit_ = std::make_unique<GroupCommit>(env_, ring_.get(), Epoch(1), [](const Error&) { FAIL(); });
      env_.at_turn_end([this] { commit_->flush(); });
    }
    return *std::move(result);
  }
  std::string trace_;
};

TEST_F(PairLogTest, ABatchIsDurableWhenEveryRequiredHomeHasIt) {
  commit_->require({.ring = true, .mirror = true});
  note(append(200, 'a').lsn, 'a');
  env_.run_until_idle();
  EXPECT_EQ(commit_->stable_end(), Lsn(4096));
  EXPECT_EQ(commit_->durable(), Lsn(64));
  EXPECT_EQ(trace_, "");
  commit_->mirrored(Lsn(4096));
  EXPECT_EQ(commit_->durable(), Lsn(4096 + 64));
  EXPECT_EQ(trace_, "a");

  // In the memory of both.
  commit_->require({.ring = false, .mirror = true});
  env_.hold_io(true);
  const Lsn b = append(200, 'b').lsn;
  note(b, 'b');
  commit_->when_stable(b, [this] { trace_ += 'B'; });
  env_.run_until_idle();
  EXPECT_EQ(trace_, "a");
  commit_->mirrored(Lsn(2 * 4096));
  EXPECT_EQ(trace_, "ab");
  env_.hold_io(false);
  env_.run_until_idle();
  EXPECT_EQ(trace_, "abB");

  // Nobody is asked any more, and what was durable stays so.
  append(200, 'c');
  env_.run_until_idle();
  EXPECT_EQ(commit_->durable(), Lsn(2 * 4096 + 64));
  commit_->require({.ring = true, .mirror = false});
  EXPECT_EQ(commit_->durable(), Lsn(3 * 4096 + 64));
  commit_->require({.ring = true, .mirror = true});
  commit_->mirrored(Lsn(0));
  EXPECT_EQ(commit_->durable(), Lsn(3 * 4096 + 64));
}

TEST_F(PairLogTest, AMirrorTakesTheBatchesAsTheyAre) {
  commit_->require({.ring = true, .mirror = true});
  commit_->set_epoch(Epoch(7));
  ReadRecords records;
  for (size_t i = 0; i < 20; ++i) {
    records.push_back(append(200 + 1000 * i, static_cast<char>('a' + i)));
    if (i % 3 == 0) env_.run_until_idle();
  }
  env_.run_until_idle();
  ASSERT_EQ(commit_->stable_end(), commit_->closed_end());

  env::TestEnv other(2);
  std::optional<Result<void>> created;
  LogRing::create(other, "log", capacity_ + area_begin, [&](Result<void> r) { created = std::move(r); });
  other.run_until_idle();
  ASSERT_TRUE(*created);
  std::unique_ptr<LogRing> ring;
  LogRing::open(other, "log", [&](auto r) { ring = *std::move(r); });
  other.run_until_idle();
  ring->read(Lsn(0), Lsn(0), StartNumber(0), [](Bytes, Lsn) -> Result<void> { return {}; }, [](auto) {});
  other.run_until_idle();
  {
    GroupCommit mirror(other, ring.get(), Epoch(0), [](const Error&) { FAIL(); });
    for (Lsn at; at < commit_->closed_end();) {
      const auto batch = commit_->closed_batch(at);
      ASSERT_TRUE(batch);
      ASSERT_EQ(mirror.closed_end(), batch->start);
      mirror.append_batch(batch->payload, batch->records, batch->epoch);
      mirror.flush();
      other.run_until_idle();
      at = batch->end;
    }
    EXPECT_EQ(mirror.stable_end(), commit_->closed_end());
    EXPECT_EQ(mirror.figures().records, records.size());
    EXPECT_EQ(mirror.epoch(), Epoch(7));
  }
  // What the mirror has is no longer kept.
  commit_->mirrored(commit_->closed_end());
  EXPECT_FALSE(commit_->closed_batch(Lsn(0)));
  ring.reset();
  other.crash([](const std::string&, uint64_t) { return env::SectorFate::drop; });
  ReadRecords read;
  LogRing::open(other, "log", [&](auto r) { ring = *std::move(r); });
  other.run_until_idle();
  ring->read(
      Lsn(0), Lsn(0), StartNumber(0),
      [&](Bytes record, Lsn lsn) -> Result<void> {
        read.push_back({lsn, ByteVector(record.begin(), record.end())});
        return {};
      },
      [](auto) {});
  other.run_until_idle();
  EXPECT_EQ(read, records);
  EXPECT_EQ(ring->last_epoch(), Epoch(7));
}

TEST_F(PairLogTest, TheGateHoldsBackWhatIsDurable) {
  bool open = false;
  commit_->set_gate([&] { return open; });
  note(append(200, 'a').lsn, 'a');
  env_.run_until_idle();
  note(append(200, 'b').lsn, 'b');
  note(Lsn(0), '0');
  env_.run_until_idle();
  EXPECT_EQ(commit_->durable(), Lsn(2 * 4096 + 64));
  EXPECT_EQ(trace_, "");
  open = true;
  env_.post([] {});
  env_.run_until_idle();
  EXPECT_EQ(trace_, "ab0");
}

TEST_F(PairLogTest, WhatAMirrorHasReadIsDurableWhenThePrimarySaysSo) {
  for (char c = 'a'; c < 'd'; ++c) append_batch(1, c);
  ASSERT_EQ(reopen(nullptr), Lsn(3 * 4096));
  commit_->doubt(Lsn(4096));
  commit_->require({.ring = true, .mirror = true});
  EXPECT_EQ(commit_->durable(), Lsn(4096 + 64));
  note(commit_->next_lsn() - Lsn(1), 'x');
  commit_->mirrored(Lsn(2 * 4096));
  env_.run_until_idle();
  EXPECT_EQ(commit_->durable(), Lsn(2 * 4096 + 64));
  EXPECT_EQ(trace_, "");
  commit_->mirrored(Lsn(3 * 4096));
  EXPECT_EQ(trace_, "x");
}

TEST_F(PairLogTest, TheLogEndsAtABatchThatIsNotWanted) {
  ReadRecords records;
  for (char c = 'a'; c < 'f'; ++c) records.push_back(append_batch(1, c));
  ASSERT_EQ(reopen([](const LogRing::BatchInfo& batch) { return batch.end <= Lsn(2 * 4096); }),
            Lsn(2 * 4096));
  EXPECT_EQ(read_, ReadRecords(records.begin(), records.begin() + 2));
  // Before anything else is written it can still be read; afterwards it is dead.
  ASSERT_EQ(reopen(nullptr), Lsn(5 * 4096));
  ASSERT_EQ(reopen([](const LogRing::BatchInfo& batch) { return batch.end <= Lsn(2 * 4096); }),
            Lsn(2 * 4096));
  const ReadRecord other = append_batch(1, 'X');
  EXPECT_EQ(other.lsn, Lsn(2 * 4096 + 64));
  ASSERT_EQ(reopen(nullptr), Lsn(3 * 4096));
  EXPECT_EQ(read_, (ReadRecords{records[0], records[1], other}));
}

TEST_F(PairLogTest, ABatchCanBeReadAgainUntilItIsOverwritten) {
  std::vector<ReadRecord> records;
  const auto read_again = [&](Lsn lsn) {
    std::optional<Result<ByteVector>> found;
    ring_->read_batch(lsn, [&](Result<LogRing::ReadBatch> batch) {
      if (batch)
        found = ByteVector(batch->payload.begin(), batch->payload.end());
      else
        found = std::move(batch).error();
    });
    env_.run_until_idle();
    return *std::move(found);
  };
  for (int i = 0; i < 40; ++i) {  // several laps, with batches of more than is read at once
    records.push_back(append_batch(i % 4 == 0 ? 20 : 3, static_cast<char>('a' + i % 26)));
    ring_->trim(ring_->position());
    for (const ReadRecord& record : records) {
      const Lsn lsn = record.lsn - Lsn(batch_header_bytes);
      const Result<ByteVector> found = read_again(lsn);
      if (lsn + Lsn(capacity_) >= ring_->position()) {
        ASSERT_TRUE(found) << lsn.value << ": " << found.error().message;
        ASSERT_EQ(*found, record.bytes);
      } else if (!found) {
        ASSERT_EQ(found.error().kind, ErrorKind::not_found);
      }
    }
  }
  EXPECT_FALSE(read_again(Lsn(0)));
}

TEST_F(PairLogTest, AHeldTailStaysWhereItIs) {
  append_batch(1, 'a');
  append_batch(1, 'b');
  const Lsn b_end = ring_->position();
  ring_->hold(Lsn(4096));
  ring_->trim(b_end);
  EXPECT_EQ(ring_->tail(), Lsn(4096));
  EXPECT_EQ(ring_->room(), capacity_ - 4096);
  ring_->hold(std::nullopt);
  EXPECT_EQ(ring_->tail(), b_end);
  EXPECT_EQ(ring_->room(), capacity_);
}

TEST_F(PairLogTest, AResetRingIsEmptyAndBeginsAnywhere) {
  for (char c = 'a'; c < 'f'; ++c) append_batch(3, c);
  // It may die at each of the requests of the reset: then it is the old one, or an empty one.
  for (uint64_t stall = 0; stall < 4; ++stall) {
    crash(SectorFate::keep);
    ASSERT_TRUE(open_only());
    const StartNumber before = ring_->start_number();
    bool reset = false;
    env_.stall_io_after(stall);
    ring_->reset([&](Result<void> r) { reset = r.has_value(); });
    env_.run_until_idle();
    EXPECT_EQ(reset, stall >= 2);
    if (reset) {
      EXPECT_GT(ring_->start_number(), before);
    }
    crash(SectorFate::tear);
    const Result<Lsn> end = open();
    ASSERT_TRUE(end);
    EXPECT_TRUE(*end == Lsn(15 * 4096) || *end == Lsn(0)) << end->value;
  }
  crash(SectorFate::drop);
  ASSERT_EQ(open(Lsn(7 * 4096), Lsn(7 * 4096 + 64)), Lsn(7 * 4096));
  const ReadRecord record = append_batch(2, 'X');
  EXPECT_EQ(record.lsn, Lsn(7 * 4096 + 64));
  crash(SectorFate::drop);
  ASSERT_EQ(open(Lsn(7 * 4096), Lsn(7 * 4096 + 64)), Lsn(9 * 4096));
  EXPECT_EQ(read_, ReadRecords{record});
}

}  // namespace
}  // namespace perdure::log
