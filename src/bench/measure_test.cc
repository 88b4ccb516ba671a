// Histogram, pattern, report: what figures are made of.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "bench/bench.h"
#include "bench/histogram.h"
#include "bench/pattern.h"
#include "bench/process_stat.h"
#include "bench/report.h"
#include "bench/workload.h"

namespace perdure::bench {
namespace {

TEST(Histogram, PercentilesAreAtMostASixtyfourthTooHigh) {
  Random random(1);
  for (const unsigned bits : {3U, 10U, 20U, 40U, 63U}) {
    Histogram histogram;
    std::vector<uint64_t> values;
    for (int i = 0; i < 5000; ++i) {
      values.push_back(random.next() >> (64 - bits));
      histogram.add(values.back());
    }
    std::ranges::sort(values);
    for (const double p : {0.0, 0.01, 0.5, 0.99, 0.999, 1.0}) {
      const size_t rank = std::max<size_t>(static_cast<size_t>(std::ceil(p * 5000)), 1) - 1;
      const uint64_t exact = values[rank];
      EXPECT_GE(histogram.percentile(p), exact);
      EXPECT_LE(histogram.percentile(p), exact + exact / 64 + 1);
    }
    EXPECT_EQ(histogram.max(), values.back());
    EXPECT_EQ(histogram.percentile(1), values.back());
  }
}

TEST(Histogram, EmptyAndMerged) {
  Histogram a;
  EXPECT_EQ(a.percentile(0.5), 0U);
  Histogram b;
  a.add(10);
  b.add(1'000'000);
  b.add(UINT64_MAX);
  a.merge(b);
  EXPECT_EQ(a.count(), 3U);
  EXPECT_EQ(a.max(), UINT64_MAX);
  EXPECT_EQ(a.percentile(0.3), 10U);
}

TEST(Pattern, TellsFilesVersionsPlacesAndDamageApart) {
  std::vector<std::byte> data(4096);
  fill_pattern(data, pattern_key(1, 2), 8192);
  EXPECT_TRUE(matches_pattern(data, pattern_key(1, 2), 8192));
  EXPECT_FALSE(matches_pattern(data, pattern_key(2, 2), 8192));
  EXPECT_FALSE(matches_pattern(data, pattern_key(1, 1), 8192));
  EXPECT_FALSE(matches_pattern(data, pattern_key(1, 2), 8184));
  EXPECT_TRUE(matches_pattern(std::span(data).subspan(1024, 512), pattern_key(1, 2), 8192 + 1024));
  for (const size_t at : {0UL, 1000UL, 4095UL}) {
    data[at] ^= std::byte{1};
    EXPECT_FALSE(matches_pattern(data, pattern_key(1, 2), 8192));
    data[at] ^= std::byte{1};
  }
}

CellResult result_with(uint64_t ops, double server_cpu) {
  CellResult r;
  r.server = "A";
  r.workload = "create";
  r.seconds = 2;
  r.ops = ops;
  r.server_cpu_seconds = server_cpu;
  r.latency.add(1000);
  return r;
}

TEST(Report, MedianOfAnEvenNumberIsTheLowerOne) {
  EXPECT_EQ(median({}), 0);
  EXPECT_EQ(median({3, 1, 2}), 2);
  EXPECT_EQ(median({4, 1, 3, 2}), 2);
}

TEST(Report, RatiosOfMedians) {
  const Comparison comparison{"create",
                              {{"A", {result_with(800, 1), result_with(1600, 1), result_with(1000, 1)}},
                               {"B", {result_with(200, 2), result_with(100, 2), result_with(400, 2)}}}};
  const std::string table = markdown_table(std::span(&comparison, 1));
  EXPECT_NE(table.find("| create | 500 | 1000 | 100 | 100 | 5.00 | 10.00 | 0 |"), std::string::npos) << table;
}

TEST(Report, JsonHoldsWhatTheLineShows) {
  CellResult r = result_with(1000, 0.5);
  r.errors["OPEN: NOSPC"] = 3;
  r.bad_data = 1;
  r.bad_example = "a \"quoted\" example";
  const auto j = nlohmann::json::parse(json_line(r));
  EXPECT_EQ(j["ops_per_second"], 500);
  EXPECT_EQ(j["ops_per_server_cpu_second"], 2000);
  EXPECT_EQ(j["errors"]["OPEN: NOSPC"], 3);
  EXPECT_EQ(j["bad_example"], r.bad_example);
  EXPECT_EQ(json_line(r).find('\n'), std::string::npos);
  EXPECT_NE(table_line(r).find("BAD DATA"), std::string::npos);
}

TEST(Target, Parses) {
  const auto t = parse_target("mine=host.example:20049/export/a,pid=12");
  ASSERT_TRUE(t);
  EXPECT_EQ(t->label, "mine");
  EXPECT_EQ(t->server, "host.example:20049");
  EXPECT_EQ(t->path, "/export/a");
  EXPECT_EQ(t->pid, 12);
  EXPECT_EQ(parse_target("a=b")->path, "/");
  for (const char* bad : {"", "host:1/x", "=host", "a=", "a=/x", "a=h,pid=x", "a=h,pid=", "a=h,pid=-3"})
    EXPECT_FALSE(parse_target(bad)) << bad;
}

TEST(ProcessStat, ThisProcess) {
  EXPECT_EQ(process_tree(getpid()).front(), getpid());
  EXPECT_GT(tree_memory(getpid()).resident_bytes, 1U << 20);
  EXPECT_GE(tree_memory(getpid()).peak_bytes, tree_memory(getpid()).resident_bytes / 2);
  const double before = own_cpu_seconds();
  uint64_t sink = 0;
  while (own_cpu_seconds() < before + 0.05) sink = mix(sink);
  EXPECT_GE(tree_cpu_seconds(getpid()), 0.04);
  EXPECT_GT(machine_cpu().all_seconds, machine_cpu().busy_seconds);
}

TEST(Workloads, HaveNames) {
  EXPECT_NE(find_workload("create"), nullptr);
  EXPECT_EQ(find_workload("no such"), nullptr);
  for (const WorkloadEntry& e : workloads()) EXPECT_NE(e.make(), nullptr) << e.name;
}

}  // namespace
}  // namespace perdure::bench
