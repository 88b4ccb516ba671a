#include "base/planted_bug.h"

#include <string>

namespace perdure {

#ifdef PERDURE_PLANTED_BUGS

namespace {
std::string& the_bug() {
  static std::string bug;
  return bug;
}
}  // namespace

bool planted(std::string_view bug) {
  return the_bug() == bug;
}

void plant(std::string_view bug) {
  the_bug() = bug;
}

#endif

}  // namespace perdure
