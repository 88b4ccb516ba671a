#include "log/log_follower.h"

#include "env/plain_file.h"

namespace perdure::log {

Result<std::unique_ptr<LogFollower>> LogFollower::open(const std::string& path) {
  std::shared_ptr<env::PlainFile> file = TRY(env::PlainFile::open(path));
  auto follower = std::make_unique<LogFollower>(
      [f = file.get()](uint64_t offset, MutableBytes into) { return f->read(offset, into); }, file->size(),
      path);
  follower->file_ = std::move(file);
  return follower;
}

LogFollower::LogFollower(ReadAt read_at, uint64_t bytes, std::string name)
    : bytes_(bytes), source_{std::move(read_at), std::move(name), {}} {}

auto LogFollower::find() -> Result<Extent> {
  source_.superblock = TRY(read_superblock(source_.read_at, bytes_, source_.name));
  opened_ = true;
  const std::vector<BatchHeader> log = TRY(find_log(source_));
  if (log.empty()) return Extent{.begin = {}, .end = {}, .last_start = source_.superblock.start};
  return Extent{.begin = log.front().lsn, .end = log.back().end(), .last_start = source_.superblock.start};
}

Result<bool> LogFollower::read_more(const Consumer& consumer) {
  if (!opened_) source_.superblock = TRY(read_superblock(source_.read_at, bytes_, source_.name));
  opened_ = true;
  if (!last_) {
    // A log without a batch begins at LSN 0; looking there is less work than looking everywhere.
    if (std::exchange(searched_, true) && !TRY(header_at(Lsn(0)))) return false;
    return read_all(consumer);
  }
  bool any = false;
  for (;;) {
    const std::optional<BatchHeader> next = TRY(header_at(last_->end()));
    if (next && continues(*last_, *next) && TRY(read_batch(*next, consumer, next->lsn))) {
      last_ = next;
      any = true;
      continue;
    }
    // The place before is overwritten right before this one is, a lap later.
    const std::optional<BatchHeader> before = TRY(header_at(last_->lsn));
    if (before && before->crc == last_->crc) return any;
    return TRY(read_all(consumer)) || any;
  }
}

// From the oldest batch that there is, but for what was given already.
Result<bool> LogFollower::read_all(const Consumer& consumer) {
  const Lsn wanted = std::max(position(), from_);
  const std::vector<BatchHeader> log = TRY(find_log(source_));
  bool any = false;
  Lsn next = wanted;
  for (const BatchHeader& header : log) {
    if (header.end() <= wanted) continue;
    if (!TRY(read_batch(header, consumer, next))) continue;  // overwritten meanwhile
    next = header.end();
    last_ = header;
    any = true;
  }
  if (!any && !log.empty()) last_ = log.back();
  return any;
}

Result<std::optional<BatchHeader>> LogFollower::header_at(Lsn lsn) {
  AlignedBuffer sector(sector_bytes);
  TRY(source_.read_at(source_.offset_of(lsn), sector.first(sector_bytes)));
  std::optional<BatchHeader> header =
      decode_batch_header(sector.first(batch_header_bytes), source_.superblock.salt);
  if (header && header->lsn != lsn) header.reset();
  return header;
}

Result<bool> LogFollower::read_batch(const BatchHeader& header, const Consumer& consumer, Lsn expected) {
  const Result<Bytes> payload = read_payload(source_, header, memory_);
  if (!payload && payload.error().kind == ErrorKind::corrupt) return false;
  if (!payload) return payload.error();
  const auto now = decode_batch_header(memory_.first(batch_header_bytes), source_.superblock.salt);
  if (!now || now->crc != header.crc || !payload_matches(header, *payload)) return false;
  if (expected != Lsn(0) && expected < header.lsn) consumer.lost(expected, header.lsn);
  const Batch batch{.lsn = header.lsn, .start = header.start, .epoch = header.epoch};
  TRY(for_each_record(header, *payload, from_,
                      [&](Bytes record, Lsn lsn) { return consumer.record(batch, record, lsn); }));
  return true;
}

}  // namespace perdure::log
