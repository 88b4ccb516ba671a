#include "log/ring_format.h"

#include "base/crc32c.h"
#include "base/planted_bug.h"

namespace perdure::log {

namespace {

constexpr uint64_t superblock_magic = 0x676f'4c65'7275'6450;  // "PdureLog"
constexpr uint32_t superblock_version = 1;

struct SuperblockFormat {
  uint64_t magic;
  uint32_t version;
  uint32_t zero;
  uint64_t salt;
  uint64_t capacity;
  uint64_t start;
};
static_assert(sizeof(SuperblockFormat) == 40);
constexpr size_t superblock_crc_at = sector_bytes - sizeof(uint32_t);

struct BatchFormat {
  uint64_t salt;
  uint64_t lsn;
  uint64_t start;
  uint64_t epoch;
  uint32_t payload_bytes;
  uint32_t flags;
  uint32_t predecessor;
  uint32_t payload_crc;
  uint64_t durable;
  uint32_t zero;
  uint32_t crc;
};
static_assert(sizeof(BatchFormat) == batch_header_bytes);
constexpr size_t batch_crc_at = offsetof(BatchFormat, crc);
constexpr uint32_t flag_predecessor_unknown = 1;

}  // namespace

void encode_superblock(const Superblock& superblock, MutableBytes sector) {
  CHECK(sector.size() == sector_bytes);
  const SuperblockFormat format{.magic = superblock_magic,
                                .version = superblock_version,
                                .zero = 0,
                                .salt = superblock.salt,
                                .capacity = superblock.capacity,
                                .start = superblock.start.value};
  std::ranges::fill(sector, std::byte{0});
  std::memcpy(sector.data(), &format, sizeof format);
  const uint32_t crc = crc32c(sector.first(superblock_crc_at));
  std::memcpy(sector.data() + superblock_crc_at, &crc, sizeof crc);
}

Result<std::optional<Superblock>> decode_superblock(Bytes sector) {
  CHECK(sector.size() == sector_bytes);
  SuperblockFormat format;
  uint32_t crc = 0;
  std::memcpy(&format, sector.data(), sizeof format);
  std::memcpy(&crc, sector.data() + superblock_crc_at, sizeof crc);
  if (format.magic != superblock_magic || crc != crc32c(sector.first(superblock_crc_at)))
    return std::optional<Superblock>();
  if (format.version != superblock_version)
    return error(ErrorKind::unsupported, "log ring of format version {}", format.version);
  if (format.salt == 0 || format.capacity == 0 || format.capacity % sector_bytes != 0 ||
      format.capacity > capacity_max)
    return std::optional<Superblock>();
  return std::optional(Superblock{format.salt, format.capacity, StartNumber(format.start)});
}

uint32_t encode_batch_header(const BatchHeader& header, uint64_t salt, MutableBytes into) {
  CHECK(into.size() == batch_header_bytes);
  BatchFormat format{.salt = salt,
                     .lsn = header.lsn.value,
                     .start = header.start.value,
                     .epoch = header.epoch.value,
                     .payload_bytes = header.payload_bytes,
                     .flags = header.predecessor_unknown ? flag_predecessor_unknown : 0,
                     .predecessor = header.predecessor,
                     .payload_crc = header.payload_crc,
                     .durable = header.durable.value,
                     .zero = 0,
                     .crc = 0};
  format.crc = crc32c(std::as_bytes(std::span(&format, 1)).first(batch_crc_at));
  std::memcpy(into.data(), &format, sizeof format);
  return format.crc;
}

std::optional<BatchHeader> decode_batch_header(Bytes from, uint64_t salt) {
  CHECK(from.size() >= batch_header_bytes);
  BatchFormat format;
  std::memcpy(&format, from.data(), sizeof format);
  if (format.salt != salt || format.crc != crc32c(from.first(batch_crc_at))) return {};
  if (format.payload_bytes == 0 || batch_bytes(format.payload_bytes) > batch_bytes_max) return {};
  if (format.lsn % sector_bytes != 0 || format.flags > flag_predecessor_unknown ||
      format.durable > format.lsn || format.durable % sector_bytes != 0 || format.zero != 0)
    return {};
  return BatchHeader{.lsn = Lsn(format.lsn),
                     .start = StartNumber(format.start),
                     .epoch = Epoch(format.epoch),
                     .payload_bytes = format.payload_bytes,
                     .predecessor_unknown = format.flags == flag_predecessor_unknown,
                     .predecessor = format.predecessor,
                     .payload_crc = format.payload_crc,
                     .durable = Lsn(format.durable),
                     .crc = format.crc};
}

bool continues(const BatchHeader& last, const BatchHeader& next) {
  if (next.lsn != last.end()) return false;
  if (planted("a dead tail comes back to life")) return true;
  if (next.predecessor_unknown) return next.start > last.start;
  return next.start >= last.start && next.predecessor == last.crc;
}

bool payload_matches(const BatchHeader& header, Bytes payload) {
  if (planted("a torn batch is taken")) return true;
  return payload.size() == header.payload_bytes && crc32c(payload) == header.payload_crc;
}

Result<void> for_each_record(const BatchHeader& header, Bytes payload, Lsn from,
                             const LogRing::EachRecord& each) {
  Lsn lsn = header.lsn + Lsn(batch_header_bytes);
  while (!payload.empty()) {
    const Result<Bytes> record = first_record(payload);
    if (!record)
      return error(ErrorKind::corrupt, "log batch at LSN {}: {}", header.lsn, record.error().message);
    if (lsn >= from) TRY(each(*record, lsn));
    const size_t bytes = std::min(aligned_record_bytes(record->size()), payload.size());
    payload = payload.subspan(bytes);
    lsn += Lsn(bytes);
  }
  return {};
}

}  // namespace perdure::log
