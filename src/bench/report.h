// Results as text: a table line for a person, a JSON line for a program, a Markdown table of ratios between
// servers.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "bench/result.h"

namespace perdure::bench {

std::string table_header();
// One line, and further ones for what went wrong.
std::string table_line(const CellResult& result);
std::string json_line(const CellResult& result);

// All runs of one workload on one server, as one row's half.
struct Series {
  std::string label;
  std::vector<CellResult> runs;
};
// The run in the middle by operations per second; of an even number the slower one of the two.
double median(std::vector<double> values);

struct Comparison {
  std::string workload;
  std::vector<Series> series;  // the first is compared with each other one
};
// A row per workload: medians of operations per second and per CPU second of the server, and their ratios.
std::string markdown_table(std::span<const Comparison> comparisons);

std::string duration_text(Nanoseconds time);

}  // namespace perdure::bench
