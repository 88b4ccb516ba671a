#include "log/write_again.h"

#include <vector>

namespace perdure::log {

namespace {

// Lives in the callbacks of its requests.
struct Rewriting : std::enable_shared_from_this<Rewriting> {
  Rewriting(RingState& r, Lsn first, Lsn last, env::Done<void> d)
      : ring(r), begin(first), end(last), memory((last - first).value), done(std::move(d)) {
    const uint64_t bytes = (end - begin).value;
    const uint64_t offset = ring.offset_of(begin);
    const uint64_t to_wrap = std::min(bytes, area_begin + ring.superblock.capacity - offset);
    pieces.push_back({offset, memory.first(to_wrap)});
    if (to_wrap < bytes) pieces.push_back({area_begin, memory.first(bytes).subspan(to_wrap)});
  }

  void read() {
    for (const Piece& piece : pieces)
      ring.file->read(piece.offset, {&piece.bytes, 1}, [self = shared_from_this()](Result<void> result) {
        if (self->all_ended(std::move(result), &Rewriting::check)) self->write();
      });
  }

  void write() {
    for (const Piece& piece : pieces) {
      const Bytes bytes = piece.bytes;
      ring.file->write(piece.offset, {&bytes, 1}, env::File::Write::durable,
                       [self = shared_from_this()](Result<void> result) {
                         if (self->all_ended(std::move(result), nullptr)) self->done({});
                       });
    }
  }

  // A request has ended. True: it was the last one, all went well, and what they have got is right.
  bool all_ended(Result<void> result, Result<void> (Rewriting::*judge)()) {
    if (!result && !problem) problem = std::move(result).error();
    if (++ended < pieces.size()) return false;
    ended = 0;
    if (!problem && judge != nullptr) {
      if (Result<void> right = (this->*judge)(); !right) problem = std::move(right).error();
    }
    if (problem) done(std::move(*problem));
    return !problem;
  }

  Result<void> check() {
    for (Lsn at = begin; at < end;) {
      const MutableBytes rest = memory.first((end - begin).value).subspan((at - begin).value);
      const auto header = decode_batch_header(rest.first(batch_header_bytes), ring.superblock.salt);
      if (!header || header->lsn != at || header->end() > end ||
          !payload_matches(*header, rest.subspan(batch_header_bytes, header->payload_bytes)))
        return error(ErrorKind::corrupt, "{}: log batch at LSN {} is not what it was a moment ago", ring.path,
                     at);
      at = header->end();
    }
    return {};
  }

  struct Piece {
    uint64_t offset;
    MutableBytes bytes;
  };
  RingState& ring;
  const Lsn begin, end;
  AlignedBuffer memory;
  std::vector<Piece> pieces;  // two where it wraps
  size_t ended = 0;
  std::optional<Error> problem;
  env::Done<void> done;
};

}  // namespace

void write_again(RingState& ring, Lsn begin, Lsn end, env::Done<void> done) {
  CHECK(begin < end);
  std::make_shared<Rewriting>(ring, begin, end, std::move(done))->read();
}

}  // namespace perdure::log
