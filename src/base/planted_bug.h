// planted("name"): a deliberate bug, for the proof that the simulation would find it (test/sim/bugs.h lists
// them). Only the preset `bugs` has them; everywhere else this is a constant false.
#pragma once

#include <string_view>

namespace perdure {

#ifdef PERDURE_PLANTED_BUGS
constexpr bool kBugsCanBePlanted = true;
// Whether this bug is the one that plant() has named.
bool planted(std::string_view bug);
// Before anything else runs. Empty: none.
void plant(std::string_view bug);
#else
constexpr bool kBugsCanBePlanted = false;
constexpr bool planted(std::string_view) {
  return false;
}
constexpr void plant(std::string_view) {}
#endif

}  // namespace perdure
