// What ring.cc (open, write) and ring_reader.cc (read) share.
#pragma once

#include "log/aligned_buffer.h"
#include "log/ring_format.h"

namespace perdure::log {

struct RingState {
  RingState(env::Env& e, std::string p, std::unique_ptr<env::File> f)
      : env(e), path(std::move(p)), file(std::move(f)) {}

  uint64_t offset_of(Lsn lsn) const { return area_begin + lsn.value % superblock.capacity; }

  env::Env& env;
  std::string path;
  std::unique_ptr<env::File> file;
  Superblock superblock;

  // Set by read(), like the rest.
  enum class Phase : uint8_t { opened, reading, writable, writing, poisoned };
  Phase phase = Phase::opened;
  Lsn position, tail;
  std::optional<BatchHeader> last;  // the batch before position; none: it was not read
};

}  // namespace perdure::log
