// CRC-32C (Castagnoli), as in RFC 3720 §B.4: the checksum of log records, batches and file blocks.
#pragma once

#include "base/bytes.h"

namespace perdure {

// The standard CRC-32C of `data`; with `previous`, of all that `previous` covered followed by `data`.
// crc32c("123456789") == 0xE3069283.
uint32_t crc32c(Bytes data, uint32_t previous = 0);

}  // namespace perdure
