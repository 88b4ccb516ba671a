// What the guardian decides by; what it does with real processes is in test/guardian/.
#include "server/guardian.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>

namespace perdure::server {
namespace {

using std::chrono::milliseconds;

TEST(Silence, IsNoticedOnceAtItsLimit) {
  Silence silence(milliseconds(100));
  EXPECT_FALSE(silence.tick(milliseconds(250)));
  EXPECT_FALSE(silence.tick(milliseconds(250)));
  silence.heard();
  EXPECT_FALSE(silence.tick(milliseconds(250)));
  EXPECT_FALSE(silence.tick(milliseconds(250)));
  EXPECT_TRUE(silence.tick(milliseconds(250)));
  EXPECT_FALSE(silence.tick(milliseconds(250)));
}

TEST(CrashHistory, QuickDeathsAreALoop) {
  CrashHistory::Time now;
  CrashHistory history(2, milliseconds(1000));
  EXPECT_EQ(history.pause(), milliseconds(0));
  history.died(now, milliseconds(0));
  EXPECT_EQ(history.pause(), milliseconds(0));  // the first restart is immediate
  history.died(now + milliseconds(1), milliseconds(900));
  EXPECT_GT(history.pause(), milliseconds(0));
  EXPECT_FALSE(history.is_loop());
  history.died(now + milliseconds(1000), milliseconds(0));
  EXPECT_TRUE(history.is_loop());
}

TEST(CrashHistory, OldDeathsAreForgotten) {
  CrashHistory::Time now;
  CrashHistory history(2, milliseconds(1000));
  for (int i = 0; i < 100; ++i) {
    history.died(now + i * milliseconds(501), milliseconds(0));
    EXPECT_FALSE(history.is_loop());
  }
}

TEST(CrashHistory, WhoServedForAWhileWasNotPartOfALoop) {
  CrashHistory::Time now;
  CrashHistory history(1, milliseconds(100'000));
  for (int i = 0; i < 100; ++i) history.died(now + i * milliseconds(1001), CrashHistory::settled);
  EXPECT_FALSE(history.is_loop());
  EXPECT_EQ(history.pause(), milliseconds(0));
}

TEST(CrashHistory, ThePauseGrowsToALimit) {
  CrashHistory history(1'000'000, milliseconds(100'000));
  milliseconds last(0);
  for (int i = 0; i < 100; ++i) {
    history.died({}, milliseconds(0));
    EXPECT_GE(history.pause(), last);
    last = history.pause();
  }
  EXPECT_EQ(last, milliseconds(2000));
}

TEST(InheritedSockets, AreThoseForThisProcess) {
  EXPECT_TRUE(inherited_sockets().value().empty());
  setenv("LISTEN_PID", std::to_string(getpid() + 1).c_str(), 1);
  setenv("LISTEN_FDS", "1", 1);
  EXPECT_TRUE(inherited_sockets().value().empty());
  EXPECT_EQ(std::getenv("LISTEN_FDS"), nullptr);
}

}  // namespace
}  // namespace perdure::server
