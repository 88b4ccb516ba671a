#include "fs/testing/consistency.h"

namespace perdure::fs::testing {

std::vector<std::string> findings_in(FileSystem& fs, const CheckSurroundings& surroundings) {
  std::vector<std::string> found;
  state::Findings findings([&found](const std::string& line) { found.push_back(line); });
  const Result<CheckFigures> figures = check(fs, surroundings, findings);
  CHECK(figures);
  CHECK(found.empty() == (findings.count() == 0));
  return found;
}

}  // namespace perdure::fs::testing
