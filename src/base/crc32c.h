// CRC-32C (Castagnoli), as in RFC 3720 §B.4: the checksum of log records, batches and file blocks.
#pragma once

#include "base/bytes.h"

namespace perdure {

// The standard CRC-32C of `data`; with `previous`, of all that `previous` covered followed by `data`.
// crc32c("123456789") == 0xE3069283.
uint32_t crc32c(Bytes data, uint32_t previous = 0);

// The CRC-32C of what `before` covers followed by block_bytes bytes whose own is `block`.
uint32_t crc32c_join_block(uint32_t before, uint32_t block);

}  // namespace perdure
