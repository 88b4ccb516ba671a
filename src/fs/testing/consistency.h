// What fs/check.h finds in a fixture.
#pragma once

#include <string>
#include <vector>

#include "fs/check.h"

namespace perdure::fs::testing {

std::vector<std::string> findings_in(FileSystem& fs, const CheckSurroundings& surroundings);

}  // namespace perdure::fs::testing
