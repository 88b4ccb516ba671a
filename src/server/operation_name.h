// Names for the operation numbers of control values (log/record.h): NFSv4's, and the server's own.
#pragma once

#include <cstdint>
#include <string>

namespace perdure::server {

// "RENAME", "reclaim".
std::string operation_name(uint16_t operation);
// One of the server's own.
bool is_internal(uint16_t operation);

}  // namespace perdure::server
