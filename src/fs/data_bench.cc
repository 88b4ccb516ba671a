// What the data side costs in CPU: the path of a synchronous 4 KiB write, of a cached read, and write-back's
// effective step over 1024 random pages.
#include <benchmark/benchmark.h>

#include <random>
#include <set>
#include <tuple>

#include "fs/data.h"
#include "fs/read.h"
#include "fs/testing/fs_fixture.h"
#include "fs/write.h"
#include "fs/write_back.h"

namespace perdure::fs {
namespace {

using testing::FsFixture;

constexpr uint64_t page = block_bytes;

struct Bench {
  FsFixture f;
  state::Run run{f.database()};
  uint64_t transaction = 1U << 20U;
  InodeId id = *f.run_to_end([this](Run& r) -> Outcome<InodeId> {
    const InodeId fresh = f.fs().new_inode_id(r, f.volume());
    InodeRow row;
    row.type = FileType::regular;
    row.volume = f.volume();
    row.links = 1;
    f.fs().inodes.put_new(r, {fresh}, row);
    return fresh;
  });

  // One run, of the present transaction, that ends with a value or waits.
  template <class F>
  auto execute(F&& operation) {
    run.begin(TransactionId(transaction), 0, f.env().wall_time());
    auto outcome = operation(run);
    while (!outcome && outcome.error().is_fault()) {
      std::vector<state::Fetch> misses = run.take_misses();
      run.abandon();
      for (state::Fetch& miss : misses) miss([](const Result<void>& result) { CHECK(result); });
      f.env().run_until_idle();
      run.begin(TransactionId(transaction), 0, f.env().wall_time());
      outcome = operation(run);
    }
    CHECK(outcome || outcome.error().is_wait());
    run.end_step({});
    run.commit();
    return outcome;
  }
  void write(uint64_t offset, Bytes bytes, Stable stable) {
    ++transaction;
    WriteRegisters registers;
    const Principal who{.uid = 0, .gid = 0, .groups = {}};
    for (;;) {
      const auto outcome =
          execute([&](Run& r) { return fs::write(f.fs(), r, who, id, offset, bytes, stable, registers); });
      if (outcome) return;
      f.env().run_until_idle();
    }
  }
  void write_back() {
    ++transaction;
    WriteBackRegisters registers = begin_write_back(f.fs(), WriteBackScope::everything);
    for (;;) {
      const auto outcome = execute([&](Run& r) { return fs::write_back(f.fs(), r, registers); });
      if (outcome && *outcome) return;
      f.env().run_until_idle();
    }
  }
  // So that the log does not grow without end.
  void settle() {
    f.database().commit().flush();
    f.env().run_until_idle();
  }
};

void stable_write_4k(benchmark::State& state) {
  Bench b;
  const ByteVector bytes(page, std::byte{1});
  uint64_t block = 0;
  for (auto _ : state) {
    b.write(block++ % 1024 * page, bytes, Stable::file_sync);
    if (block % 256 == 0) {
      state.PauseTiming();
      b.settle();
      state.ResumeTiming();
    }
  }
}
BENCHMARK(stable_write_4k);

void unstable_write_1m(benchmark::State& state) {
  Bench b;
  const ByteVector bytes(1U << 20U, std::byte{1});
  uint64_t n = 0;
  for (auto _ : state) b.write(n++ % 16 << 20U, bytes, Stable::unstable);
  state.SetBytesProcessed(static_cast<int64_t>(n << 20U));
}
BENCHMARK(unstable_write_1m);

void read_cached(benchmark::State& state) {
  Bench b;
  b.write(0, ByteVector(4U << 20U, std::byte{1}), Stable::unstable);
  b.write_back();
  b.settle();
  const auto count = static_cast<uint64_t>(state.range(0));
  uint64_t offset = 0;
  for (auto _ : state) {
    const auto result = b.execute([&](Run& r) -> Outcome<ReadResult> {
      const InodeRow inode = TRY(b.f.fs().load(r, b.id));
      return read(b.f.fs(), r, b.id, inode, offset, count);
    });
    benchmark::DoNotOptimize(result->length);
    offset = (offset + 5 * count) % (4U << 20U);
  }
}
BENCHMARK(read_cached)->Arg(4096)->Arg(1 << 20);

// 1024 random dirty pages of a file of 32768 blocks in large extents.
void map_1024_random_pages(benchmark::State& state) {
  std::mt19937_64 random(1);
  Bench b;
  b.f.blocks().set_capacity(1U << 20U, 1U << 20U);
  b.f.fs().restored();
  const ByteVector big(1U << 20U, std::byte{1}), small(page, std::byte{2});
  for (uint64_t i = 0; i < 128; ++i) {
    b.write(i << 20U, big, Stable::unstable);
    b.write_back();
  }
  b.settle();
  for (auto _ : state) {
    state.PauseTiming();
    std::set<uint64_t> blocks;
    while (blocks.size() < 1024) blocks.insert(random() % 32768);
    for (const uint64_t block : blocks) b.write(block * page, small, Stable::unstable);
    ++b.transaction;
    WriteBackRegisters registers = begin_write_back(b.f.fs(), WriteBackScope::everything);
    std::ignore = b.execute([&](Run& r) { return write_back(b.f.fs(), r, registers); });
    b.settle();
    state.ResumeTiming();
    std::ignore = b.execute([&](Run& r) { return write_back(b.f.fs(), r, registers); });
    state.PauseTiming();
    CHECK(!b.f.fs().data().anything_dirty());
    b.settle();
    b.f.checkpoint();
    state.ResumeTiming();
  }
  state.SetItemsProcessed(static_cast<int64_t>(1024 * state.iterations()));
}
BENCHMARK(map_1024_random_pages)->Iterations(20);

}  // namespace
}  // namespace perdure::fs
