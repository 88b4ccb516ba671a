#include "log/ring.h"

#include <array>

#include "base/crc32c.h"
#include "base/planted_bug.h"
#include "log/ring_state.h"

namespace perdure::log {

namespace {

using env::Done;
using env::File;

// Calls `done` with an error, but not inline.
template <class T>
void fail_later(env::Env& env, Error problem, Done<T> done) {
  env.post([problem = std::move(problem), done = std::move(done)]() mutable { done(std::move(problem)); });
}

struct Slots {
  std::array<std::optional<Superblock>, slot_count> slot;

  const std::optional<Superblock>& newest() const {
    if (!slot[1]) return slot[0];
    return !slot[0] || slot[0]->start < slot[1]->start ? slot[1] : slot[0];
  }
};

Result<Slots> decode_slots(Bytes both) {
  Slots slots;
  for (uint64_t i = 0; i < slot_count; ++i)
    slots.slot[i] = TRY(decode_superblock(both.subspan(i * sector_bytes, sector_bytes)));
  return slots;
}

// One creation: lives in the callbacks of its requests.
struct Creation {
  env::Env& env;
  std::string path;
  uint64_t bytes;
  std::unique_ptr<File> file;
  Done<void> done;
  AlignedBuffer buffer{area_begin};

  static void begin(std::unique_ptr<Creation> self) {
    File& file = *self->file;
    const MutableBytes slots = self->buffer.first(area_begin);
    if (file.size() < area_begin) return grow(std::move(self));
    file.read(0, {&slots, 1}, [self = std::move(self)](Result<void> read) mutable {
      Done<void> finished = std::move(self->done);
      if (!read) return finished(std::move(read).error());
      const Result<Slots> found = decode_slots(self->buffer.first(area_begin));
      if (!found || found->newest())
        return finished(error(ErrorKind::invalid, "{} already holds a log ring", self->path));
      self->done = std::move(finished);
      grow(std::move(self));
    });
  }

  static void grow(std::unique_ptr<Creation> self) {
    File& file = *self->file;
    const uint64_t size = std::max(self->bytes, file.size());
    file.grow(size, File::Fill::zeroed, [self = std::move(self)](Result<void> grown) mutable {
      if (!grown && grown.error().kind != ErrorKind::unsupported) return self->done(std::move(grown).error());
      const bool device = !grown;
      if (device) self->bytes = self->file->size() / sector_bytes * sector_bytes;
      write(std::move(self));
    });
  }

  static void write(std::unique_ptr<Creation> self) {
    if (self->bytes <= area_begin || self->bytes - area_begin > capacity_max)
      return self->done(
          error(ErrorKind::invalid, "{}: {} bytes are no size for a log ring", self->path, self->bytes));
    Superblock superblock{.salt = 0, .capacity = self->bytes - area_begin, .start = StartNumber(0)};
    while (superblock.salt == 0) superblock.salt = self->env.random();
    const MutableBytes slots = self->buffer.first(area_begin);
    for (uint64_t i = 0; i < slot_count; ++i)
      encode_superblock(superblock, slots.subspan(i * sector_bytes, sector_bytes));
    File& file = *self->file;
    const Bytes piece = slots;
    file.write(0, {&piece, 1}, File::Write::durable, [self = std::move(self)](Result<void> written) mutable {
      Done<void> finished = std::move(self->done);
      self.reset();  // the file is unlocked before the caller opens the ring
      finished(std::move(written));
    });
  }
};

}  // namespace

void LogRing::create(env::Env& env, std::string path, uint64_t bytes, Done<void> done) {
  CHECK(bytes % sector_bytes == 0);
  Result<std::unique_ptr<File>> file = env.open(path, true);
  if (!file) return fail_later(env, std::move(file).error(), std::move(done));
  Creation::begin(std::unique_ptr<Creation>(
      new Creation{env, std::move(path), bytes, std::move(*file), std::move(done)}));
}

namespace {

// One opening: lives in the callbacks of its requests.
//
// The newest superblock is written once more, as it is: the start that wrote it may have been killed before
// it was stable, and then the other slot, which is written next, is the only one that a power cut would
// leave. The next start number goes into that other slot. Where it is not good, it may have held that very
// number: then one more is taken.
struct Opening {
  std::unique_ptr<RingState> ring;
  Done<std::unique_ptr<LogRing>> done;
  std::unique_ptr<LogRing> (*make)(std::unique_ptr<RingState>);
  AlignedBuffer buffer{area_begin};
  unsigned numbers_left = 1;  // to be written

  static void begin(std::unique_ptr<Opening> self) {
    File& file = *self->ring->file;
    const MutableBytes slots = self->buffer.first(area_begin);
    file.read(0, {&slots, 1}, [self = std::move(self)](Result<void> read) mutable {
      if (read) read = self->take_slots();
      if (!read) return self->done(std::move(read).error());
      write(std::move(self));
    });
  }

  Result<void> take_slots() {
    const Slots slots = TRY(decode_slots(buffer.first(area_begin)));
    if (!slots.newest())
      return error(ErrorKind::corrupt, "{} has no valid superblock of a log ring", ring->path);
    ring->superblock = *slots.newest();
    if (ring->superblock.capacity + area_begin > ring->file->size())
      return error(ErrorKind::corrupt, "{} is shorter than its log ring: {} bytes", ring->path,
                   ring->file->size());
    if (!slots.slot[0] || !slots.slot[1]) ++numbers_left;
    return {};
  }

  static void write(std::unique_ptr<Opening> self) {
    const Superblock& superblock = self->ring->superblock;
    encode_superblock(superblock, self->buffer.first(sector_bytes));
    File& file = *self->ring->file;
    const Bytes sector = self->buffer.first(sector_bytes);
    const uint64_t at = superblock.slot() * sector_bytes;
    const auto mode = planted("a start number is not durable") ? File::Write::cached : File::Write::durable;
    file.write(at, {&sector, 1}, mode, [self = std::move(self)](Result<void> written) mutable {
      if (!written) return self->done(std::move(written).error());
      if (self->numbers_left == 0) return self->done(self->make(std::move(self->ring)));
      --self->numbers_left;
      ++self->ring->superblock.start;
      write(std::move(self));
    });
  }
};

}  // namespace

void LogRing::open(env::Env& env, std::string path, Done<std::unique_ptr<LogRing>> done) {
  Result<std::unique_ptr<File>> file = env.open(path, false);
  if (!file) return fail_later(env, std::move(file).error(), std::move(done));
  if ((*file)->size() < area_begin)
    return fail_later(env, error(ErrorKind::corrupt, "{} is too short for a log ring", path),
                      std::move(done));
  auto opening = std::make_unique<Opening>();
  opening->ring = std::make_unique<RingState>(env, std::move(path), std::move(*file));
  opening->done = std::move(done);
  opening->make = [](std::unique_ptr<RingState> ring) {
    return std::unique_ptr<LogRing>(new LogRing(std::move(ring)));
  };
  Opening::begin(std::move(opening));
}

// Both slots, one after the other, each with a start number of its own: whichever of the two writes is torn,
// the newest superblock has the new salt, or none of them has.
void LogRing::reset(Done<void> done) {
  RingState& ring = *state_;
  CHECK(ring.phase == RingState::Phase::opened);
  uint64_t salt = 0;
  while (salt == 0 || salt == ring.superblock.salt) salt = ring.env.random();
  ring.superblock.salt = salt;
  struct Resetting {
    RingState& ring;
    Done<void> done;
    AlignedBuffer buffer{sector_bytes};
    static void write(std::unique_ptr<Resetting> self, int more) {
      RingState& r = self->ring;
      ++r.superblock.start;
      encode_superblock(r.superblock, self->buffer.first(sector_bytes));
      const Bytes sector = self->buffer.first(sector_bytes);
      r.file->write(r.superblock.slot() * sector_bytes, {&sector, 1}, File::Write::durable,
                    [self = std::move(self), more](Result<void> written) mutable {
                      if (!written || more == 0) return self->done(std::move(written));
                      write(std::move(self), more - 1);
                    });
    }
  };
  Resetting::write(std::unique_ptr<Resetting>(new Resetting{ring, std::move(done)}), 1);
}

LogRing::LogRing(std::unique_ptr<RingState> state) : state_(std::move(state)) {}
LogRing::~LogRing() = default;

StartNumber LogRing::start_number() const {
  return state_->superblock.start;
}
uint64_t LogRing::capacity() const {
  return state_->superblock.capacity;
}
Lsn LogRing::position() const {
  return state_->position;
}
Lsn LogRing::tail() const {
  return state_->tail;
}
uint64_t LogRing::room() const {
  return capacity() - (state_->position - state_->tail).value;
}

Epoch LogRing::last_epoch() const {
  return state_->last ? state_->last->epoch : Epoch(0);
}

Lsn LogRing::trimmed() const {
  return state_->trimmed;
}

void LogRing::trim(Lsn tail) {
  CHECK(tail >= state_->trimmed && tail <= state_->position);
  state_->trimmed = tail;
  state_->tail = state_->held ? std::max(state_->tail, std::min(tail, *state_->held)) : tail;
}

void LogRing::hold(std::optional<Lsn> lsn) {
  state_->held = lsn;
  trim(state_->trimmed);
}

uint64_t LogRing::in_flight() const {
  return (state_->position - state_->durable()).value;
}

namespace {

// A piece of write `number` is done. Batches become durable in the order of the log: what was written behind
// one that is still under way has to wait for it, and fails with it.
void piece_written(RingState& ring, uint64_t number, Result<void> written) {
  RingState::Write& write = ring.writes[number - ring.first_write];
  if (!written && !write.problem && !planted("a failed log write is ignored"))
    write.problem = std::move(written).error();
  --write.pieces;
  while (!ring.writes.empty() && ring.writes.front().pieces == 0) {
    RingState::Write ended = std::move(ring.writes.front());
    ring.writes.pop_front();
    ++ring.first_write;
    if (!ended.problem && ring.phase == RingState::Phase::poisoned)
      ended.problem = error(ErrorKind::stopped, "{}: an earlier log write failed", ring.path);
    if (ended.problem) {
      ring.phase = RingState::Phase::poisoned;
      ended.done(std::move(*ended.problem));
    } else {
      ended.done(ended.end);
    }
  }
}

}  // namespace

void LogRing::write(MutableBytes batch, uint32_t payload_bytes, Epoch epoch, Done<Lsn> done) {
  RingState& ring = *state_;
  CHECK(ring.phase == RingState::Phase::writable || ring.phase == RingState::Phase::poisoned);
  CHECK(payload_bytes != 0 && batch.size() == batch_bytes(payload_bytes) && batch.size() <= batch_bytes_max);
  CHECK(batch.size() <= room());
  CHECK(ring.writes.empty() || in_flight() + batch.size() <= in_flight_bytes_max);
  if (ring.phase == RingState::Phase::poisoned)
    return fail_later(ring.env, error(ErrorKind::stopped, "{}: an earlier log write failed", ring.path),
                      std::move(done));

  BatchHeader header{.lsn = ring.position,
                     .start = ring.superblock.start,
                     .epoch = epoch,
                     .payload_bytes = payload_bytes,
                     .predecessor_unknown = !ring.last,
                     .predecessor = ring.last ? ring.last->crc : 0,
                     .payload_crc = crc32c(batch.subspan(batch_header_bytes, payload_bytes)),
                     .durable = ring.durable()};
  header.crc = encode_batch_header(header, ring.superblock.salt, batch.first(batch_header_bytes));
  std::ranges::fill(batch.subspan(batch_header_bytes + payload_bytes), std::byte{0});

  const uint64_t offset = ring.offset_of(ring.position);
  const uint64_t to_end = area_begin + ring.superblock.capacity - offset;
  const bool wraps = batch.size() > to_end;
  const uint64_t number = ring.first_write + ring.writes.size();
  ring.writes.push_back({header.lsn, header.end(), wraps ? 2U : 1U, {}, std::move(done)});
  ring.position = header.end();
  ring.last = header;
  const auto write_piece = [&ring, number](uint64_t at, Bytes piece) {
    const auto mode = planted("the log is not synced") ? File::Write::cached : File::Write::durable;
    ring.file->write(at, {&piece, 1}, mode, [&ring, number](Result<void> written) {
      piece_written(ring, number, std::move(written));
    });
  };
  write_piece(offset, batch.first(wraps ? to_end : batch.size()));
  if (wraps) write_piece(area_begin, batch.subspan(to_end));
}

namespace {

// Reads one batch again: its first sectors, and then, if there are more, the whole. Lives in the callbacks of
// its requests.
struct BatchReading : std::enable_shared_from_this<BatchReading> {
  BatchReading(RingState& r, Lsn at, Done<LogRing::ReadBatch> d) : ring(r), lsn(at), done(std::move(d)) {}

  void read(uint64_t bytes) {
    memory.reserve(bytes, 0);
    const uint64_t offset = ring.offset_of(lsn);
    const uint64_t to_wrap = std::min(bytes, area_begin + ring.superblock.capacity - offset);
    under_way = to_wrap < bytes ? 2 : 1;
    read_piece(offset, memory.first(to_wrap), bytes);
    if (to_wrap < bytes) read_piece(area_begin, memory.first(bytes).subspan(to_wrap), bytes);
  }

  void read_piece(uint64_t offset, MutableBytes into, uint64_t bytes) {
    ring.file->read(offset, {&into, 1}, [self = shared_from_this(), bytes](Result<void> result) {
      if (!result) self->problem = std::move(result).error();
      if (--self->under_way == 0) self->ended(bytes);
    });
  }

  void ended(uint64_t bytes) {
    if (problem) return done(std::move(*problem));
    const auto header = decode_batch_header(memory.first(batch_header_bytes), ring.superblock.salt);
    const bool there = header && header->lsn == lsn && header->end() <= ring.durable();
    if (there && batch_bytes(header->payload_bytes) > bytes) return read(batch_bytes(header->payload_bytes));
    const Bytes payload =
        there ? memory.first(bytes).subspan(batch_header_bytes, header->payload_bytes) : Bytes();
    if (!there || !payload_matches(*header, payload))
      return done(error(ErrorKind::not_found, "{}: the log batch at LSN {} is gone", ring.path, lsn));
    done(LogRing::ReadBatch{{header->lsn, header->end(), header->epoch}, payload});
  }

  RingState& ring;
  const Lsn lsn;
  Done<LogRing::ReadBatch> done;
  AlignedBuffer memory;
  size_t under_way = 0;
  std::optional<Error> problem;
};

constexpr uint64_t batch_reading_bytes = 64U << 10U;

}  // namespace

void LogRing::read_batch(Lsn lsn, Done<ReadBatch> done) {
  CHECK(lsn.value % sector_bytes == 0 && lsn < state_->durable());
  const uint64_t bytes = std::min({batch_reading_bytes, capacity(), (state_->durable() - lsn).value});
  std::make_shared<BatchReading>(*state_, lsn, std::move(done))->read(bytes);
}

}  // namespace perdure::log
