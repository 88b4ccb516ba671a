#include "env/testing/test_env.h"

#include <gtest/gtest.h>

#include "base/page.h"

namespace perdure::env {
namespace {

using namespace std::chrono_literals;

PageRef page_of(char c) {
  PageRef page = make_page();
  std::ranges::fill(page.mutable_bytes(), static_cast<std::byte>(c));
  return page;
}

class TestEnvTest : public testing::Test {
 protected:
  void open() {
    file_ = std::move(env_.open("disk", true)).value();
    if (file_->size() == 0) {
      file_->grow(64 << 10, File::Fill::zeroed, [](Result<void> r) { ASSERT_TRUE(r); });
      env_.run_until_idle();
    }
  }
  void write(uint64_t sector, const PageRef& page, File::Write mode) {
    const Bytes piece = page.bytes();
    file_->write(sector * 4096, {&piece, 1}, mode, [this](Result<void> r) { r ? ++good_ : ++bad_; });
  }
  char at(uint64_t sector, uint64_t offset = 0) {
    return static_cast<char>(env_.content("disk")[sector * 4096 + offset]);
  }
  void crash(SectorFate fate) {
    env_.crash([fate](const std::string&, uint64_t) { return fate; });
    file_.reset();
  }

  TestEnv env_{7};
  std::unique_ptr<File> file_;
  int good_ = 0, bad_ = 0;
  PageRef a_ = page_of('a'), b_ = page_of('b');
};

TEST_F(TestEnvTest, TurnEndComesAfterTheTurnsCallbacksAndBeforeTheNextTurn) {
  std::string trace;
  env_.at_turn_end([&] { trace += '|'; });
  env_.post([&] {
    trace += '1';
    env_.post([&] { trace += '3'; });
  });
  env_.post([&] { trace += '2'; });
  env_.run_until_idle();
  EXPECT_EQ(trace, "|12|3|");
}

TEST_F(TestEnvTest, TimersFireInOrderOfTimeAndCancelledOnesDoNot) {
  std::string trace;
  env_.after(2s, [&] { trace += 'b'; });
  env_.after(1s, [&] {
    trace += 'a';
    env_.after(500ms, [&] { trace += 'n'; });
  });
  env_.cancel(env_.after(1s, [&] { trace += 'x'; }));
  const Instant begin = env_.now();
  env_.run_until_idle();
  EXPECT_EQ(trace, "");
  env_.advance(1s);
  EXPECT_EQ(trace, "a");
  env_.advance(5s);
  EXPECT_EQ(trace, "anb");
  EXPECT_EQ(env_.now() - begin, 6s);
}

TEST_F(TestEnvTest, OpenWhileOpenIsBusyAndContentSurvivesReopening) {
  EXPECT_EQ(env_.open("disk", false).error().kind, ErrorKind::not_found);
  open();
  EXPECT_EQ(env_.open("disk", false).error().kind, ErrorKind::busy);
  write(1, a_, File::Write::durable);
  env_.run_until_idle();
  file_.reset();
  open();
  EXPECT_EQ(at(1), 'a');
  EXPECT_EQ(good_, 1);
}

TEST_F(TestEnvTest, CachedWriteIsVisibleButLostInACrashUnlessFlushed) {
  open();
  write(1, a_, File::Write::cached);
  env_.run_until_idle();
  file_->flush([](Result<void> r) { EXPECT_TRUE(r); });
  env_.run_until_idle();
  write(1, b_, File::Write::cached);
  write(2, b_, File::Write::durable);
  env_.run_until_idle();
  EXPECT_EQ(at(1), 'b');
  crash(SectorFate::drop);
  EXPECT_EQ(at(1), 'a');
  EXPECT_EQ(at(2), 'b');
}

TEST_F(TestEnvTest, FlushCoversOnlyWritesThatEndedBeforeItsCall) {
  open();
  write(1, a_, File::Write::cached);
  file_->flush([](Result<void> r) { EXPECT_TRUE(r); });
  env_.run_until_idle();
  crash(SectorFate::drop);
  EXPECT_EQ(at(1), '\0');
}

TEST_F(TestEnvTest, AFailedFlushIsNotMendedByALaterOne) {
  open();
  write(1, a_, File::Write::cached);
  env_.run_until_idle();
  env_.inject({.path = "disk", .kind = IoKind::flush});
  int failed = 0;
  file_->flush([&](Result<void> r) { failed += r ? 0 : 1; });
  env_.run_until_idle();
  write(2, b_, File::Write::cached);
  env_.run_until_idle();
  file_->flush([&](Result<void> r) { failed += r ? 0 : 1; });
  env_.run_until_idle();
  EXPECT_EQ(failed, 1);
  crash(SectorFate::drop);
  EXPECT_EQ(at(1), '\0');
  EXPECT_EQ(at(2), 'b');
}

TEST_F(TestEnvTest, CrashTearsAWriteUnderWay) {
  open();
  write(1, a_, File::Write::durable);
  env_.run_until_idle();
  write(1, b_, File::Write::durable);
  write(2, b_, File::Write::durable);
  env_.crash([](const std::string&, uint64_t offset) {
    return offset == 4096 ? SectorFate::tear : SectorFate::keep;
  });
  file_.reset();
  EXPECT_EQ(at(1, 0), 'b');
  EXPECT_EQ(at(1, 4095), 'a');
  EXPECT_EQ(at(2), 'b');
  EXPECT_EQ(good_, 1);
}

TEST_F(TestEnvTest, CrashDropsTasksTimersHooksAndLocks) {
  open();
  bool ran = false;
  env_.post([&] { ran = true; });
  env_.after(1s, [&] { ran = true; });
  env_.at_turn_end([&] { ran = true; });
  crash(SectorFate::keep);
  open();
  env_.advance(10s);
  EXPECT_FALSE(ran);
}

TEST_F(TestEnvTest, InjectedFaultsHitTheChosenRequest) {
  open();
  env_.inject({.path = "disk", .kind = IoKind::write, .skip = 1, .count = 2});
  for (int i = 0; i < 5; ++i) {
    write(1, a_, File::Write::durable);
    env_.run_until_idle();
  }
  EXPECT_EQ(good_, 3);
  EXPECT_EQ(bad_, 2);
}

TEST_F(TestEnvTest, UnreadableSectorFailsUntilWritten) {
  open();
  env_.make_unreadable("disk", 4096, 4096);
  PageRef into = make_page();
  const MutableBytes piece = into.mutable_bytes();
  int failed = 0;
  auto read = [&] {
    file_->read(4096, {&piece, 1}, [&](Result<void> r) { failed += r ? 0 : 1; });
    env_.run_until_idle();
  };
  read();
  EXPECT_EQ(failed, 1);
  write(1, b_, File::Write::durable);
  env_.run_until_idle();
  read();
  EXPECT_EQ(failed, 1);
  EXPECT_EQ(into.bytes()[0], std::byte{'b'});
}

TEST_F(TestEnvTest, StalledHeldAndSlowRequestsEndWhenTheyShould) {
  open();
  env_.set_io_latency(10ms);
  env_.hold_io(true);
  write(1, a_, File::Write::durable);
  env_.run_until_idle();
  EXPECT_EQ(good_, 0);
  env_.hold_io(false);
  const Instant begin = env_.now();
  env_.run_until_idle();
  EXPECT_EQ(good_, 1);
  EXPECT_EQ(env_.now() - begin, 10ms);
  env_.stall_io_after(1);
  write(1, a_, File::Write::durable);
  write(2, a_, File::Write::durable);
  env_.run_until_idle();
  EXPECT_EQ(good_, 2);
  EXPECT_EQ(env_.io_under_way(), 1U);
  crash(SectorFate::drop);
}

TEST_F(TestEnvTest, ShuffledIoAllEndsAndDependsOnTheSeedAlone) {
  auto order = [](uint64_t seed) {
    TestEnv env(seed);
    env.set_io_shuffled(true);
    auto file = std::move(env.open("d", true)).value();
    file->grow(1 << 20, File::Fill::zeroed, [](Result<void>) {});
    env.run_until_idle();
    std::string trace;
    const PageRef page = page_of('p');
    const Bytes piece = page.bytes();
    for (char c = 'a'; c <= 'j'; ++c)
      file->write(uint64_t{4096} * static_cast<unsigned char>(c), {&piece, 1}, File::Write::cached,
                  [&trace, c](Result<void>) { trace += c; });
    env.run_until_idle();
    return trace;
  };
  EXPECT_EQ(order(1).size(), 10U);
  EXPECT_EQ(order(1), order(1));
  EXPECT_NE(order(1), order(2));
}

}  // namespace
}  // namespace perdure::env
