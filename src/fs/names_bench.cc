// What name operations cost when everything is in memory: the run, its record and the operation itself.
#include <benchmark/benchmark.h>

#include "fs/attributes.h"
#include "fs/readdir.h"
#include "fs/testing/names.h"

namespace perdure::fs {
namespace {

using testing::FsFixture;
using testing::Names;

// A directory of 10,000 files.
struct Fixture {
  Fixture() {
    for (int i = 0; i < count; ++i) names.file(directory, fmt::format("file {}", i));
    fx.checkpoint();
  }
  static constexpr int count = 10'000;
  FsFixture fx;
  Names names{fx};
  InodeId directory = names.mkdir(fx.root(), "directory");
};

void BM_Lookup(benchmark::State& state) {
  Fixture f;
  int i = 0;
  for (auto _ : state)
    benchmark::DoNotOptimize(f.names.find(f.directory, fmt::format("file {}", i++ % Fixture::count)));
}
BENCHMARK(BM_Lookup);

void BM_GetAttributes(benchmark::State& state) {
  Fixture f;
  const InodeId id = f.names.find(f.directory, "file 77");
  for (auto _ : state)
    benchmark::DoNotOptimize(
        f.fx.run_to_end([&](state::Run& run) { return get_attributes(f.fx.fs(), run, id); }));
}
BENCHMARK(BM_GetAttributes);

void BM_CreateAndRemove(benchmark::State& state) {
  Fixture f;
  int i = 0;
  for (auto _ : state) {
    const std::string name = fmt::format("new {}", i);
    f.names.file(f.directory, name);
    benchmark::DoNotOptimize(f.names.remove(f.directory, name));
    if (++i % 10'000 == 0) f.fx.checkpoint();
  }
}
BENCHMARK(BM_CreateAndRemove);

void BM_Rename(benchmark::State& state) {
  Fixture f;
  for (auto _ : state) {
    CHECK(f.names.rename(f.directory, "file 5", f.fx.root(), "elsewhere") == Status::ok);
    CHECK(f.names.rename(f.fx.root(), "elsewhere", f.directory, "file 5") == Status::ok);
  }
}
BENCHMARK(BM_Rename);

void BM_Readdir(benchmark::State& state) {
  Fixture f;
  for (auto _ : state) benchmark::DoNotOptimize(f.names.list(f.directory, 500));
  state.SetItemsProcessed(state.iterations() * Fixture::count);
}
BENCHMARK(BM_Readdir);

}  // namespace
}  // namespace perdure::fs
