#include "log/group_commit.h"

#include <gtest/gtest.h>

#include "env/testing/test_env.h"

namespace perdure::log {
namespace {

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

}  // namespace
}  // namespace perdure::log
