#include "base/mark.h"

// From the linker.
extern "C" {
extern perdure::Mark __start_perdure_marks[] __attribute__((weak));  // NOLINT(bugprone-reserved-identifier)
extern perdure::Mark __stop_perdure_marks[] __attribute__((weak));   // NOLINT(bugprone-reserved-identifier)
}

namespace perdure {

std::span<Mark> marks() {
  return {__start_perdure_marks, __stop_perdure_marks};
}

}  // namespace perdure
