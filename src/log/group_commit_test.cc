#include "log/group_commit.h"

#include "log/aligned_buffer.h"
#include "log/testing/log_fixture.h"

namespace perdure::log {
namespace {

using namespace std::chrono_literals;

TEST(GroupCommitInMemory, IsDurableAtTheNextFlush) {
  env::TestEnv env;
  GroupCommit commit(env, nullptr, Epoch(1), [](const Error&) { FAIL(); });
  std::string trace;
  EXPECT_EQ(commit.next_lsn(), Lsn(batch_header_bytes));
  EXPECT_EQ(commit.append(bytes_of("12345")), Lsn(64));
  EXPECT_EQ(commit.next_lsn(), Lsn(72));
  EXPECT_EQ(commit.append(bytes_of("b")), Lsn(72));
  commit.when_durable(Lsn(72), [&] { trace += 'b'; });
  commit.when_durable(Lsn(64), [&] { trace += 'a'; });
  commit.when_durable(Lsn(0), [&] { trace += '0'; });
  EXPECT_EQ(commit.durable(), Lsn(64));
  EXPECT_EQ(trace, "");
  commit.flush();
  EXPECT_EQ(trace, "0ba");
  EXPECT_GT(commit.durable(), Lsn(72));
  EXPECT_EQ(commit.durable(), commit.next_lsn());
  EXPECT_EQ(commit.room(), UINT64_MAX);
  EXPECT_EQ(commit.append(bytes_of("c")), Lsn(4096 + 64));
  EXPECT_EQ(commit.durable(), Lsn(4096 + 64));
  EXPECT_EQ(commit.figures().records, 2U);
}

class GroupCommitTest : public LogFixture {
 protected:
  void SetUp() override {
    capacity_ = 1 << 20;
    ASSERT_TRUE(create(capacity_ + area_begin));
    ASSERT_TRUE(open());
  }
  void note(Lsn lsn, char c) {
    commit_->when_durable(lsn, [this, c] { trace_ += c; });
  }
  std::string trace_;
};

TEST_F(GroupCommitTest, RecordsOfOneTurnShareABatch) {
  env_.post([this] {
    note(append(200, 'a').lsn, 'a');
    note(append(200, 'b').lsn, 'b');
  });
  env_.post([this] { note(append(200, 'c').lsn, 'c'); });
  env_.run_until_idle();
  EXPECT_EQ(trace_, "abc");
  EXPECT_EQ(commit_->figures().batches, 1U);
  EXPECT_EQ(commit_->figures().records, 3U);
  EXPECT_EQ(commit_->figures().bytes, 4096U);
}

TEST_F(GroupCommitTest, TheNextBatchFillsWhileOthersAreWritten) {
  env_.hold_io(true);
  for (size_t i = 0; i < log_writes_max; ++i) {
    EXPECT_EQ(append(200, 'a').lsn, Lsn(i * 4096 + 64));
    env_.run_until_idle();
    EXPECT_EQ(env_.io_under_way(), i + 1);
  }
  const Lsn b = append(200, 'b').lsn;
  note(b, 'b');
  env_.run_until_idle();
  const Lsn c = append(200, 'c').lsn;
  note(c, 'c');
  env_.run_until_idle();
  EXPECT_EQ(env_.io_under_way(), log_writes_max);
  EXPECT_EQ(commit_->batch_start(), Lsn(log_writes_max * 4096));
  EXPECT_EQ(b, commit_->batch_start() + Lsn(64));
  EXPECT_EQ(c, b + Lsn(200));
  EXPECT_EQ(trace_, "");
  env_.hold_io(false);
  env_.run_until_idle();
  EXPECT_EQ(trace_, "bc");
  EXPECT_EQ(commit_->figures().batches, log_writes_max + 1);
}

TEST_F(GroupCommitTest, WaitersRunBatchByBatchInTheOrderOfTheCalls) {
  env_.hold_io(true);
  const Lsn a = append(200, 'a').lsn;
  const Lsn b = append(200, 'b').lsn;
  env_.run_until_idle();
  const Lsn c = append(200, 'c').lsn;
  note(c, '5');
  note(b, '2');
  note(a, '3');
  note(c - Lsn(1), '4');  // in the header of c's batch: all before it
  note(Lsn(0), '1');      // durable already: at the next flush
  EXPECT_EQ(trace_, "");
  commit_->flush();
  EXPECT_EQ(trace_, "1");
  env_.hold_io(false);
  env_.run_until_idle();
  EXPECT_EQ(trace_, "12345");
}

// A checkpoint asks for everything before next_lsn(). An idle log has no batch under way whose end it could
// wait for.
TEST_F(GroupCommitTest, EverythingBeforeNextLsnIsDurableWhenIdle) {
  EXPECT_EQ(commit_->durable(), commit_->next_lsn());
  append_batch(1, 'a');
  EXPECT_EQ(commit_->durable(), commit_->next_lsn());
  note(commit_->next_lsn() - Lsn(1), 'x');
  env_.run_until_idle();
  EXPECT_EQ(trace_, "x");
}

TEST_F(GroupCommitTest, DurableNeverPassesARecordUnderWay) {
  append_batch(1, 'a');
  env_.hold_io(true);
  const Lsn b = append(200, 'b').lsn;
  EXPECT_LE(commit_->durable(), b);
  env_.run_until_idle();
  EXPECT_LE(commit_->durable(), b);
  const Lsn c = append(200, 'c').lsn;
  EXPECT_LE(commit_->durable(), b);
  env_.hold_io(false);
  env_.run_until([&] { return commit_->durable() > b; });
  EXPECT_LE(commit_->durable(), c);
}

TEST_F(GroupCommitTest, WaitersMayAppendAndWaitAgain) {
  std::function<void()> again = [&] {
    trace_ += 'x';
    if (trace_.size() < 5) commit_->when_durable(append(200, 'y').lsn, again);
  };
  commit_->when_durable(append(200, 'y').lsn, again);
  env_.run_until_idle();
  EXPECT_EQ(trace_, "xxxxx");
  EXPECT_EQ(commit_->figures().batches, 5U);
  // Also those that run from flush(), and flush() itself.
  int rest = 3;
  std::function<void()> inner = [&] {
    commit_->flush();
    if (--rest > 0) commit_->when_durable(Lsn(0), inner);
  };
  commit_->when_durable(Lsn(0), inner);
  for (int i = 0; i < 5; ++i) env_.run_until_idle();
  EXPECT_EQ(rest, 0);
}

TEST_F(GroupCommitTest, AFullBatchIsFollowedByAnother) {
  env_.hold_io(true);
  ReadRecords expected{append(200, 'a')};
  env_.run_until_idle();
  // A batch is full at a quarter of the ring: 256 KiB.
  for (int i = 0; i < 10; ++i) {
    const Lsn next = commit_->next_lsn();
    expected.push_back(append(60'000, static_cast<char>('b' + i)));
    EXPECT_EQ(expected.back().lsn, next);
    note(next, static_cast<char>('b' + i));
  }
  env_.hold_io(false);
  env_.run_until_idle();
  EXPECT_EQ(trace_, "bcdefghijk");
  EXPECT_EQ(commit_->figures().batches, 3U);
  EXPECT_EQ(commit_->figures().bytes, sector_bytes + 2 * batch_bytes(300'000));
  crash(SectorFate::drop);
  ASSERT_TRUE(open());
  EXPECT_EQ(read_, expected);
}

TEST_F(GroupCommitTest, RoomCountsWhatIsBuffered) {
  EXPECT_EQ(commit_->room(), capacity_);
  env_.hold_io(true);
  append(200, 'a');
  EXPECT_EQ(commit_->room(), capacity_ - 4096);
  env_.run_until_idle();
  EXPECT_EQ(commit_->room(), capacity_ - 4096);
  append(5000, 'b');
  EXPECT_EQ(commit_->room(), capacity_ - 3 * sector_bytes);
  env_.hold_io(false);
  env_.run_until_idle();
  EXPECT_EQ(commit_->room(), capacity_ - 3 * sector_bytes);
  ring_->trim(Lsn(4096));
  EXPECT_EQ(commit_->room(), capacity_ - 2 * sector_bytes);
}

TEST_F(GroupCommitTest, WaitsForTheTailWhenTheRingIsFull) {
  while (commit_->room() >= 16 * sector_bytes) append_batch(16, 'x');
  EXPECT_EQ(commit_->room(), 0U);
  const Lsn last = append(200, 'l').lsn;
  note(last, 'l');
  env_.run_until_idle();
  EXPECT_EQ(trace_, "");
  EXPECT_EQ(commit_->room(), 0U);
  ring_->trim(Lsn(16 * sector_bytes));
  env_.run_until_idle();
  EXPECT_EQ(trace_, "l");
  EXPECT_EQ(commit_->room(), 15 * sector_bytes);
}

TEST_F(GroupCommitTest, AFailedWriteIsReportedOnceAndNothingBecomesDurable) {
  append_batch(1, 'a');
  const Lsn durable = commit_->durable();
  env_.inject({.path = path, .kind = env::IoKind::write});
  note(append(200, 'b').lsn, 'b');
  env_.run_until_idle();
  EXPECT_EQ(failures_, 1);
  note(append(200, 'c').lsn, 'c');
  note(Lsn(64), 'x');
  env_.run_until_idle();
  EXPECT_EQ(failures_, 1);
  EXPECT_EQ(trace_, "");
  EXPECT_EQ(commit_->durable(), durable);

  // The ring itself is poisoned.
  AlignedBuffer batch(sector_bytes);
  std::optional<ErrorKind> kind;
  ring_->write(batch.first(sector_bytes), 100, Epoch(1), [&](Result<Lsn> r) { kind = r.error().kind; });
  EXPECT_FALSE(kind);
  env_.run_until_idle();
  EXPECT_EQ(kind, ErrorKind::stopped);
}

TEST_F(GroupCommitTest, MayBeDestroyedWhileAWriteIsUnderWay) {
  for (const bool fails : {false, true}) {
    env_.hold_io(true);
    note(append(200, 'a').lsn, 'a');
    commit_->flush();
    if (fails) env_.inject({.path = path, .kind = env::IoKind::write});
    commit_ = std::make_unique<GroupCommit>(env_, nullptr, Epoch(1), [](const Error&) {});  // for the hook
    env_.hold_io(false);
    env_.run_until_idle();
    EXPECT_EQ(trace_, "");
    EXPECT_EQ(failures_, 0);
    crash(SectorFate::drop);
    ASSERT_TRUE(open());
  }
}

TEST_F(GroupCommitTest, MeasuresTheTimeOfWrites) {
  env_.set_io_latency(3ms);
  append_batch(1, 'a');
  append_batch(1, 'b');
  EXPECT_EQ(commit_->figures().write_time, 6ms);
}

}  // namespace
}  // namespace perdure::log
