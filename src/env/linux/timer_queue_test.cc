#include "env/linux/timer_queue.h"

#include <gtest/gtest.h>

#include <string>

namespace perdure::env {
namespace {

Instant at(int64_t ns) {
  return Instant(Duration(ns));
}

struct TimerQueueTest : ::testing::Test {
  TimerQueue timers;
  std::string fired;

  TimerId add(int64_t deadline, char name) {
    return timers.add(at(deadline), [this, name] { fired += name; });
  }
  void fire(int64_t now) {
    while (auto task = timers.take_due(at(now), timers.added())) (*task)();
  }
};

TEST_F(TimerQueueTest, FiresByDeadlineAndThenByOrderOfCreation) {
  add(20, 'c');
  add(10, 'a');
  add(20, 'd');
  add(10, 'b');
  add(30, 'e');
  EXPECT_EQ(timers.next_deadline(), at(10));
  fire(9);
  EXPECT_EQ(fired, "");
  fire(20);
  EXPECT_EQ(fired, "abcd");
  EXPECT_EQ(timers.next_deadline(), at(30));
}

TEST_F(TimerQueueTest, ACancelledTimerDropsItsTaskAtOnce) {
  auto witness = std::make_shared<int>();
  const TimerId timer = timers.add(at(10), [witness] { FAIL(); });
  EXPECT_TRUE(timers.cancel(timer));
  EXPECT_EQ(witness.use_count(), 1);
  EXPECT_FALSE(timers.cancel(timer));
  EXPECT_EQ(timers.next_deadline(), std::nullopt);
  fire(100);
}

TEST_F(TimerQueueTest, AnOldIdNeverCancelsANewTimer) {
  const TimerId old = add(10, 'a');
  fire(10);
  const TimerId reused = add(20, 'b');
  EXPECT_FALSE(timers.cancel(old));
  EXPECT_NE(old, reused);
  fire(20);
  EXPECT_EQ(fired, "ab");
}

TEST_F(TimerQueueTest, LaterTimersWaitForTheNextRound) {
  add(10, 'a');
  const uint64_t before = timers.added();
  add(5, 'b');
  EXPECT_EQ(timers.take_due(at(50), before), std::nullopt);  // b comes first, and is too new
  fire(50);
  EXPECT_EQ(fired, "ba");
}

TEST_F(TimerQueueTest, ManyCancelledTimersAreSweptWithoutDisturbingTheOthers) {
  std::vector<TimerId> cancelled;
  for (int i = 0; i < 10000; ++i) {
    const TimerId timer = timers.add(at(1000 - i % 100), [this] { fired += '!'; });
    if (i % 1000 == 0)
      add(i, static_cast<char>('a' + i / 1000));
    else
      cancelled.push_back(timer);
    if (i % 1000 == 0) timers.cancel(timer);
  }
  for (const TimerId timer : cancelled) EXPECT_TRUE(timers.cancel(timer));
  EXPECT_EQ(timers.size(), 10U);
  fire(100000);
  EXPECT_EQ(fired, "abcdefghij");
  EXPECT_EQ(timers.size(), 0U);
}

}  // namespace
}  // namespace perdure::env
