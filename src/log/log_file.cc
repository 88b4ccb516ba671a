#include "log/log_file.h"

#include "env/plain_file.h"
#include "log/log_scan.h"

namespace perdure::log {

namespace {

// A running server may overwrite the batch meanwhile: then its records are gone, and that is no error.
Result<void> read_batch(const Source& source, const BatchHeader& header, Lsn from,
                        const LogRing::EachRecord& each) {
  AlignedBuffer memory;
  for (int attempt = 0; attempt < 2; ++attempt) {  // the first may have met a write under way
    const Bytes payload = TRY(read_payload(source, header, memory));
    const auto now = decode_batch_header(memory.first(batch_header_bytes), source.superblock.salt);
    if (!now || now->crc != header.crc) return {};
    if (payload_matches(header, payload)) return for_each_record(header, payload, from, each);
  }
  return error(ErrorKind::corrupt, "{}: log batch at LSN {} is damaged", source.name, header.lsn);
}

}  // namespace

Result<Lsn> read_log(const ReadAt& read_at, uint64_t bytes, const std::string& name, Lsn from,
                     const LogRing::EachRecord& each) {
  const Source source{read_at, name, TRY(read_superblock(read_at, bytes, name))};
  const std::vector<BatchHeader> log = TRY(find_log(source));
  Lsn end;
  for (const BatchHeader& header : log) {
    end = header.end();
    if (end > from) TRY(read_batch(source, header, from, each));
  }
  return end;
}

Result<Lsn> read_log_file(const std::string& path, Lsn from, const LogRing::EachRecord& each) {
  const std::unique_ptr<env::PlainFile> file = TRY(env::PlainFile::open(path));
  const ReadAt read_at = [&file](uint64_t offset, MutableBytes into) { return file->read(offset, into); };
  return read_log(read_at, file->size(), path, from, each);
}

}  // namespace perdure::log
