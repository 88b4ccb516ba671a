#include "base/check.h"

#include <cstdio>
#include <cstdlib>

namespace perdure {

void check_failed(const char* expression, const char* file, int line, const char* function) {
  std::fprintf(stderr, "perdure: CHECK(%s) failed in %s at %s:%d\n", expression, function, file, line);
  std::fflush(stderr);
  std::abort();
}

}  // namespace perdure
