// Types and names in words, for messages.
#pragma once

#include <string>

#include "fs/rows.h"

namespace perdure::fs {

// "file", "directory", "symbolic link".
const char* type_name(FileType type);
// With "\x0a" for what is not printable.
std::string printable(std::string_view name);

}  // namespace perdure::fs
