// The deliberate bugs of base/planted_bug.h: each breaks a rule that a crash-proof server rests on, and the
// simulation has to find it. So it is proved that the rule is watched.
#pragma once

#include <string>
#include <vector>

namespace perdure::sim {

struct Bug {
  unsigned rule;         // its number in ARCHITECTURE.md
  const char* name;      // as in planted()
  const char* breaks;    // what it breaks, in words
  const char* workload;  // that is meant to find it; empty: any
  bool pair = false;     // in a pair of blades
};
const std::vector<Bug>& bugs();

constexpr unsigned rules = 20;
// How many of the rules no bug breaks; says which.
unsigned rules_not_broken();

}  // namespace perdure::sim
