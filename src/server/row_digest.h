// What the rows of a vserver are, in a few numbers: the same on two blades whose rows are the same.
#pragma once

#include <vector>

#include "base/result.h"
#include "state/database.h"

namespace perdure::server {

struct TableDigest {
  const char* table = nullptr;
  uint64_t rows = 0;
  uint32_t crc = 0;  // CRC-32C of all keys and rows, in order
};

// Of a database with all tables. Blocks; see state::RowReader. An error: the store cannot be read.
Result<std::vector<TableDigest>> digest_rows(state::Database& database);

}  // namespace perdure::server
