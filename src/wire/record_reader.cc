#include "wire/record_reader.h"

#include <algorithm>

#include "wire/xdr_decoder.h"

namespace perdure::wire {

MutableBytes RecordReader::room() {
  const size_t held = partial() ? end_ - (in_record_ ? record_ : parsed_) : 0;
  if (!chunk_) {
    chunk_ =
        make_chunk(last_was_big() ? limits_.record_bytes_max + large_chunk_slack : small_chunk_bytes, meter_);
  } else if (held == 0 && chunk_.unique()) {
    record_ = record_end_ = parsed_ = end_ = 0;
  }
  size_t needed = room_bytes_min;
  if (fragment_left_ > 0) {
    needed = fragment_left_;
  } else if (!in_record_ && last_was_big()) {
    needed += last_record_bytes_;
  }
  if (chunk_.capacity() - end_ < needed) move_to_new_chunk(held);

  size_t room = chunk_.capacity() - end_;
  const size_t beyond = room - std::min(room, fragment_left_);
  const size_t record = record_bytes() + fragment_left_;
  if (fragment_left_ > big_record_bytes && beyond < record + room_bytes_min)
    room = std::min(room, fragment_left_ + (last_fragment_ ? 0 : mark_bytes));
  CHECK(room > 0);
  return {chunk_.data() + end_, room};
}

void RecordReader::received(size_t n) {
  CHECK(n <= chunk_.capacity() - end_);
  end_ += n;
}

RecordReader::Next RecordReader::next(Record& record) {
  while (!broken_) {
    if (!in_record_ || (fragment_left_ == 0 && !last_fragment_)) {
      if (end_ - parsed_ < mark_bytes) break;
      broken_ = !take_mark();
      continue;
    }
    take_fragment();
    if (fragment_left_ > 0) break;
    if (!last_fragment_) continue;
    record = {{chunk_.data() + record_, record_bytes()}, chunk_};
    last_record_bytes_ = record_bytes();
    in_record_ = false;
    fragments_ = 0;
    record_ = record_end_ = parsed_;
    return Next::record;
  }
  return broken_ ? Next::broken : Next::more;
}

bool RecordReader::take_mark() {
  const uint32_t mark = load_u32(chunk_.data() + parsed_);
  parsed_ += mark_bytes;
  if (!in_record_) record_ = record_end_ = parsed_;
  in_record_ = true;
  last_fragment_ = (mark >> 31) != 0;
  fragment_left_ = mark & ~(1U << 31);
  ++fragments_;
  const bool fits = fragment_left_ <= limits_.record_bytes_max - record_bytes();
  const bool empty = last_fragment_ && record_bytes() + fragment_left_ == 0;
  return fits && !empty && fragments_ <= limits_.fragments_max;
}

void RecordReader::take_fragment() {
  const size_t n = std::min(end_ - parsed_, fragment_left_);
  if (record_end_ != parsed_) std::memmove(chunk_.data() + record_end_, chunk_.data() + parsed_, n);
  record_end_ += n;
  parsed_ += n;
  fragment_left_ -= n;
  // What comes next belongs behind the joined bytes, so it is received there.
  if (parsed_ == end_ && (fragment_left_ > 0 || !last_fragment_)) parsed_ = end_ = record_end_;
}

// The `held` bytes in front of end_ go to the front of a chunk in which the record, as far as its length is
// known, fits.
void RecordReader::move_to_new_chunk(size_t held) {
  const bool fits_small = !last_was_big() && held + fragment_left_ + room_bytes_min <= small_chunk_bytes / 2;
  const size_t capacity = fits_small ? small_chunk_bytes : limits_.record_bytes_max + large_chunk_slack;
  const std::byte* from = chunk_.data() + end_ - held;
  // In place, if nobody points into this chunk and it is big enough.
  ChunkRef next = chunk_.unique() && chunk_.capacity() >= capacity ? chunk_ : make_chunk(capacity, meter_);
  if (held > 0) std::memmove(next.data(), from, held);
  const size_t shift = end_ - held;
  chunk_ = std::move(next);
  if (in_record_) {
    record_ -= shift;
    record_end_ -= shift;
  } else {
    record_ = record_end_ = 0;
  }
  parsed_ -= shift;
  end_ = held;
  CHECK(chunk_.capacity() - end_ >= std::max(fragment_left_, room_bytes_min));
}

void RecordReader::trim() {
  if (partial()) return;
  chunk_ = ChunkRef();
  record_ = record_end_ = parsed_ = end_ = 0;
}

}  // namespace perdure::wire
