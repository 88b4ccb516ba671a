// The bytes of docs/formats/ring.md: superblock and batch header. Pure functions; any bytes are safe to
// parse.
#pragma once

#include <optional>

#include "base/bytes.h"
#include "base/ids.h"
#include "log/ring.h"

namespace perdure::log {

inline constexpr uint64_t slot_count = 2;
inline constexpr uint64_t area_begin = slot_count * sector_bytes;  // of the batches, in the file

struct Superblock {
  uint64_t salt = 0;      // random, secret, in every batch header
  uint64_t capacity = 0;  // bytes of batches
  StartNumber start;      // the last one taken

  uint64_t slot() const { return start.value % slot_count; }  // the one that this superblock is written to
};

// `sector` is sector_bytes long.
void encode_superblock(const Superblock& superblock, MutableBytes sector);
// None: not a superblock, torn, or damaged. `unsupported`: a good one of another version.
Result<std::optional<Superblock>> decode_superblock(Bytes sector);

struct BatchHeader {
  Lsn lsn;
  StartNumber start;
  Epoch epoch;
  uint32_t payload_bytes = 0;
  bool predecessor_unknown = false;
  uint32_t predecessor = 0;  // crc of the header before
  uint32_t payload_crc = 0;
  Lsn durable;       // every batch before it was on stable storage when this one was begun
  uint32_t crc = 0;  // of this header: set by encode and decode

  Lsn end() const { return lsn + Lsn(batch_bytes(payload_bytes)); }
};

// `into` is batch_header_bytes long. Returns the header's CRC.
uint32_t encode_batch_header(const BatchHeader& header, uint64_t salt, MutableBytes into);
// None: no batch of the ring with this salt begins here, or its header is damaged.
std::optional<BatchHeader> decode_batch_header(Bytes from, uint64_t salt);

// Whether `next`, which lies where `last` ends, was written by whoever continued `last`'s log. If not, it is
// a dead tail.
bool continues(const BatchHeader& last, const BatchHeader& next);

// The payload is what the header says.
bool payload_matches(const BatchHeader& header, Bytes payload);
// Calls `each` for every record of a good batch that is at or behind `from`. Ends at the first error.
Result<void> for_each_record(const BatchHeader& header, Bytes payload, Lsn from,
                             const LogRing::EachRecord& each);

}  // namespace perdure::log
