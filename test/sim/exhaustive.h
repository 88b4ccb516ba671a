// The exhaustive mode: every scenario (scenario.h) with every crash (rehearsal.h).
//
// It fails as well if an operation that can change rows succeeds in no scenario, or if there is a kind of
// transaction of several steps, or of registers of a COMPOUND, that is in the log at no point.
#pragma once

#include <string>

#include "sim/rehearsal.h"

namespace perdure::sim {

struct ExhaustiveOptions {
  std::string scenario;  // empty: all
  unsigned jobs = 1;
  uint64_t sample = 1;          // every n-th point
  uint64_t second_sample = 16;  // second crashes after every n-th of these
  // One run instead, with its trace: "12", "io3"; "": no crash if it is with a trace.
  std::string point, crash = "kill";
  uint64_t then = 0;
  bool trace = false;
};

int run_exhaustive(const ExhaustiveOptions& options);

}  // namespace perdure::sim
