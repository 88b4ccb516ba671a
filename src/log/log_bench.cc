// What a run pays for its record, and how fast the log is read back.
#include <benchmark/benchmark.h>

#include "env/testing/test_env.h"
#include "log/group_commit.h"
#include "log/record.h"

namespace perdure::log {
namespace {

// A create: six steps (SEQUENCE, PUTFH, SAVEFH, OPEN, GETFH, GETATTR), five changed rows of usual sizes.
Bytes build(RecordBuilder& builder, Lsn lsn) {
  static const ByteVector row(120, std::byte{7});
  static const ByteVector key(16, std::byte{5});
  builder.begin(TransactionId(1), 2, 3);
  for (uint16_t step = 0; step < 6; ++step) {
    builder.begin_step(
        {.operation = step, .step = 0, .status = 0, .current = InodeId(step), .saved = InodeId(0)});
    if (step == 0) continue;
    builder.begin_put(static_cast<uint8_t>(step));
    builder.encoder().put_bytes(key);
    builder.key_done();
    builder.encoder().put_bytes(row);
    builder.put_done();
  }
  return builder.finish(lsn, Epoch(1));
}

void build_record(benchmark::State& state) {
  RecordBuilder builder;
  for (auto _ : state) benchmark::DoNotOptimize(build(builder, Lsn(64)).data());
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(build(builder, Lsn(64)).size()));
}
BENCHMARK(build_record);

void append_in_memory(benchmark::State& state) {
  env::TestEnv env;
  GroupCommit commit(env, nullptr, Epoch(1), [](const Error&) {});
  RecordBuilder builder;
  uint64_t released = 0;
  int turn = 0;
  for (auto _ : state) {
    commit.when_durable(commit.append(build(builder, commit.next_lsn())), [&released] { ++released; });
    if (++turn % 16 == 0) commit.flush();
  }
  benchmark::DoNotOptimize(released);
}
BENCHMARK(append_in_memory);

std::unique_ptr<LogRing> open_ring(env::TestEnv& env) {
  std::unique_ptr<LogRing> ring;
  LogRing::open(env, "log", [&](Result<std::unique_ptr<LogRing>> r) { ring = std::move(r).value(); });
  env.run_until_idle();
  return ring;
}

// Everything but the disk: the copy into the batch, its checksum, the write's bookkeeping. 16 records a
// batch.
void append_to_ring(benchmark::State& state) {
  env::TestEnv env;
  LogRing::create(env, "log", 16 << 20, [](Result<void>) {});
  env.run_until_idle();
  std::unique_ptr<LogRing> ring = open_ring(env);
  ring->read(Lsn(0), Lsn(0), StartNumber(0), {}, [](const Result<Lsn>&) {});
  env.run_until_idle();
  GroupCommit commit(env, ring.get(), Epoch(1), [](const Error&) {});
  RecordBuilder builder;
  uint64_t released = 0;
  int turn = 0;
  for (auto _ : state) {
    commit.when_durable(commit.append(build(builder, commit.next_lsn())), [&released] { ++released; });
    if (++turn % 16 == 0) {
      commit.flush();
      env.run_until_idle();
      ring->trim(ring->position());
    }
  }
  env.run_until_idle();
}
BENCHMARK(append_to_ring);

// Bytes of log per second, the in-memory disk's copying included.
void redo(benchmark::State& state) {
  env::TestEnv env;
  LogRing::create(env, "log", 64 << 20, [](Result<void>) {});
  env.run_until_idle();
  {
    std::unique_ptr<LogRing> ring = open_ring(env);
    ring->read(Lsn(0), Lsn(0), StartNumber(0), {}, [](const Result<Lsn>&) {});
    env.run_until_idle();
    GroupCommit commit(env, ring.get(), Epoch(1), [](const Error&) {});
    RecordBuilder builder;
    while (commit.room() > (1U << 20U)) {
      for (int i = 0; i < 64; ++i) commit.append(build(builder, commit.next_lsn()));
      commit.flush();
      env.run_until_idle();
    }
  }
  uint64_t changes = 0, end = 0;
  for (auto _ : state) {
    std::unique_ptr<LogRing> ring = open_ring(env);
    ring->read(
        Lsn(0), Lsn(0), StartNumber(0),
        [&changes](Bytes record, Lsn) -> Result<void> {
          TRY(for_each_change(record, [&changes](const RowChange&) { ++changes; }));
          return {};
        },
        [&end](Result<Lsn> r) { end = r.value().value; });
    env.run_until_idle();
  }
  benchmark::DoNotOptimize(changes);
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(end));
}
BENCHMARK(redo)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace perdure::log
