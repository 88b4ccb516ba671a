// A process that appends to its log, moves the tail as checkpoints would, and crashes at any moment, over and
// over. A model beside it knows what was appended and what was said to be durable.

#include <random>

#include "log/testing/log_fixture.h"

namespace perdure::log {
namespace {

class CrashTest : public LogFixture, public testing::WithParamInterface<uint64_t> {
 protected:
  CrashTest() : LogFixture(GetParam()), random_(GetParam()) {}

  struct Applied {
    Lsn lsn, read_from;
    StartNumber start;
  };

  // One start: opens, compares with the model, works for a while, crashes.
  void live() {
    const Result<Lsn> end = open(applied_.read_from, applied_.lsn, applied_.start);
    ASSERT_TRUE(end) << end.error().message;
    ASSERT_GT(ring_->start_number(), start_);
    start_ = ring_->start_number();
    compare();
    ASSERT_FALSE(HasFailure());
    // What the crash took away never happened.
    appended_.resize(read_count_);
    durable_count_ = read_count_;

    if (random_() % 2 == 0) env_.stall_io_after(random_() % 10);  // so that a write is under way at the end
    for (uint64_t n = random_() % 40; n > 0; --n) {
      switch (random_() % 8) {
        case 0:
        case 1:
        case 2:
        case 3:
          env_.post([this] { append_one(); });
          break;
        case 4:
          env_.post([this] { checkpoint(); });
          break;
        case 5:
          env_.run_until_idle();
          break;
        default:
          for (uint64_t events = random_() % 6; events > 0; --events) env_.run_one();
      }
    }
    crash(SectorFate::keep);
  }

  using LogFixture::crash;
  void crash(SectorFate) {
    env_.crash();
    commit_.reset();
    ring_.reset();
  }

  void append_one() {
    static constexpr size_t sizes[] = {120, 120, 300, 1000, 3900, 4032, 5000, 12'000};
    const size_t bytes = sizes[random_() % std::size(sizes)];
    if (commit_->room() < batch_bytes(bytes)) return;
    ByteVector row(bytes - record_overhead);
    for (std::byte& b : row) b = static_cast<std::byte>(random_());
    const Lsn expected = commit_->next_lsn();
    appended_.push_back(append(row));
    ASSERT_EQ(appended_.back().lsn, expected);
    const size_t count = appended_.size();
    commit_->when_durable(expected, [this, count] {
      ASSERT_EQ(count, durable_count_ + 1) << "waiters out of order";
      durable_count_ = count;
      ASSERT_GT(commit_->durable(), appended_[count - 1].lsn);
    });
  }

  // As state/ does it: freezes at next_lsn(), and once that is durable the store has it and the tail moves.
  void checkpoint() {
    const Applied frozen{commit_->next_lsn(), commit_->batch_start(), commit_->start()};
    commit_->when_durable(frozen.lsn - Lsn(1), [this, frozen] {
      if (frozen.lsn <= applied_.lsn) return;
      applied_ = frozen;
      ring_->trim(frozen.read_from);
    });
  }

  // Every durable record from `applied` on is there, in order; perhaps others behind them; none that was
  // never appended.
  void compare() {
    const auto first =
        std::ranges::find_if(appended_, [this](const ReadRecord& r) { return r.lsn >= applied_.lsn; });
    const auto before = static_cast<size_t>(first - appended_.begin());
    read_count_ = before + read_.size();
    ASSERT_GE(read_count_, durable_count_) << "durable records are lost";
    ASSERT_LE(read_count_, appended_.size()) << "records are invented";
    for (size_t i = 0; i < read_.size(); ++i) ASSERT_EQ(read_[i], appended_[before + i]);
    kept_ += read_count_ - durable_count_;
    lost_ += appended_.size() - read_count_;
  }

  std::mt19937_64 random_;
  ReadRecords appended_;  // of all that ever was, as far as it still exists
  size_t durable_count_ = 0, read_count_ = 0;
  Applied applied_;
  StartNumber start_;
  size_t kept_ = 0, lost_ = 0;  // not durable at the crash, and there afterwards or not
};

TEST_P(CrashTest, DurableRecordsSurviveEveryCrash) {
  constexpr uint64_t capacity = 64 << 10;
  ASSERT_TRUE(create(capacity + area_begin));
  env_.set_io_shuffled(GetParam() % 2 == 1);
  for (int start = 0; start < 400; ++start) {
    live();
    ASSERT_FALSE(HasFailure()) << "start " << start;
  }
  // The test has seen what it is about.
  EXPECT_GT(applied_.lsn.value, 20 * capacity);
  EXPECT_GT(kept_, 50U);
  EXPECT_GT(lost_, 50U);
}

INSTANTIATE_TEST_SUITE_P(Seeds, CrashTest, testing::Range<uint64_t>(1, 9));

// The same workload, and a crash after each I/O that it does, with each way in which the last one can end.
TEST_F(LogFixture, ACrashAtEveryRequestLosesNothingDurable) {
  const std::vector<size_t> turns[] = {{200, 300}, {9000}, {200},   {5000, 5000, 5000},
                                       {4032},     {120},  {20'000}};
  constexpr uint64_t capacity = 96 << 10;
  for (uint64_t n = 0;; ++n) {
    for (const SectorFate fate : {SectorFate::keep, SectorFate::drop, SectorFate::tear}) {
      ASSERT_TRUE(create(capacity + area_begin));
      ASSERT_TRUE(open());
      const uint64_t before = env_.io_count();
      env_.stall_io_after(n);
      ReadRecords appended;
      size_t durable = 0;
      for (const auto& sizes : turns) {
        for (size_t bytes : sizes) {
          appended.push_back(append(bytes, static_cast<char>('a' + appended.size())));
          commit_->when_durable(appended.back().lsn, [&durable] { ++durable; });
        }
        env_.run_until_idle();
      }
      const uint64_t requests = env_.io_count() - before;
      crash(fate);
      ASSERT_TRUE(open());
      ASSERT_GE(read_.size(), durable);
      ASSERT_LE(read_.size(), appended.size());
      appended.resize(read_.size());
      ASSERT_EQ(read_, appended);
      crash(fate);
      env_.remove(path);
      if (n > requests) {
        EXPECT_EQ(durable, 10U);
        return;
      }
    }
  }
}

}  // namespace
}  // namespace perdure::log
