#include "bench/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

namespace perdure::bench {
namespace {

double mebibytes_per_second(const CellResult& r) {
  return r.seconds > 0 ? static_cast<double>(r.bytes) / r.seconds / (1 << 20) : 0;
}

double client_microseconds_per_op(const CellResult& r) {
  return r.ops > 0 ? r.client_cpu_seconds * 1e6 / static_cast<double>(r.ops) : 0;
}

// "-" where nothing is known.
std::string number(double value, const char* format = "{:.0f}") {
  return value > 0 ? fmt::format(fmt::runtime(format), value) : "-";
}

std::vector<double> values(const Series& series, double (CellResult::*value)() const) {
  std::vector<double> all;
  for (const CellResult& r : series.runs) all.push_back((r.*value)());
  return all;
}

std::string ratio(double a, double b) {
  return a > 0 && b > 0 ? fmt::format("{:.2f}", a / b) : "-";
}

uint64_t faults(const Series& series) {
  uint64_t n = 0;
  for (const CellResult& r : series.runs) n += r.error_count() + r.bad_data;
  return n;
}

}  // namespace

std::string duration_text(Nanoseconds time) {
  const auto t = static_cast<double>(time);
  if (t < 1e6) return fmt::format("{:.0f} us", t / 1e3);
  if (t < 1e9) return fmt::format("{:.1f} ms", t / 1e6);
  return fmt::format("{:.2f} s", t / 1e9);
}

std::string table_header() {
  return fmt::format("{:<22}{:<22}{:>7}{:>10}{:>8}{:>10}{:>10}{:>10}{:>10}{:>9}{:>11}{:>10}{:>7}{:>8}",
                     "workload", "server", "CxD", "ops/s", "MiB/s", "p50", "p99", "p99.9", "max", "srv CPU",
                     "ops/srv-s", "us cli/op", "other", "errors");
}

std::string table_line(const CellResult& r) {
  std::string text =
      fmt::format("{:<22}{:<22}{:>7}{:>10.0f}{:>8}{:>10}{:>10}{:>10}{:>10}{:>9}{:>11}{:>10.1f}{:>6.0f}%{:>8}",
                  r.workload, r.server, fmt::format("{}x{}", r.connections, r.depth), r.ops_per_second(),
                  number(mebibytes_per_second(r)), duration_text(r.latency.percentile(0.5)),
                  duration_text(r.latency.percentile(0.99)), duration_text(r.latency.percentile(0.999)),
                  duration_text(r.latency.max()),
                  r.seconds > 0 ? number(r.server_cpu_seconds / r.seconds, "{:.2f}") : "-",
                  number(r.ops_per_server_cpu_second()), client_microseconds_per_op(r),
                  r.other_cpu_share * 100, r.error_count() + r.bad_data);
  for (const auto& [what, count] : r.errors) text += fmt::format("\n    {} {}", count, what);
  if (r.bad_data != 0) text += fmt::format("\n    {} BAD DATA, the first: {}", r.bad_data, r.bad_example);
  if (r.counters.connections_lost != 0)
    text += fmt::format("\n    connections lost {}, requests sent again {}, longest pause {}",
                        r.counters.connections_lost, r.counters.requests_sent_again,
                        duration_text(r.counters.longest_pause));
  return text;
}

std::string json_line(const CellResult& r) {
  nlohmann::ordered_json j;
  j["server"] = r.server;
  j["workload"] = r.workload;
  j["connections"] = r.connections;
  j["depth"] = r.depth;
  j["seconds"] = r.seconds;
  j["ops"] = r.ops;
  j["ops_per_second"] = r.ops_per_second();
  j["mib_per_second"] = mebibytes_per_second(r);
  j["latency_ns"] = {{"p50", r.latency.percentile(0.5)},
                     {"p99", r.latency.percentile(0.99)},
                     {"p99.9", r.latency.percentile(0.999)},
                     {"max", r.latency.max()}};
  j["server_cpu_seconds"] = r.server_cpu_seconds;
  j["ops_per_server_cpu_second"] = r.ops_per_server_cpu_second();
  j["client_cpu_seconds"] = r.client_cpu_seconds;
  j["client_us_per_op"] = client_microseconds_per_op(r);
  j["other_cpu_share"] = r.other_cpu_share;
  j["server_resident_bytes"] = r.server_resident_bytes;
  j["server_peak_bytes"] = r.server_peak_bytes;
  j["errors"] = r.errors;
  j["bad_data"] = r.bad_data;
  if (r.bad_data != 0) j["bad_example"] = r.bad_example;
  j["connections_lost"] = r.counters.connections_lost;
  j["requests_sent_again"] = r.counters.requests_sent_again;
  j["longest_pause_ns"] = r.counters.longest_pause;
  j["persistent_session"] = r.persistent;
  return j.dump();
}

double median(std::vector<double> v) {
  if (v.empty()) return 0;
  std::ranges::sort(v);
  return v[(v.size() - 1) / 2];
}

std::string markdown_table(std::span<const Comparison> comparisons) {
  if (comparisons.empty()) return "";
  std::string head = "| workload |";
  std::string rule = "| --- |";
  const std::vector<Series>& first = comparisons.front().series;
  for (const Series& s : first) {
    head += fmt::format(" {0} ops/s | {0} ops per CPU s |", s.label);
    rule += " ---: | ---: |";
  }
  for (size_t i = 1; i < first.size(); ++i) {
    head += fmt::format(" {0}/{1} ops/s | {0}/{1} ops per CPU s |", first[0].label, first[i].label);
    rule += " ---: | ---: |";
  }
  std::string text = head + " errors |\n" + rule + " ---: |\n";
  for (const Comparison& c : comparisons) {
    std::string row = fmt::format("| {} |", c.workload);
    std::vector<std::pair<double, double>> medians;
    uint64_t wrong = 0;
    for (const Series& s : c.series) {
      const auto& [speed, economy] =
          medians.emplace_back(median(values(s, &CellResult::ops_per_second)),
                               median(values(s, &CellResult::ops_per_server_cpu_second)));
      row += fmt::format(" {} | {} |", number(speed), number(economy));
      wrong += faults(s);
    }
    for (size_t i = 1; i < medians.size(); ++i)
      row += fmt::format(" {} | {} |", ratio(medians[0].first, medians[i].first),
                         ratio(medians[0].second, medians[i].second));
    text += fmt::format("{} {} |\n", row, wrong);
  }
  return text;
}

}  // namespace perdure::bench
