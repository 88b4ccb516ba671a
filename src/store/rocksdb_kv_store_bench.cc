// What checkpoints and look-ups cost with RocksDB. The store is made in $PERDURE_BENCH_DIR or /var/tmp.
#include <benchmark/benchmark.h>
#include <sys/resource.h>

#include <cstdlib>
#include <filesystem>
#include <random>
#include <set>

#include "env/linux/linux_env.h"
#include "store/kv_store.h"

namespace perdure::store {
namespace {

constexpr size_t value_bytes = 150, part_rows = 1000;

double process_cpu_seconds() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
         1e-6 * static_cast<double>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

// A table number and 16 bytes, as a directory entry's key has.
ByteVector key_of(uint64_t n) {
  ByteVector key(17);
  key[0] = std::byte{2};
  for (size_t i = 0; i < 8; ++i) key[8 - i] = std::byte(n >> 8 * i);
  const uint64_t hash = n * 0x9e3779b97f4a7c15U;
  std::memcpy(key.data() + 9, &hash, sizeof hash);
  return key;
}

struct BenchStore {
  std::string path;
  std::unique_ptr<env::LinuxEnv> env = *env::LinuxEnv::create();
  std::unique_ptr<KvStore> store;
  std::mt19937_64 random{1};

  BenchStore() {
    const char* directory = std::getenv("PERDURE_BENCH_DIR");
    path = std::string(directory == nullptr ? "/var/tmp" : directory) + "/perdure-kv-bench";
    std::filesystem::remove_all(path);
    store = *open_rocksdb(*env, path, 256U << 20U);
  }
  ~BenchStore() {
    store.reset();
    env.reset();
    std::filesystem::remove_all(path);
  }

  ByteVector value() {
    ByteVector made(value_bytes);
    // Half of it does not compress.
    for (size_t i = 0; i < value_bytes / 2; i += 8) {
      const uint64_t r = random();
      std::memcpy(made.data() + i, &r, std::min<size_t>(8, value_bytes - i));
    }
    return made;
  }
  // One checkpoint of the rows with these numbers, one part after another.
  void checkpoint(const std::set<uint64_t>& numbers) {
    auto next = numbers.begin();
    std::function<void()> apply_part = [&] {
      std::vector<Change> part;
      part.reserve(part_rows);
      for (; next != numbers.end() && part.size() < part_rows; ++next)
        part.push_back({key_of(*next), value()});
      const bool last = next == numbers.end();
      store->apply(std::move(part),
                   last ? std::optional(Applied{Lsn(1), Lsn(1), StartNumber(1)}) : std::nullopt,
                   [&, last](Result<void> r) {
                     CHECK(r);
                     if (last) return env->stop();
                     apply_part();
                   });
    };
    apply_part();
    env->run();
  }
};

// range(0): rows of a checkpoint; range(1): rows that there are, from which each checkpoint changes some at
// random.
void checkpoints(benchmark::State& state) {
  BenchStore bench;
  const auto rows = static_cast<uint64_t>(state.range(0)), population = static_cast<uint64_t>(state.range(1));
  uint64_t written = 0;
  double cpu = process_cpu_seconds();
  for (auto _ : state) {
    state.PauseTiming();
    const double before = process_cpu_seconds();
    std::set<uint64_t> numbers;
    while (numbers.size() < rows) numbers.insert(bench.random() % population);
    cpu += process_cpu_seconds() - before;  // roughly: compactions may have run meanwhile
    written += rows;
    state.ResumeTiming();
    bench.checkpoint(numbers);
  }
  state.counters["cpu_us_per_row"] = 1e6 * (process_cpu_seconds() - cpu) / static_cast<double>(written);
}
BENCHMARK(checkpoints)
    ->Args({100'000, 2'000'000})
    ->Args({100'000, 200'000})
    ->Iterations(20)
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);

// After the process was killed with range(0) rows in the write-ahead log alone.
void reopening(benchmark::State& state) {
  BenchStore bench;
  std::set<uint64_t> numbers;
  while (numbers.size() < static_cast<uint64_t>(state.range(0))) numbers.insert(bench.random());
  bench.checkpoint(numbers);
  for (auto _ : state) {
    bench.store.reset();
    bench.store = *open_rocksdb(*bench.env, bench.path, 256U << 20U);
  }
}
BENCHMARK(reopening)->Arg(1'000)->Arg(100'000)->UseRealTime()->Unit(benchmark::kMillisecond);

void look_ups(benchmark::State& state) {
  BenchStore bench;
  constexpr uint64_t population = 400'000;
  for (uint64_t first = 0; first < population; first += population / 4) {
    std::set<uint64_t> numbers;
    for (uint64_t n = first; n < first + population / 4; ++n) numbers.insert(2 * n);
    bench.checkpoint(numbers);
  }
  bench.store->scan(key_of(0), key_of(2 * population), population, [&](const Result<KeyValues>& r) {
    CHECK(r && r->size() == population);
    bench.env->stop();
  });
  bench.env->run();  // all of it is in the cache now
  const auto odd = static_cast<uint64_t>(state.range(0));
  std::vector<ByteVector> keys;
  for (size_t i = 0; i < 10'000; ++i) keys.push_back(key_of(2 * (bench.random() % population) + odd));
  ByteVector value;
  std::array<uint64_t, 3> hits{};
  size_t i = 0;
  for (auto _ : state) ++hits.at(static_cast<size_t>(bench.store->try_get(keys[i++ % keys.size()], value)));
  const auto share = [&](KvStore::Hit hit) {
    return static_cast<double>(hits.at(static_cast<size_t>(hit))) / static_cast<double>(state.iterations());
  };
  state.counters["found"] = share(KvStore::Hit::found);
  state.counters["absent"] = share(KvStore::Hit::absent);
  state.counters["needs_io"] = share(KvStore::Hit::needs_io);
}
BENCHMARK(look_ups)->ArgName("absent")->Arg(0)->Arg(1);

}  // namespace
}  // namespace perdure::store
