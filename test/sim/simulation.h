// One seed from beginning to end.
#pragma once

#include <deque>
#include <string>

#include "env/env.h"

namespace perdure::sim {

struct SimulationOptions {
  uint64_t seed = 1;
  std::string workload;    // empty: one or two, drawn from the seed
  bool pair = false;       // two blades
  size_t trace_lines = 0;  // keep so many of the last ones
  bool print_trace = false;
};

struct SimulationResult {
  std::string failure;  // empty: none
  uint64_t hash = 0;    // of all that happened
  uint64_t steps = 0, deaths = 0;
  env::Duration simulated{};
  std::string world;  // what kind of world it was
  std::deque<std::string> trace;
};

SimulationResult simulate(const SimulationOptions& options);

}  // namespace perdure::sim
