#include "log/log_follower.h"

#include "log/testing/log_fixture.h"

namespace perdure::log {
namespace {

class LogFollowerTest : public LogFixture {
 protected:
  void create_and_open(uint64_t capacity) {
    capacity_ = capacity;
    ASSERT_TRUE(create(capacity + area_begin));
    ASSERT_TRUE(open());
    // Reads the disk as it is at each moment, beside the ring that is open.
    follower_ = std::make_unique<LogFollower>(
        [this](uint64_t offset, MutableBytes into) -> Result<void> {
          const ByteVector& disk = env_.content(path);
          std::ranges::copy(Bytes(disk).subspan(offset, into.size()), into.begin());
          return {};
        },
        capacity + area_begin, path);
  }
  // What is new, as records; what is lost goes to lost_.
  ReadRecords more() {
    ReadRecords seen;
    const Result<bool> any =
        follower_->read_more({[&](const LogFollower::Batch& batch, Bytes record, Lsn lsn) -> Result<void> {
                                EXPECT_LE(batch.lsn, lsn);
                                starts_.push_back(batch.start);
                                seen.push_back({lsn, ByteVector(record.begin(), record.end())});
                                return {};
                              },
                              [this](Lsn from, Lsn to) { lost_.emplace_back(from, to); }});
    EXPECT_TRUE(any);
    EXPECT_EQ(*any, !seen.empty());
    return seen;
  }

  std::unique_ptr<LogFollower> follower_;
  std::vector<std::pair<Lsn, Lsn>> lost_;
  std::vector<StartNumber> starts_;
};

TEST_F(LogFollowerTest, GivesEachRecordOnceAsItComes) {
  create_and_open(64 << 10);
  EXPECT_TRUE(more().empty());
  EXPECT_TRUE(more().empty());
  for (int i = 0; i < 100; ++i) {  // several laps
    ReadRecords written;
    for (int n = 0; n <= i % 3; ++n) {
      if (ring_->room() < 3 * sector_bytes) ring_->trim(ring_->position());
      written.push_back(append_batch(1 + static_cast<size_t>(i) % 2, static_cast<char>(i)));
    }
    EXPECT_EQ(more(), written) << i;
    EXPECT_TRUE(more().empty());
    EXPECT_EQ(follower_->position(), ring_->position());
  }
  EXPECT_TRUE(lost_.empty());
}

TEST_F(LogFollowerTest, BeginsWhereItIsAsked) {
  create_and_open(64 << 10);
  ReadRecords all;
  for (int i = 0; i < 5; ++i) all.push_back(append_batch(1, static_cast<char>(i)));
  const auto extent = follower_->find();
  ASSERT_TRUE(extent);
  EXPECT_EQ(extent->begin, Lsn(0));
  EXPECT_EQ(extent->end, ring_->position());
  EXPECT_EQ(extent->last_start, ring_->start_number());
  follower_->begin_at(all[3].lsn);
  EXPECT_EQ(more(), ReadRecords(all.begin() + 3, all.end()));
}

TEST_F(LogFollowerTest, BeginsAtTheEnd) {
  create_and_open(64 << 10);
  for (int i = 0; i < 5; ++i) append_batch(1, static_cast<char>(i));
  follower_->begin_at(follower_->find()->end);
  EXPECT_TRUE(more().empty());
  const ReadRecords next{append_batch(1, 'n')};
  EXPECT_EQ(more(), next);
}

TEST_F(LogFollowerTest, SaysWhatItHasMissed) {
  create_and_open(64 << 10);
  append_batch(1, 'a');
  EXPECT_EQ(more().size(), 1U);
  const Lsn behind = follower_->position();
  std::deque<ReadRecord> all;
  for (int i = 0; i < 40; ++i) {
    if (ring_->room() < 3 * sector_bytes) ring_->trim(ring_->position());
    all.push_back(append_batch(1, static_cast<char>(i)));
  }
  const ReadRecords seen = more();
  ASSERT_EQ(lost_.size(), 1U);
  EXPECT_EQ(lost_[0].first, behind);
  EXPECT_EQ(lost_[0].second + Lsn(batch_header_bytes), seen.front().lsn);
  EXPECT_EQ(seen, ReadRecords(all.end() - static_cast<ptrdiff_t>(seen.size()), all.end()));
  EXPECT_EQ(seen.size(), 16U);
  append_batch(1, 'z');
  EXPECT_EQ(more().size(), 1U);
}

TEST_F(LogFollowerTest, FollowsTheNextServerProcess) {
  create_and_open(64 << 10);
  append_batch(1, 'a');
  EXPECT_EQ(more().size(), 1U);
  append(1000, 'b');
  env_.run_one();
  crash(SectorFate::drop);
  EXPECT_TRUE(more().empty());
  ASSERT_TRUE(open());
  const ReadRecords next{append_batch(1, 'c')};
  EXPECT_EQ(more(), next);
  EXPECT_LT(starts_.front(), starts_.back());
  EXPECT_TRUE(lost_.empty());
}

}  // namespace
}  // namespace perdure::log
