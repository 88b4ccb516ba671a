#include "wire/record_reader.h"

#include <algorithm>

#include "wire/xdr_decoder.h"

namespace perdure::wire {

MutableBytes RecordReader::room() {
  const size_t held = partial() ? end_ - (in_record_ ? record_ : parsed_) : 0;
  if (!chunk_) {
    chunk_ =
        make_chunk(expect_big() ? limits_.record_bytes_max + large_chunk_slack : small_chunk_bytes, meter_);
  } else if (held == 0 && chunk_.unique()) {
    record_ = record_end_ = parsed_ = end_ = 0;
  }
  size_t needed = room_bytes_min;
  if (fragment_left_ > 0) {
    needed = fragment_left_;
  } else if (!in_record_ && expect_big()) {
    needed += last_record_bytes_;
  }
  if (chunk_.capacity() - end_ < needed) move_to_new_chunk(held);

  size_t room = chunk_.capacity() - end_;
  const size_t beyond = room - std::min(room, fragment_left_);
  const size_t record = record_bytes() + fragment_left_;
  if (fragment_left_ > big_record_bytes && beyond < record + room_bytes_min)
    room = std::min(room, fragment_left_ + (last_fragment_ ? 0 : mark_bytes));
  if (chunk_.pages() != nullptr) room = std::min(room, fragment_left_);  // it is for this record only
  if (expect_data_ && !in_record_) room = std::min(room, beginning_bytes);
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
    if (fragment_left_ > 0) {
      if (limits_.find_data != nullptr && !looked_for_data_) place_data();
      break;
    }
    if (!last_fragment_) continue;
    if (!looked_for_data_) expect_data_ = false;
    record = {{chunk_.data() + record_, record_bytes()}, chunk_};
    last_record_bytes_ = record_bytes();
    in_record_ = false;
    fragments_ = 0;
    record_ = record_end_ = parsed_;
    if (chunk_.pages() != nullptr) {  // its pages may be kept by others: nothing more is received into it
      CHECK(parsed_ == end_);
      chunk_ = ChunkRef();
      record_ = record_end_ = parsed_ = end_ = 0;
    }
    return Next::record;
  }
  return broken_ ? Next::broken : Next::more;
}

bool RecordReader::take_mark() {
  const uint32_t mark = load_u32(chunk_.data() + parsed_);
  parsed_ += mark_bytes;
  if (!in_record_) {
    record_ = record_end_ = parsed_;
    looked_for_data_ = false;
  }
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
  const bool fits_small = !expect_big() && held + fragment_left_ + room_bytes_min <= small_chunk_bytes / 2;
  const size_t capacity = fits_small ? small_chunk_bytes : limits_.record_bytes_max + large_chunk_slack;
  // In place, if nobody points into this chunk and it is big enough.
  const bool in_place = chunk_.unique() && chunk_.capacity() >= capacity;
  move_to(in_place ? chunk_ : make_chunk(capacity, meter_), 0, held);
  CHECK(chunk_.capacity() - end_ >= std::max(fragment_left_, room_bytes_min));
}

// The `held` bytes in front of end_ go to place `at` of `next`, which may be the same chunk.
void RecordReader::move_to(ChunkRef next, size_t at, size_t held) {
  const size_t from = end_ - held;
  if (held > 0) std::memmove(next.data() + at, chunk_.data() + from, held);
  chunk_ = std::move(next);
  if (in_record_) {
    record_ = record_ - from + at;
    record_end_ = record_end_ - from + at;
  } else {
    record_ = record_end_ = at;
  }
  parsed_ = parsed_ - from + at;
  end_ = at + held;
}

// Of the current record the beginning is here, and much of it is not.
void RecordReader::place_data() {
  const size_t held = record_bytes();
  if (!last_fragment_ || fragments_ != 1 || fragment_left_ < data_bytes_min) return;
  const std::optional<DataPlace> place = limits_.find_data({chunk_.data() + record_, held});
  looked_for_data_ = place || held >= beginning_bytes - mark_bytes;
  if (looked_for_data_) expect_data_ = place.has_value();
  if (!place) return;
  CHECK(parsed_ == end_ && place->in_page < block_bytes);
  const size_t at = (place->in_page + block_bytes - place->offset % block_bytes) % block_bytes;
  if (ChunkRef next = make_paged_chunk(at + held + fragment_left_, meter_))
    move_to(std::move(next), at, held);
}

void RecordReader::trim() {
  if (partial()) return;
  chunk_ = ChunkRef();
  record_ = record_end_ = parsed_ = end_ = 0;
}

}  // namespace perdure::wire
