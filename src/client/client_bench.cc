// What client state costs when everything is in memory: the run, its record and the operation itself.
#include <benchmark/benchmark.h>

#include "client/access.h"
#include "client/create_session.h"
#include "client/exchange_id.h"
#include "client/lock.h"
#include "client/open.h"
#include "client/reclaim_complete.h"
#include "client/sequence.h"
#include "env/testing/test_env.h"
#include "store/testing/memory_kv_store.h"

namespace perdure::client {
namespace {

// One client with one session, at durability level memory; a checkpoint now and then, as a vserver makes
// them.
class Fixture {
 public:
  Fixture() {
    database.connect(commit);
    bool loaded = false;
    database.load_resident([&](Result<void> r) { loaded = r.has_value(); });
    env.run_until_idle();
    CHECK(loaded);
    cs.restored();
    run([&](Run& r) -> Outcome<void> {
      client =
          TRY(exchange_id(cs, r, {.owner = bytes_of("bench"), .verifier = 1, .principal = "1:0"})).client;
      const ChannelAttributes channel{1U << 20U, 1U << 20U, 8192, 16, 64};
      session = TRY(create_session(
                        cs, r,
                        {.client = client, .seqid = 1, .principal = "1:0", .fore = channel, .back = channel}))
                    .id;
      return reclaim_complete(cs, r, client, false);
    });
  }

  template <class Body>
  void run(Body body) {
    the_run.begin(TransactionId(++transactions), client.value, env.wall_time());
    const auto outcome = body(the_run);
    CHECK(outcome.has_value());
    the_run.end_step({});
    the_run.commit();
    if (transactions % 16 == 0) commit.flush();
  }
  Sequenced begin_request(Run& r) {
    auto s = sequence(
        cs, r,
        {.session = session, .slot = 0, .seqid = ++seqid, .checksum = 7, .connection = ConnectionId(1)});
    CHECK(s.has_value());
    return *std::move(s);
  }
  void checkpoint_when_due(benchmark::State& state) {
    if (transactions < checkpointed + 60'000) return;
    state.PauseTiming();
    checkpoint();
    state.ResumeTiming();
  }
  void checkpoint() {
    checkpointed = transactions;
    bool done = false;
    database.begin_checkpoint([&](Result<store::Applied> r) { done = r.has_value(); });
    commit.flush();
    while (!done) CHECK(env.run_one());
  }

  env::TestEnv env;
  store::testing::MemoryKvStore store{env, std::make_shared<store::testing::MemoryKvImage>()};
  state::Database database{env, store};
  log::GroupCommit commit{env, nullptr, Epoch(1), [](Error) {}};
  ClientState cs{env,
                 database,
                 {},
                 {.released = [](Run&, InodeId) -> Outcome<void> { return {}; },
                  .start_expire = [](Run&, ClientId) {},
                  .resume = [](TransactionId) {}}};
  Run the_run{database};
  ClientId client;
  SessionId session{};
  uint64_t transactions = 0, checkpointed = 0;
  uint32_t seqid = 0;
};

void BM_EmptyRun(benchmark::State& state) {
  Fixture f;
  for (auto _ : state) f.run([](Run&) -> Outcome<void> { return {}; });
}
BENCHMARK(BM_EmptyRun);

void BM_ReadOnlyRequest(benchmark::State& state) {
  Fixture f;
  for (auto _ : state) {
    f.run([&](Run& r) -> Outcome<void> {
      const Sequenced s = f.begin_request(r);
      f.cs.finish(r, s.slot, {}, false, false);
      return {};
    });
  }
}
BENCHMARK(BM_ReadOnlyRequest);

void BM_ModifyingRequest(benchmark::State& state) {
  Fixture f;
  for (auto _ : state) {
    f.run([&](Run& r) -> Outcome<void> {
      const Sequenced s = f.begin_request(r);
      f.cs.finish(r, s.slot, ByteVector(200), true, true);
      return {};
    });
    f.checkpoint_when_due(state);
  }
}
BENCHMARK(BM_ModifyingRequest);

// A file is opened in one request and closed in the next, as clients do.
void BM_OpenAndClose(benchmark::State& state) {
  Fixture f;
  uint64_t n = 0;
  for (auto _ : state) {
    const InodeId inode(1 + n++ % 1000);
    Stateid stateid;
    f.run([&](Run& r) -> Outcome<void> {
      const Sequenced s = f.begin_request(r);
      stateid = TRY(open(f.cs, r,
                         {.client = s.client,
                          .owner = bytes_of("open id: 0000000042"),
                          .inode = inode,
                          .access = share_both,
                          .principal = "1:0"}));
      f.cs.finish(r, s.slot, ByteVector(300), true, true);
      return {};
    });
    f.run([&](Run& r) -> Outcome<void> {
      const Sequenced s = f.begin_request(r);
      TRY(close(f.cs, r, s.client, inode, stateid));
      f.cs.finish(r, s.slot, ByteVector(120), true, true);
      return {};
    });
    f.checkpoint_when_due(state);
  }
}
BENCHMARK(BM_OpenAndClose);

// The same without the requests around it.
void BM_OpenAndCloseAlone(benchmark::State& state) {
  Fixture f;
  uint64_t n = 0;
  for (auto _ : state) {
    const InodeId inode(1 + n++ % 1000);
    f.run([&](Run& r) -> Outcome<void> {
      const Stateid stateid =
          TRY(open(f.cs, r, {.client = f.client, .owner = bytes_of("open id: 0000000042"), .inode = inode}));
      return close(f.cs, r, f.client, inode, stateid);
    });
    f.checkpoint_when_due(state);
  }
}
BENCHMARK(BM_OpenAndCloseAlone);

void BM_CheckAccess(benchmark::State& state) {
  Fixture f;
  Stateid stateid;
  f.run([&](Run& r) -> Outcome<void> {
    stateid = TRY(open(
        f.cs, r, {.client = f.client, .owner = bytes_of("o"), .inode = InodeId(5), .access = share_both}));
    return {};
  });
  for (auto _ : state) {
    f.run([&](Run& r) -> Outcome<void> {
      TRY(check_access(f.cs, r, f.client, InodeId(5), stateid, IoKind::write));
      return {};
    });
  }
}
BENCHMARK(BM_CheckAccess);

// One file in which `locks` locks are held, by one owner or by one owner each. Then one more is taken and
// given back at random places.
void BM_LockAndUnlock(benchmark::State& state) {
  const auto locks = static_cast<uint64_t>(state.range(0));
  const bool one_owner = state.range(1) != 0;
  Fixture f;
  const InodeId inode(9);
  Stateid opened;
  f.run([&](Run& r) -> Outcome<void> {
    opened = TRY(
        open(f.cs, r, {.client = f.client, .owner = bytes_of("o"), .inode = inode, .access = share_both}));
    return {};
  });
  const auto take = [&](const Stateid& by, bool new_owner, uint64_t at, std::string_view owner) {
    Stateid taken;
    f.run([&](Run& r) -> Outcome<void> {
      const Locked locked = TRY(lock(f.cs, r,
                                     {.client = f.client,
                                      .inode = inode,
                                      .type = LockType::write,
                                      .range = {at, at},
                                      .stateid = by,
                                      .new_owner = new_owner,
                                      .owner = bytes_of(owner)}));
      CHECK(!locked.conflict);
      taken = locked.stateid;
      return {};
    });
    if (f.transactions >= f.checkpointed + 60'000) f.checkpoint();
    return taken;
  };
  Stateid mine = take(opened, true, 1, "mine");
  uint64_t random = 1;
  for (uint64_t i = 0; i < locks; ++i) {
    random = random * 6364136223846793005ULL + 1442695040888963407ULL;
    const uint64_t at = 4 * (1 + i);
    if (one_owner)
      mine = take(mine, false, at, {});
    else
      take(opened, true, at, fmt::format("owner {}", i));
  }
  for (auto _ : state) {
    random = random * 6364136223846793005ULL + 1442695040888963407ULL;
    const uint64_t at = 4 * ((random >> 20U) % (locks + 1)) + 2;
    mine = take(mine, false, at, {});
    f.run([&](Run& r) -> Outcome<void> {
      mine = TRY(locku(f.cs, r, f.client, inode, mine, {at, at}));
      return {};
    });
    f.checkpoint_when_due(state);
  }
}
BENCHMARK(BM_LockAndUnlock)->ArgNames({"locks", "one_owner"})->ArgsProduct({{0, 1000, 1'000'000}, {0, 1}});

}  // namespace
}  // namespace perdure::client
