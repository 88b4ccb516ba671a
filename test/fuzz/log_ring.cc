// The log ring on a disk with any content: LogRing::open() and read(), read_log() and LogFollower. They give
// records or say what is wrong. And where the ring could be read it can be written: what is appended is there
// after the next start, behind all that was there before.
//
// The input says what lies in the ring: batches and headers with right checksums (a fuzzer does not find
// those by itself), whole or damaged, in their places or elsewhere, and plain bytes.
#include "base/crc32c.h"
#include "env/testing/test_env.h"
#include "fuzz/fuzz.h"
#include "log/log_file.h"
#include "log/log_follower.h"
#include "log/ring_format.h"

namespace perdure::fuzz {

namespace {

using log::BatchHeader;
using log::sector_bytes;

constexpr uint64_t capacity = 16 * sector_bytes;
constexpr uint64_t ring_bytes = log::area_begin + capacity;
constexpr uint64_t salt = 0x5eed;
constexpr const char* path = "log";

// The content of a ring, in the making.
class Disk {
 public:
  explicit Disk(Input& input) : input_(input), bytes_(ring_bytes) {
    const uint8_t starts = input_.u8();
    last_start_ = StartNumber(std::max<uint8_t>(starts, 1));
    put_superblock(StartNumber(starts));
    if (starts > 0) put_superblock(StartNumber(starts - 1U));
  }

  void put_something() {
    switch (const uint8_t kind = input_.u8(); kind % 6) {
      case 0:
      case 1:
      case 2:  // the batch with which the log goes on
        return put_batch(next_batch(), kind);
      case 3:  // a new process goes on, which may not know the batch before, or at a place of its own
        if ((kind & 64U) != 0) last_.reset();
        if ((kind & 128U) != 0) position_ = Lsn(input_.below(capacity / sector_bytes * 4) * sector_bytes);
        start_ = std::min(start_ + StartNumber(1), last_start_);
        return;
      case 4:  // a header as it should not be
        return put_batch(odd_batch(), kind);
      default: {
        const uint64_t at = input_.u32() % bytes_.size();
        const Bytes b = input_.take(1U + input_.u8());
        std::ranges::copy(b.first(std::min(b.size(), bytes_.size() - at)),
                          bytes_.begin() + static_cast<ptrdiff_t>(at));
      }
    }
  }

  const ByteVector& bytes() const { return bytes_; }

 private:
  void put_superblock(StartNumber start) {
    const log::Superblock superblock{.salt = salt, .capacity = capacity, .start = start};
    log::encode_superblock(superblock,
                           MutableBytes(bytes_).subspan(superblock.slot() * sector_bytes, sector_bytes));
  }

  // Records of a few changes.
  Bytes make_payload(Lsn first) {
    payload_.clear();
    for (int n = 1 + input_.u8() % 3; n > 0; --n) {
      builder_.begin(TransactionId(1), 0, 0);
      builder_.begin_step({});
      builder_.put(1, input_.take(input_.u8() % 16), input_.take(input_.u16() % 6000));
      const Bytes record = builder_.finish(first + Lsn(payload_.size()), epoch_);
      payload_.insert(payload_.end(), record.begin(), record.end());
      if (n > 1) payload_.resize(log::aligned_record_bytes(payload_.size()));
    }
    return payload_;
  }

  BatchHeader next_batch() {
    const Bytes payload = make_payload(position_ + Lsn(log::batch_header_bytes));
    BatchHeader h{.lsn = position_,
                  .start = start_,
                  .epoch = epoch_,
                  .payload_bytes = static_cast<uint32_t>(payload.size()),
                  .predecessor_unknown = !last_,
                  .predecessor = last_ ? last_->crc : 0,
                  .payload_crc = crc32c(payload),
                  .durable = position_};
    const uint64_t behind = input_.u8() % 4 * sector_bytes;
    h.durable = Lsn(position_.value - std::min(position_.value, behind));
    return h;
  }

  BatchHeader odd_batch() {
    BatchHeader h = next_batch();
    const uint8_t what = input_.u8();
    if ((what & 1U) != 0) h.lsn = Lsn(input_.u64());
    // Not of one that has not been: that is refused whenever it is met, and it is met only once what is
    // appended leads to it.
    if ((what & 2U) != 0) h.start = std::min(StartNumber(input_.u64()), start_);
    if ((what & 4U) != 0) h.payload_bytes = input_.u32();
    if ((what & 8U) != 0) h.predecessor_unknown = !h.predecessor_unknown;
    if ((what & 16U) != 0) h.predecessor = input_.u32();
    if ((what & 32U) != 0) h.durable = Lsn(input_.u64());
    if ((what & 64U) != 0) h.payload_crc = input_.u32();
    if ((what & 128U) != 0) payload_ = ByteVector(payload_.size(), std::byte{input_.u8()});
    if ((what & 192U) == 128U) h.payload_crc = crc32c(payload_);
    return h;
  }

  // Where its LSN says, as far as there is room; it may come to be torn.
  void put_batch(BatchHeader h, uint8_t kind) {
    std::array<std::byte, log::batch_header_bytes> header{};
    h.crc = log::encode_batch_header(h, salt, header);
    const uint64_t offset = log::area_begin + h.lsn.value / sector_bytes * sector_bytes % capacity;
    uint64_t n = header.size() + payload_.size();
    if ((kind & 128U) != 0) n = std::min<uint64_t>(n, input_.u16());
    for (uint64_t i = 0; i < n; ++i) {
      const uint64_t at = log::area_begin + (offset - log::area_begin + i) % capacity;
      bytes_[at] = i < header.size() ? header[i] : payload_[i - header.size()];
    }
    if ((kind & 64U) != 0) return;  // and was not the last word
    last_ = h;
    if (h.end() > h.lsn && h.end().value < uint64_t{1} << 60U) position_ = h.end();
    if (position_.value % sector_bytes != 0) position_ = Lsn(0);
  }

  Input& input_;
  ByteVector bytes_, payload_;
  log::RecordBuilder builder_;
  Lsn position_;
  StartNumber start_{1}, last_start_;  // no process later than the superblock's has written
  Epoch epoch_{1};
  std::optional<BatchHeader> last_;
};

struct ReadRecord {
  Lsn lsn;
  ByteVector bytes;
  friend bool operator==(const ReadRecord&, const ReadRecord&) = default;
};
using ReadRecords = std::vector<ReadRecord>;

struct From {
  Lsn from, applied;
  StartNumber since;
};

// What a start of a server does with the ring. Null: it says that it cannot.
std::unique_ptr<log::LogRing> start(env::TestEnv& env, const From& from, ReadRecords& records,
                                    std::string& problem) {
  std::unique_ptr<log::LogRing> ring;
  log::LogRing::open(env, path, [&](auto r) {
    if (r)
      ring = std::move(*r);
    else
      problem = r.error().message;
  });
  env.run_until_idle();
  if (ring == nullptr) return nullptr;
  std::optional<Result<Lsn>> end;
  ring->read(
      from.from, from.applied, from.since,
      [&](Bytes record, Lsn lsn) -> Result<void> {
        // Any bytes are safe for who redoes them.
        (void)log::for_each_change(record, [](const log::RowChange&) {});
        (void)log::parse_record(record, lsn);
        records.push_back({lsn, ByteVector(record.begin(), record.end())});
        return {};
      },
      [&](Result<Lsn> r) { end = std::move(r); });
  env.run_until_idle();
  CHECK(end);
  if (!*end) {
    problem = end->error().message;
    return nullptr;
  }
  CHECK(ring->position() == **end && ring->position().value % sector_bytes == 0);
  CHECK(ring->room() <= capacity);
  return ring;
}

void append(env::TestEnv& env, log::LogRing& ring, ReadRecords& records) {
  log::RecordBuilder builder;
  builder.begin(TransactionId(2), 0, 0);
  builder.begin_step({});
  const Lsn lsn = ring.position() + Lsn(log::batch_header_bytes);
  const Bytes record = builder.finish(lsn, Epoch(2));
  log::AlignedBuffer memory(log::batch_bytes(record.size()));
  const MutableBytes batch = memory.first(log::batch_bytes(record.size()));
  std::ranges::copy(record, batch.begin() + log::batch_header_bytes);
  bool written = false;
  ring.write(batch, static_cast<uint32_t>(record.size()), Epoch(2),
             [&](const Result<Lsn>& r) { written = r.has_value(); });
  env.run_until_idle();
  CHECK(written);
  records.push_back({lsn, ByteVector(record.begin(), record.end())});
}

// As `perdure log` reads it, which needs no position to begin at.
void read_aside(const ByteVector& disk) {
  const log::ReadAt read_at = [&disk](uint64_t offset, MutableBytes into) -> Result<void> {
    CHECK(offset <= disk.size() && into.size() <= disk.size() - offset);
    std::ranges::copy(Bytes(disk).subspan(offset, into.size()), into.begin());
    return {};
  };
  (void)log::read_log(read_at, disk.size(), path, Lsn(0), [](Bytes, Lsn) -> Result<void> { return {}; });
  log::LogFollower follower(read_at, disk.size(), path);
  if (!follower.find()) return;
  const log::LogFollower::Consumer consumer{
      .record = [](const log::LogFollower::Batch&, Bytes, Lsn) -> Result<void> { return {}; },
      .lost = [](Lsn, Lsn) {}};
  for (int i = 0; i < 20; ++i) {
    const Result<bool> more = follower.read_more(consumer);
    if (!more || !*more) return;
  }
}

}  // namespace

void fuzz(Bytes bytes) {
  Input input(bytes);
  const uint8_t begin = input.u8();
  From from{
      .from = Lsn((begin & 7U) * sector_bytes), .applied = Lsn(0), .since = StartNumber((begin >> 3U) & 3U)};
  if ((begin & 32U) != 0) from.from = Lsn(input.u64());
  from.applied = from.from;
  if ((begin & 64U) != 0) from.applied += Lsn(input.u16());
  Disk disk(input);
  while (!input.empty()) disk.put_something();

  read_aside(disk.bytes());
  env::TestEnv env(1);
  std::unique_ptr<env::File> file = std::move(env.open(path, true).value());
  std::optional<Result<void>> grown;
  file->grow(ring_bytes, env::File::Fill::reserved, [&](Result<void> r) { grown = std::move(r); });
  env.run_until_idle();
  CHECK(grown && *grown);
  file.reset();
  env.overwrite(path, 0, disk.bytes());

  ReadRecords records;
  std::string problem;
  std::unique_ptr<log::LogRing> ring = start(env, from, records, problem);
  if (ring == nullptr || ring->room() < 2 * sector_bytes) return;
  append(env, *ring, records);
  ring.reset();
  ReadRecords again;
  ring = start(env, from, again, problem);
  if (ring == nullptr) std::fprintf(stderr, "it does not open again: %s\n", problem.c_str());
  CHECK(ring != nullptr);
  CHECK(again == records);
  read_aside(env.content(path));
}

}  // namespace perdure::fuzz
