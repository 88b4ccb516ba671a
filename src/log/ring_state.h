// What ring.cc (open, write) and ring_reader.cc (read) share.
#pragma once

#include <deque>

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
  enum class Phase : uint8_t { opened, reading, writable, poisoned };
  Phase phase = Phase::opened;
  Lsn position, tail;
  std::optional<Lsn> held;          // the tail stays here
  Lsn trimmed;                      // where it would be otherwise
  std::optional<BatchHeader> last;  // the batch before position; none: it was not read

  // A batch that is being written, in one piece or in two.
  struct Write {
    Lsn begin, end;
    size_t pieces = 0;  // under way
    std::optional<Error> problem;
    env::Done<Lsn> done;
  };
  std::deque<Write> writes;  // in the order of the log
  uint64_t first_write = 0;  // the number of writes.front(), counted from the first of all

  // Every batch before it is on stable storage.
  Lsn durable() const { return writes.empty() ? position : writes.front().begin; }
};

}  // namespace perdure::log
