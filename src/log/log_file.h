// What read_log_file() does, on any source of bytes.
#pragma once

#include "log/ring.h"

namespace perdure::log {

// Fills the memory with the bytes at this offset. Blocks.
using ReadAt = std::function<Result<void>(uint64_t offset, MutableBytes into)>;

// `name` is for error messages; `bytes` is the size of the file or device.
Result<Lsn> read_log(const ReadAt& read_at, uint64_t bytes, const std::string& name, Lsn from,
                     const LogRing::EachRecord& each);

}  // namespace perdure::log
