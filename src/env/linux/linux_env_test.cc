#include "env/linux/linux_env.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <atomic>
#include <thread>

namespace perdure::env {
namespace {

using namespace std::chrono_literals;

struct LinuxEnvTest : ::testing::Test {
  std::unique_ptr<LinuxEnv> env = *LinuxEnv::create();
  std::string order;

  Task note(char name) {
    return [this, name] { order += name; };
  }
  Task note_and_stop(char name) {
    return [this, name] {
      order += name;
      env->stop();
    };
  }
};

TEST_F(LinuxEnvTest, PostedTasksRunInOrderAndNeverInline) {
  env->post([this] {
    env->post(note('c'));
    env->post(note_and_stop('d'));
    order += 'a';
  });
  env->post(note('b'));
  EXPECT_EQ(order, "");
  env->run();
  EXPECT_EQ(order, "abcd");
}

TEST_F(LinuxEnvTest, TurnEndTasksRunAfterTheTurnInOrder) {
  int turns = 0;
  env->at_turn_end([&] {
    order += '1';
    if (++turns == 3) env->stop();
  });
  env->at_turn_end([&] {
    order += '2';
    if (turns == 1) env->post(note('x'));
    if (turns == 2) env->after(0ns, note('t'));
    if (turns == 2) env->at_turn_end(note('3'));
  });
  env->post(note('a'));
  env->post(note('b'));
  env->run();
  EXPECT_EQ(order, "ab12x123t123");
}

TEST_F(LinuxEnvTest, TimersFireInOrderNotBeforeTheirTime) {
  const Instant start = env->now();
  Instant fired;
  const TimerId dropped = env->after(1ms, note('!'));
  env->after(6ms, [&] {
    fired = env->now();
    order += 'c';
    env->cancel(TimerId{0});
    env->stop();
  });
  env->after(3ms, note('a'));
  env->after(3ms, note('b'));
  env->cancel(dropped);
  env->run();
  EXPECT_EQ(order, "abc");
  EXPECT_GE(fired - start, 6ms);
}

TEST_F(LinuxEnvTest, ATimerThatAlwaysRenewsItselfDoesNotHoldUpTheTurn) {
  std::function<void()> again = [&] { env->after(0ns, [&] { again(); }); };
  again();
  int turns = 0;
  env->at_turn_end([&] {
    if (++turns == 10) env->stop();
  });
  env->run();
  EXPECT_EQ(turns, 10);
}

TEST_F(LinuxEnvTest, TasksPostedByOtherThreadsWakeTheLoopAndKeepTheirOrder) {
  constexpr int threads = 4, tasks = 2000;
  std::array<int, threads> next{};
  int run = 0;
  std::vector<std::thread> posters;
  posters.reserve(threads);
  for (size_t t = 0; t < threads; ++t) {
    posters.emplace_back([&, t] {
      for (int i = 0; i < tasks; ++i) {
        env->post([&, t, i] {
          EXPECT_EQ(next.at(t)++, i);
          if (++run == threads * tasks) env->stop();
        });
      }
    });
  }
  env->run();
  for (std::thread& poster : posters) poster.join();
  EXPECT_EQ(run, threads * tasks);
}

TEST_F(LinuxEnvTest, StopFromAnotherThreadWakesTheLoop) {
  std::atomic<bool> running = false;
  env->post([&] { running = true; });
  std::thread stopper([&] {
    running.wait(false);
    env->stop();
  });
  env->post([&] { running.notify_all(); });
  env->run();
  stopper.join();
}

TEST_F(LinuxEnvTest, OffloadedWorkRunsInOrderOnTheLowPriorityThread) {
  const auto loop = std::this_thread::get_id();
  std::thread::id worker;
  int nice = 0;
  env->offload(
      [&] {
        worker = std::this_thread::get_id();
        nice = ::getpriority(PRIO_PROCESS, static_cast<id_t>(::gettid()));
        order += 'a';
      },
      [&] {
        EXPECT_EQ(std::this_thread::get_id(), loop);
        order += '1';
      });
  std::atomic<bool> second = false;
  env->offload([&] { second = true; },
               [&] {
                 EXPECT_EQ(order, "a1");
                 env->stop();
               });
  env->run();
  EXPECT_NE(worker, loop);
  EXPECT_TRUE(second);
  EXPECT_EQ(nice, std::min(::getpriority(PRIO_PROCESS, 0) + 10, 19));
}

TEST_F(LinuxEnvTest, DestructionWaitsForTheWorkUnderWayAndDropsTheRest) {
  std::atomic<bool> begun = false, ended = false;
  env->offload(
      [&] {
        begun = true;
        begun.notify_all();
        std::this_thread::sleep_for(20ms);
        ended = true;
      },
      [] { FAIL(); });
  env->offload([] { FAIL(); }, [] { FAIL(); });
  env->post([] { FAIL(); });
  env->after(0ns, [] { FAIL(); });
  begun.wait(false);
  env.reset();
  EXPECT_TRUE(ended);
}

TEST_F(LinuxEnvTest, RunsAgainAfterStop) {
  for (const char name : {'a', 'b'}) {
    env->post(note_and_stop(name));
    env->run();
  }
  EXPECT_EQ(order, "ab");
}

TEST_F(LinuxEnvTest, ClocksAndRandomNumbers) {
  const WallTime wall = env->wall_time();
  EXPECT_GT(wall.time_since_epoch(), 24h * 365 * 50);
  const Instant first = env->now();
  EXPECT_LE(first, env->now());
  EXPECT_NE(env->random(), (*LinuxEnv::create())->random());
}

}  // namespace
}  // namespace perdure::env
