// Leases, and the end of clients: crashed after every step.
#include "client/expire.h"

#include <gtest/gtest.h>

#include <random>

#include "client/create_session.h"
#include "client/exchange_id.h"
#include "client/lock.h"
#include "client/open.h"
#include "client/sequence.h"
#include "client/testing/world.h"

namespace perdure::client {
namespace {

using testing::World;

Outcome<SlotHandle> request(World& w, const World::Client& c, uint32_t slot, uint32_t seqid, bool changed) {
  return w.run([&](state::Run& run) -> Outcome<SlotHandle> {
    const Sequenced s =
        TRY(sequence(w.cs(), run, {.session = c.session, .slot = slot, .seqid = seqid, .checksum = 1}));
    w.cs().finish(run, s.slot, ByteVector(10), changed, true);
    return s.slot;
  });
}

// A client with slots, opens of `files` files, and locks.
World::Client busy_client(World& w, std::string_view name, uint64_t files, uint64_t locks) {
  const World::Client c = w.make_client(name);
  for (uint32_t slot = 0; slot < 64; ++slot) EXPECT_TRUE(request(w, c, slot, 1, true));
  for (uint64_t i = 1; i <= files; ++i) {
    EXPECT_TRUE(w.run([&](state::Run& run) -> Outcome<void> {
      const Stateid opened = TRY(open(
          w.cs(), run, {.client = c.id, .owner = bytes_of("o"), .inode = InodeId(i), .access = share_both}));
      LockArgs args{.client = c.id,
                    .inode = InodeId(i),
                    .type = LockType::write,
                    .stateid = opened,
                    .new_owner = true,
                    .owner = bytes_of("l")};
      for (uint64_t n = 0; n < (i == 1 ? locks : 1); ++n) {
        args.range = {2 * n, 2 * n};
        const Locked locked = TRY(lock(w.cs(), run, args));
        EXPECT_FALSE(locked.conflict);
        args.stateid = locked.stateid;
        args.new_owner = false;
      }
      return {};
    }));
  }
  return c;
}

TEST(Lease, RunsFromTheLastSequence) {
  World w;
  const World::Client a = w.make_client("a"), b = w.make_client("b");
  w.pass(std::chrono::seconds(60));
  ASSERT_TRUE(request(w, a, 0, 1, false));
  w.pass(std::chrono::seconds(60));
  EXPECT_FALSE(w.cs().lease_has_ended(a.id));
  EXPECT_TRUE(w.cs().lease_has_ended(b.id));
  EXPECT_EQ(w.cs().take_expired(10), std::vector{b.id});
  EXPECT_TRUE(w.cs().take_expired(10).empty()) << "named once";
  w.pass(std::chrono::seconds(60));
  EXPECT_EQ(w.cs().take_expired(10), std::vector{a.id});
}

TEST(Lease, DoesNotRunWhileRequestsMayWait) {
  World w;
  const World::Client a = w.make_client("a");
  w.pass(std::chrono::seconds(80));
  w.cs().lease_clock().stop();
  w.cs().lease_clock().stop();
  w.pass(std::chrono::seconds(1000));
  EXPECT_FALSE(w.cs().lease_has_ended(a.id));
  w.cs().lease_clock().go_on();
  w.pass(std::chrono::seconds(9));
  w.cs().lease_clock().put_back(std::chrono::seconds(9));
  EXPECT_FALSE(w.cs().lease_has_ended(a.id));
  w.pass(std::chrono::seconds(9));
  w.cs().lease_clock().stop();
  w.pass(std::chrono::seconds(1));
  w.cs().lease_clock().go_on();
  EXPECT_TRUE(w.cs().take_expired(10).empty());
  w.pass(std::chrono::seconds(2));
  EXPECT_EQ(w.cs().take_expired(10), std::vector{a.id});
}

TEST(Lease, RunsFromTheMomentServiceIsBack) {
  World w;
  const World::Client a = w.make_client("a");
  w.pass(std::chrono::seconds(1000));
  w.restart();
  EXPECT_FALSE(w.cs().lease_has_ended(a.id));
  w.pass(std::chrono::seconds(89));
  EXPECT_TRUE(w.cs().take_expired(10).empty());
  w.pass(std::chrono::seconds(2));
  EXPECT_EQ(w.cs().take_expired(10), std::vector{a.id});
}

TEST(Lease, ManyClientsInTheOrderOfTheirLeases) {
  World w;
  std::vector<World::Client> clients;
  std::vector<uint32_t> seqids(40);
  for (int i = 0; i < 40; ++i) clients.push_back(w.make_client(fmt::format("{}", i)));
  std::mt19937_64 random(4);
  for (int i = 0; i < 300; ++i) {
    const size_t at = random() % 20;  // the upper half stays silent
    ASSERT_TRUE(request(w, clients[at], 0, ++seqids[at], false));
    w.pass(std::chrono::seconds(1));
  }
  const std::vector<ClientId> expired = w.cs().take_expired(100);
  for (size_t i = 0; i < 40; ++i) {
    const bool ended = w.cs().lease_has_ended(clients[i].id);
    EXPECT_EQ(std::count(expired.begin(), expired.end(), clients[i].id), ended ? 1 : 0);
    EXPECT_TRUE(ended || i < 20);
  }
}

TEST(Expire, AClientThatComesBackInTimeStays) {
  World w;
  const World::Client a = w.make_client("a");
  w.pass(std::chrono::seconds(100));
  w.find_expired();
  EXPECT_EQ(w.jobs(), 1U);
  ASSERT_TRUE(request(w, a, 0, 1, false)) << "its lease has run out, but nobody has decided yet";
  w.run_jobs();
  EXPECT_NE(w.cs().clients.peek({a.id}), nullptr);
  w.pass(std::chrono::seconds(100));
  w.find_expired();
  w.run_jobs();
  EXPECT_EQ(w.describe_rows(), "");
}

TEST(Expire, TheFirstStepTakesEffectTheOthersCleanUp) {
  World w;
  const World::Client a = busy_client(w, "a", 300, 100), b = w.make_client("b");
  w.pass(std::chrono::seconds(100));
  ASSERT_TRUE(request(w, b, 0, 1, false));
  w.find_expired();
  const size_t opens = w.cs().opens.size();
  ASSERT_TRUE(w.run_jobs_once());
  EXPECT_EQ(w.cs().clients.peek({a.id}), nullptr);
  EXPECT_EQ(w.cs().opens.size(), opens) << "still there";
  EXPECT_EQ(request(w, a, 0, 2, false).error(), Stop(Status::bad_session));
  const OpenArgs args{
      .client = b.id, .owner = bytes_of("o"), .inode = InodeId(1), .access = share_both, .deny = share_both};
  EXPECT_TRUE(w.run([&](state::Run& run) { return open(w.cs(), run, args); }));
  const OpenArgs late{.client = a.id, .owner = bytes_of("o"), .inode = InodeId(1)};
  EXPECT_EQ(w.run([&](state::Run& run) { return open(w.cs(), run, late); }).error(), Stop(Status::expired));
  size_t steps = 0;
  for (size_t before = w.rows(); w.run_jobs_once(); before = w.rows(), ++steps)
    EXPECT_LE(before - w.rows(), expire_rows_max + 16) << "bounded";
  EXPECT_GE(steps, 5U);
  EXPECT_EQ(w.cs().opens.size(), 1U);
  EXPECT_EQ(w.cs().locks.size() + w.cs().lock_states.size() + w.cs().slots.size(), 0U);
  EXPECT_EQ(w.released.size(), 299U) << "one is open by the other client";
  EXPECT_EQ(w.check_twins(), "");
  EXPECT_EQ(w.cs().figures().expired, 1U);
}

// A power cut after each step in turn; the job goes on. What is left at the end is the same.
TEST(Expire, CrashedAfterEveryStep) {
  std::string final_rows;
  size_t steps = SIZE_MAX;
  for (size_t crash_after = 0; crash_after <= steps; ++crash_after) {
    World w;
    const World::Client a = busy_client(w, "a", 120, 3000);
    const World::Client b = busy_client(w, "b", 0, 0);
    w.pass(std::chrono::seconds(80));
    ASSERT_TRUE(request(w, b, 0, 2, true));
    w.pass(std::chrono::seconds(20));
    w.find_expired();
    size_t n = 0;
    for (; w.run_jobs_once(); ++n) {
      if (n != crash_after) continue;
      if (crash_after % 2 == 0) w.checkpoint();
      const std::string rows = w.describe_rows();
      const size_t jobs = w.jobs();
      w.restart();
      ASSERT_EQ(w.describe_rows(), rows);
      ASSERT_EQ(w.jobs(), jobs);
      EXPECT_EQ(w.cs().clients.peek({a.id}), nullptr);
      EXPECT_EQ(w.check_twins(), "");
    }
    steps = std::min(steps, n);
    EXPECT_EQ(w.cs().clients.size(), 1U);
    EXPECT_EQ(w.cs().client_owners.size(), 1U);
    EXPECT_EQ(w.cs().sessions.size(), 1U);
    EXPECT_EQ(w.cs().slots.size(), 64U);
    EXPECT_EQ(w.cs().held().size(), 1U);
    EXPECT_EQ(w.cs().opens.size() + w.cs().lock_states.size() + w.cs().locks.size(), 0U);
    EXPECT_EQ(w.check_twins(), "");
  }
  EXPECT_GE(steps, 5U);
}

TEST(Expire, AFaultTakesTheStepBack) {
  World w;
  busy_client(w, "a", 20, 10);
  w.pass(std::chrono::seconds(100));
  w.find_expired();
  w.run_jobs_once();
  for (int i = 0; i < 3; ++i) {
    const std::string rows = w.describe_rows(), twins = w.cs().describe_twins();
    w.fault_in_released = true;
    w.run_jobs_once();
    EXPECT_EQ(w.describe_rows(), rows);
    EXPECT_EQ(w.cs().describe_twins(), twins);
  }
  w.run_jobs();
  EXPECT_EQ(w.describe_rows(), "");
  EXPECT_EQ(w.released.size(), 20U);
}

// The new incarnation confirms itself while the old one has much state: that is removed step by step, while
// the new one works, and crashes do not matter.
TEST(Expire, ANewIncarnationWorksWhileTheOldOnesStateIsRemoved) {
  World w;
  busy_client(w, "a", 200, 500);
  const World::Client again = w.make_client("a", 2);
  EXPECT_EQ(w.jobs(), 1U);
  uint32_t seqid = 0;
  for (uint64_t i = 1; w.run_jobs_once(); ++i) {
    ASSERT_TRUE(request(w, again, 0, ++seqid, true));
    const auto opened = w.run([&](state::Run& run) {
      return open(w.cs(), run,
                  {.client = again.id,
                   .owner = bytes_of("o"),
                   .inode = InodeId(i),
                   .access = share_both,
                   .deny = share_both});
    });
    ASSERT_TRUE(opened);
    const auto locked = w.run([&](state::Run& run) {
      return lock(w.cs(), run,
                  {.client = again.id,
                   .inode = InodeId(i),
                   .type = LockType::write,
                   .range = {0, UINT64_MAX},
                   .stateid = *opened,
                   .new_owner = true,
                   .owner = bytes_of("l")});
    });
    ASSERT_TRUE(locked && !locked->conflict);
    w.restart();
  }
  EXPECT_EQ(w.cs().opens.size(), seqid);
  EXPECT_EQ(w.cs().lock_states.size(), seqid);
  EXPECT_EQ(w.check_twins(), "");
}

TEST(Expire, UnconfirmedClientsEndToo) {
  World w;
  ASSERT_TRUE(w.run([&](state::Run& run) {
    return exchange_id(w.cs(), run, {.owner = bytes_of("x"), .verifier = 1, .principal = "root"});
  }));
  w.pass(std::chrono::seconds(91));
  w.find_expired();
  w.run_jobs();
  EXPECT_EQ(w.describe_rows(), "");
}

}  // namespace
}  // namespace perdure::client
