// LogRing::read(): two passes over the ring, each a stream of large chunks.
//   1. Replay: batch by batch from `from`, until there is none that continues the log. There, at P, it ends:
//      if it does so when P is read again, as a disk may give wrong bytes once.
//   2. If what lies at P is not a batch of a dead tail, it is a batch that never became durable, or a durable
//      one that is damaged. The header of a later batch says what was durable when that was begun. So look
//      for one that says it of P, wherever it could be.
// Then what is not known to be on stable storage is written once more, since it counts as durable from now
// on.
#include <deque>

#include "base/mark.h"
#include "base/planted_bug.h"
#include "log/ring_state.h"
#include "log/write_again.h"

namespace perdure::log {

namespace {

constexpr uint64_t chunk_bytes = 1U << 20U;
constexpr size_t chunks_ahead = 4;

// Reads the ring from one LSN to another, in chunks that are multiples of sector_bytes, several of them in
// flight. Lives in the callbacks of its requests.
class ChunkStream : public std::enable_shared_from_this<ChunkStream> {
 public:
  // Given the chunks in order, says whether it wants more.
  using Consumer = std::move_only_function<bool(Lsn, Bytes)>;

  ChunkStream(RingState& ring, Lsn begin, Lsn end, Consumer consumer, env::Done<void> done)
      : ring_(ring), next_(begin), end_(end), consumer_(std::move(consumer)), done_(std::move(done)) {
    CHECK(begin < end);
  }

  void start() {
    while (next_ < end_ && chunks_.size() < chunks_ahead) request(std::make_unique<Chunk>());
  }

 private:
  struct Chunk {
    Lsn begin;
    uint64_t bytes = 0;
    AlignedBuffer memory;
    std::optional<Result<void>> read;  // none: under way
  };

  void request(std::unique_ptr<Chunk> chunk) {
    const uint64_t offset = ring_.offset_of(next_);
    const uint64_t to_wrap = area_begin + ring_.superblock.capacity - offset;
    chunk->begin = next_;
    chunk->bytes = std::min({chunk_bytes, (end_ - next_).value, to_wrap});
    chunk->memory.reserve(chunk->bytes, 0);
    chunk->read.reset();
    next_ += Lsn(chunk->bytes);
    ++in_flight_;
    const MutableBytes into = chunk->memory.first(chunk->bytes);
    chunks_.push_back(std::move(chunk));
    ring_.file->read(offset, {&into, 1},
                     [self = shared_from_this(), c = chunks_.back().get()](Result<void> read) {
                       --self->in_flight_;
                       c->read = std::move(read);
                       self->consume();
                     });
  }

  void consume() {
    while (!stopped_ && !chunks_.empty() && chunks_.front()->read) {
      Chunk& chunk = *chunks_.front();
      if (!*chunk.read) {
        result_ = std::move(*chunk.read);
        stopped_ = true;
      } else if (!consumer_(chunk.begin, chunk.memory.first(chunk.bytes))) {
        stopped_ = true;
      } else {
        std::unique_ptr<Chunk> used = std::move(chunks_.front());
        chunks_.pop_front();
        if (next_ < end_) request(std::move(used));
      }
    }
    if ((stopped_ || chunks_.empty()) && in_flight_ == 0) done_(std::move(result_));
  }

  RingState& ring_;
  Lsn next_, end_;
  Consumer consumer_;
  env::Done<void> done_;
  std::deque<std::unique_ptr<Chunk>> chunks_;
  size_t in_flight_ = 0;
  bool stopped_ = false;
  Result<void> result_;
};

// The first pass: takes chunks, gives records.
class Replay {
 public:
  Replay(RingState& ring, Lsn from, Lsn applied, StartNumber since, LogRing::EachRecord each,
         LogRing::Wanted wanted)
      : ring_(ring),
        from_(from),
        applied_(applied),
        since_(since),
        each_(std::move(each)),
        wanted_(std::move(wanted)),
        at_(from) {}

  // The consumer of the stream.
  bool take(Lsn begin, Bytes chunk) {
    CHECK(begin == at_ + Lsn(assembled_));
    while (!chunk.empty()) {
      if (!header_ && !begin_batch(chunk)) return false;
      const uint64_t bytes = (header_->end() - header_->lsn).value;
      if (assembled_ == 0 && bytes <= chunk.size()) {
        if (!take_batch(chunk.first(bytes))) return false;
        chunk = chunk.subspan(bytes);
        continue;
      }
      PERDURE_MARK("a batch lies in two chunks of the reader");
      // It goes on in the next chunk.
      assembly_.reserve(bytes, assembled_);
      const uint64_t n = std::min<uint64_t>(bytes - assembled_, chunk.size());
      std::memcpy(assembly_.data() + assembled_, chunk.data(), n);
      assembled_ += n;
      chunk = chunk.subspan(n);
      if (assembled_ < bytes) break;
      assembled_ = 0;
      if (!take_batch(assembly_.first(bytes))) return false;
    }
    return true;
  }

  // What follows end() is given once more.
  void read_again() {
    header_.reset();
    assembled_ = 0;
    dead_tail_ = false;
  }

  Lsn end() const { return at_; }
  bool dead_tail() const { return dead_tail_; }
  bool unwanted() const { return unwanted_; }
  const std::optional<BatchHeader>& last() const { return last_; }
  Result<void>& result() { return result_; }

 private:
  bool begin_batch(Bytes chunk) {
    header_ = decode_batch_header(chunk.first(batch_header_bytes), ring_.superblock.salt);
    if (!header_ || header_->lsn != at_ || header_->end() - from_ > Lsn(ring_.superblock.capacity))
      return false;
    if (header_->start >= ring_.superblock.start) {
      result_ = error(ErrorKind::corrupt, "{}: log batch at LSN {} is of start {}, which has not been yet",
                      ring_.path, at_, header_->start);
      return false;
    }
    dead_tail_ = last_ ? !continues(*last_, *header_) : header_->start < since_;
    unwanted_ = !dead_tail_ && wanted_ && !wanted_({header_->lsn, header_->end(), header_->epoch});
    return !dead_tail_ && !unwanted_;
  }

  bool take_batch(Bytes batch) {
    const Bytes payload = batch.subspan(batch_header_bytes, header_->payload_bytes);
    if (!payload_matches(*header_, payload)) {
      PERDURE_MARK("the log ends at a torn batch");
      return false;
    }
    result_ = for_each_record(*header_, payload, applied_, each_);
    if (!result_) return false;
    at_ = header_->end();
    last_ = std::exchange(header_, {});
    return true;
  }

  RingState& ring_;
  const Lsn from_, applied_;
  const StartNumber since_;
  LogRing::EachRecord each_;
  LogRing::Wanted wanted_;
  Lsn at_;                             // every batch before it was good
  std::optional<BatchHeader> header_;  // of the batch at at_
  std::optional<BatchHeader> last_;
  AlignedBuffer assembly_;  // a batch that lies in more than one chunk, so far
  uint64_t assembled_ = 0;
  bool dead_tail_ = false, unwanted_ = false;
  Result<void> result_;
};

// Both passes, and what follows from them for the ring. Lives in the callbacks of the streams.
class Reader : public std::enable_shared_from_this<Reader> {
 public:
  Reader(RingState& ring, Lsn from, Lsn applied, StartNumber since, LogRing::EachRecord each,
         env::Done<Lsn> done, LogRing::Wanted wanted)
      : ring_(ring),
        from_(from),
        applied_(applied),
        since_(since),
        replay_(ring, from, applied, since, std::move(each), std::move(wanted)),
        done_(std::move(done)) {}

  void start() { replay(); }

 private:
  void stream(Lsn begin, Lsn end, ChunkStream::Consumer consumer, env::Done<void> done) {
    std::make_shared<ChunkStream>(ring_, begin, end, std::move(consumer), std::move(done))->start();
  }

  void replay() {
    const Lsn begin = replay_.end();
    stream(
        begin, from_ + Lsn(ring_.superblock.capacity),
        [this](Lsn at, Bytes chunk) { return replay_.take(at, chunk); },
        [self = shared_from_this(), begin](Result<void> read) { self->replayed(begin, std::move(read)); });
  }

  void replayed(Lsn read_from, Result<void> read) {
    if (!read) return done_(std::move(read).error());
    if (!replay_.result()) return done_(std::move(replay_.result()).error());
    if (replay_.unwanted()) return secure();
    const Lsn end = replay_.end();
    const bool went_on = read_from != end;
    if (went_on && ended_once_) PERDURE_MARK("the log goes on where it seemed to end");
    const bool ended_there_before = std::exchange(ended_once_, true) && !went_on;
    if (!ended_there_before && end < from_ + Lsn(ring_.superblock.capacity)) {
      replay_.read_again();
      return replay();
    }
    if (replay_.dead_tail()) PERDURE_MARK("the log ends at a dead tail");
    const uint64_t bytes = std::min(in_flight_bytes_max + sector_bytes, ring_.superblock.capacity);
    stream(
        end, end + Lsn(bytes), [this](Lsn begin, Bytes chunk) { return search(begin, chunk); },
        [self = shared_from_this()](Result<void> searched) {
          if (!searched) return self->done_(std::move(searched).error());
          self->secure();
        });
  }

  // The second pass: a batch that was written after the one that is missing. What lies in that one's place
  // may be a dead tail: then its write was lost.
  bool search(Lsn begin, Bytes chunk) {
    const Lsn end = replay_.end();
    const StartNumber alive = replay_.last() ? std::max(since_, replay_.last()->start) : since_;
    for (size_t i = 0; i < chunk.size() && !later_; i += sector_bytes) {
      const auto header = decode_batch_header(chunk.subspan(i, batch_header_bytes), ring_.superblock.salt);
      if (header && header->lsn > end && header->durable <= end)
        PERDURE_MARK("a later batch lies behind one that was not written");
      if (!header || header->durable <= end) continue;
      if (ring_.offset_of(header->lsn) != ring_.offset_of(begin + Lsn(i))) continue;
      if (header->start < alive) continue;
      if (!planted("a damaged batch ends the log")) later_ = header->lsn;
    }
    return !later_;
  }

  // What is read here counts as durable from now on, so it has to be.
  void secure() {
    const Lsn end = replay_.end();
    if (later_)
      return done_(error(ErrorKind::corrupt,
                         "{}: log batch at LSN {} is damaged; there is a later one at LSN {}", ring_.path,
                         end, *later_));
    if (end + Lsn(batch_header_bytes) < applied_)
      return done_(error(ErrorKind::corrupt,
                         "{}: log batch at LSN {} is damaged; the log was durable up to LSN {}", ring_.path,
                         end, applied_));
    const Lsn begin = replay_.last() ? std::max(from_, replay_.last()->durable) : end;
    if (begin == end || planted("what a start has read is not made durable")) return finish();
    write_again(ring_, begin, end, [self = shared_from_this()](Result<void> written) {
      if (!written) return self->done_(std::move(written).error());
      self->finish();
    });
  }

  void finish() {
    ring_.position = replay_.end();
    ring_.tail = ring_.trimmed = from_;
    ring_.last = replay_.last();
    ring_.phase = RingState::Phase::writable;
    done_(ring_.position);
  }

  RingState& ring_;
  const Lsn from_, applied_;
  const StartNumber since_;
  Replay replay_;
  env::Done<Lsn> done_;
  std::optional<Lsn> later_;
  bool ended_once_ = false;  // at replay_.end() or before
};

}  // namespace

void LogRing::read(Lsn from, Lsn applied, StartNumber since, EachRecord each, env::Done<Lsn> done,
                   Wanted wanted) {
  CHECK(state_->phase == RingState::Phase::opened);
  state_->phase = RingState::Phase::reading;
  std::optional<Error> problem;
  // Far from the end of the numbers, which no log will reach.
  if (from.value % sector_bytes != 0 || from.value > UINT64_MAX / 2)
    problem = error(ErrorKind::corrupt, "{}: no log batch begins at LSN {}", state_->path, from);
  // Everything that is written from now on would be a dead tail to the next reader.
  if (since >= state_->superblock.start)
    problem = error(ErrorKind::corrupt,
                    "{}: the checkpoint was made by start {}, and this log was started only {} times: it is "
                    "an old copy, or another one",
                    state_->path, since, state_->superblock.start);
  if (problem) {
    state_->env.post([done = std::move(done), problem = std::move(*problem)]() mutable { done(problem); });
    return;
  }
  std::make_shared<Reader>(*state_, from, applied, since, std::move(each), std::move(done), std::move(wanted))
      ->start();
}

}  // namespace perdure::log
