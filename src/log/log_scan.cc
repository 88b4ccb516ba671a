#include "log/log_scan.h"

namespace perdure::log {

namespace {
constexpr uint64_t read_bytes = 1U << 20U;
}

Result<Superblock> read_superblock(const ReadAt& read_at, uint64_t bytes, const std::string& name) {
  std::optional<Superblock> newest;
  if (bytes >= area_begin) {
    AlignedBuffer sector(sector_bytes);
    for (uint64_t i = 0; i < slot_count; ++i) {
      TRY(read_at(i * sector_bytes, sector.first(sector_bytes)));
      const std::optional<Superblock> found = TRY(decode_superblock(sector.first(sector_bytes)));
      if (found && (!newest || newest->start < found->start)) newest = found;
    }
  }
  if (!newest || newest->capacity + area_begin > bytes)
    return error(ErrorKind::corrupt, "{} has no valid superblock of a log ring", name);
  return *newest;
}

namespace {

// Every header in the ring whose LSN belongs where it lies, in the order of its place.
Result<std::vector<BatchHeader>> find_headers(const Source& source) {
  std::vector<BatchHeader> headers;
  AlignedBuffer chunk(read_bytes);
  const uint64_t end = area_begin + source.superblock.capacity;
  for (uint64_t at = area_begin; at < end; at += read_bytes) {
    const MutableBytes bytes = chunk.first(std::min(read_bytes, end - at));
    TRY(source.read_at(at, bytes));
    for (uint64_t i = 0; i < bytes.size(); i += sector_bytes) {
      const auto header = decode_batch_header(bytes.subspan(i, batch_header_bytes), source.superblock.salt);
      if (header && source.offset_of(header->lsn) == at + i) headers.push_back(*header);
    }
  }
  return headers;
}

}  // namespace

// Reads the payload that belongs to the header.
Result<Bytes> read_payload(const Source& source, const BatchHeader& header, AlignedBuffer& into) {
  const uint64_t bytes = (header.end() - header.lsn).value;
  if (bytes > source.superblock.capacity)
    return error(ErrorKind::corrupt, "{}: log batch at LSN {} is larger than the ring", source.name,
                 header.lsn);
  into.reserve(bytes, 0);
  const uint64_t offset = source.offset_of(header.lsn);
  const uint64_t first = std::min(bytes, area_begin + source.superblock.capacity - offset);
  TRY(source.read_at(offset, into.first(first)));
  if (first < bytes) TRY(source.read_at(area_begin, into.first(bytes).subspan(first)));
  return Bytes(into.first(bytes)).subspan(batch_header_bytes, header.payload_bytes);
}

namespace {

// The last batch of the log. `headers` ends with the newest good one. When that was begun, all before its
// `durable` was written; from there on it may be the first that is missing where the log ends.
Result<std::optional<BatchHeader>> find_last(const Source& source, const std::vector<BatchHeader>& headers) {
  if (headers.empty()) return std::optional<BatchHeader>();
  const BatchHeader& newest = headers.back();
  std::optional<BatchHeader> last;
  for (const BatchHeader& h : headers)
    if (h.end() == newest.durable && (!last || last->start <= h.start)) last = h;
  AlignedBuffer memory;
  for (Lsn at = newest.durable; at <= newest.lsn;) {
    const auto next = std::ranges::find_if(headers, [&](const BatchHeader& h) {
      return h.lsn == at && h.start == newest.start && (at == newest.durable || continues(*last, h));
    });
    if (next == headers.end()) break;
    const Result<Bytes> payload = read_payload(source, *next, memory);
    if (!payload && payload.error().kind != ErrorKind::corrupt) return payload.error();
    if (!payload || !payload_matches(*next, *payload)) break;
    last = *next;
    at = next->end();
  }
  return last;
}

}  // namespace

// The log that ends with the newest good batch before which none is missing, oldest batch first. Headers
// only.
Result<std::vector<BatchHeader>> find_log(const Source& source) {
  std::vector<BatchHeader> headers = TRY(find_headers(source));
  std::ranges::sort(headers, [](const BatchHeader& a, const BatchHeader& b) {
    return std::pair(a.start, a.lsn) < std::pair(b.start, b.lsn);
  });
  AlignedBuffer memory;
  while (!headers.empty()) {  // the newest of all may be torn
    const Result<Bytes> payload = read_payload(source, headers.back(), memory);
    if (payload ? payload_matches(headers.back(), *payload) : payload.error().kind != ErrorKind::corrupt)
      break;
    headers.pop_back();
  }
  const std::optional<BatchHeader> last = TRY(find_last(source, headers));
  if (!last) return std::vector<BatchHeader>();
  const Lsn end = last->end();

  std::vector<BatchHeader> log{*last};
  std::ranges::sort(headers, {}, &BatchHeader::end);
  for (;;) {
    const Lsn begin = log.back().lsn;
    const auto before = std::ranges::equal_range(headers, begin, {}, &BatchHeader::end);
    const auto it =
        std::ranges::find_if(before, [&log](const BatchHeader& h) { return continues(h, log.back()); });
    if (it == before.end() || end - it->lsn > Lsn(source.superblock.capacity)) break;
    log.push_back(*it);
  }
  std::ranges::reverse(log);
  return log;
}

}  // namespace perdure::log
