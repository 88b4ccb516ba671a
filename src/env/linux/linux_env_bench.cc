// What one turn of the loop costs: disk writes, posts, timers. The file is made in $PERDURE_BENCH_DIR or
// /var/tmp.
#include <benchmark/benchmark.h>
#include <sys/resource.h>

#include <cstdlib>
#include <filesystem>

#include "base/ids.h"
#include "base/page.h"
#include "env/linux/linux_env.h"

namespace perdure::env {
namespace {

struct BenchFile {
  std::string path;
  std::unique_ptr<LinuxEnv> env = *LinuxEnv::create();
  std::unique_ptr<File> file;

  explicit BenchFile(uint64_t bytes) {
    const char* directory = std::getenv("PERDURE_BENCH_DIR");
    path = std::string(directory == nullptr ? "/var/tmp" : directory) + "/perdure-env-bench";
    file = *env->open(path, true);
    file->grow(bytes, File::Fill::zeroed, [this](Result<void> r) {
      CHECK(r);
      env->stop();
    });
    env->run();
  }
  ~BenchFile() {
    file.reset();
    std::filesystem::remove(path);
  }
};

double thread_cpu_seconds() {
  rusage usage{};
  ::getrusage(RUSAGE_THREAD, &usage);
  return static_cast<double>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
         1e-6 * static_cast<double>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

// range(0): pages of one write; range(1): writes under way.
void durable_writes(benchmark::State& state) {
  constexpr uint64_t bytes = 64 << 20U;
  BenchFile bench(bytes);
  const auto pages = static_cast<size_t>(state.range(0));
  const auto depth = static_cast<size_t>(state.range(1));
  const uint64_t length = pages * block_bytes;
  std::vector<PageRef> data;
  std::vector<Bytes> pieces;
  for (size_t i = 0; i < pages; ++i) {
    data.push_back(make_page());
    std::memset(data.back().mutable_bytes().data(), 7, block_bytes);
    pieces.push_back(data.back().bytes());
  }
  uint64_t offset = 0;
  size_t under_way = 0, completed = 0;
  auto next = [&] {
    ++under_way;
    bench.file->write(offset, pieces, File::Write::durable, [&](Result<void> r) {
      CHECK(r);
      --under_way;
      ++completed;
      bench.env->stop();
    });
    offset = (offset + length) % bytes;
  };
  const double cpu = thread_cpu_seconds();
  for (auto _ : state) {
    while (under_way < depth) next();
    const size_t before = completed;
    while (completed == before) bench.env->run();
  }
  while (under_way != 0) bench.env->run();
  const auto writes = static_cast<double>(completed);
  state.counters["cpu_us_per_write"] = 1e6 * (thread_cpu_seconds() - cpu) / writes;
  state.counters["writes_per_s"] = benchmark::Counter(writes, benchmark::Counter::kIsRate);
  state.SetBytesProcessed(static_cast<int64_t>(completed * length));
}
BENCHMARK(durable_writes)
    ->Args({1, 1})
    ->Args({4, 1})
    ->Args({1, 16})
    ->Args({256, 1})
    ->Args({256, 4})
    ->UseRealTime();

void posts(benchmark::State& state) {
  auto env = *LinuxEnv::create();
  auto left = static_cast<int64_t>(state.max_iterations);
  std::function<void()> next = [&] {
    if (--left == 0) return env->stop();
    env->post([&] { next(); });
  };
  for (auto _ : state) {
    if (left <= 0) continue;
    env->post([&] { next(); });
    env->run();  // all of the iterations in one go, a turn for each
  }
}
BENCHMARK(posts);

void post_from_another_thread_and_back(benchmark::State& state) {
  auto env = *LinuxEnv::create();
  for (auto _ : state) {
    env->offload([] {}, [&] { env->stop(); });
    env->run();
  }
}
BENCHMARK(post_from_another_thread_and_back)->UseRealTime();

void timers_made_and_cancelled(benchmark::State& state) {
  auto env = *LinuxEnv::create();
  for (auto _ : state) env->cancel(env->after(std::chrono::seconds(90), [] {}));
}
BENCHMARK(timers_made_and_cancelled);

}  // namespace
}  // namespace perdure::env
