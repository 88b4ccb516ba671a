// Reading a log that a server may be writing meanwhile, piece by piece: what read_log() and LogFollower
// share.
#pragma once

#include <string>
#include <vector>

#include "log/aligned_buffer.h"
#include "log/log_file.h"
#include "log/ring_format.h"

namespace perdure::log {

struct Source {
  ReadAt read_at;
  std::string name;  // for error messages
  Superblock superblock;

  uint64_t offset_of(Lsn lsn) const { return area_begin + lsn.value % superblock.capacity; }
};

// `bytes`: of the file or device.
Result<Superblock> read_superblock(const ReadAt& read_at, uint64_t bytes, const std::string& name);
// The headers of the log that ends with the newest good batch, oldest batch first.
Result<std::vector<BatchHeader>> find_log(const Source& source);
// Reads the payload that belongs to the header.
Result<Bytes> read_payload(const Source& source, const BatchHeader& header, AlignedBuffer& into);

}  // namespace perdure::log
