// Simulates many seeds, several at the same time, each in a process that may die of it.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace perdure::sim {

struct RunnerOptions {
  uint64_t first = 1, seeds = 100;
  double seconds_max = 0;  // begin no more seeds after this real time; 0: no limit
  std::string workload;    // empty: what the seed draws
  bool pair = false;       // two blades
  unsigned jobs = 2;
  unsigned hang_seconds = 120;  // of processor time that a seed may take
  bool twice = false;           // simulate each seed twice and compare
  bool keep_going = false;      // otherwise all ends at the first failure
};

struct RunnerResult {
  uint64_t done = 0, steps = 0, deaths = 0;  // of the seeds without a failure
  double simulated_seconds = 0, seconds = 0;
  std::vector<uint64_t> mark_hits;  // as marks()
  std::map<uint64_t, std::string> failures;
};

RunnerResult run_seeds(const RunnerOptions& options);

}  // namespace perdure::sim
