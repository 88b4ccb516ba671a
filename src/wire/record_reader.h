// RecordReader: turns the byte stream of a connection into records (RFC 5531 §11). It owns the memory that is
// received into; a record is a view into it.
//
// room() -> the caller receives into it -> received(n) -> next() until it says `more`.
//
// Promises: a record of one fragment is where it was received. Bytes are moved only to close the gaps that
// the marks of further fragments leave (each byte once), and when a record does not fit behind the others in
// its chunk: to the front of another, at most once as long as the chunk is small and once into a large one.
// room() asks the caller to receive no further than to the end of a big record if the next one of that size
// would not fit behind it: so a stream of big records is not moved at all. Of a big record in which find_data
// finds file data, the beginning is received alone, and moved once to where the data then lie on the bounds
// of pages, in a chunk of pages. Memory held: none if no record is partial and no request points into the
// chunk (after trim()), otherwise one chunk, of 64 KiB or, once a record or the last one is bigger than that
// suits, of record_bytes_max + 128 KiB.
//
// A record longer than record_bytes_max, of more than fragments_max fragments, or empty, is `broken`; the
// reader says so from then on.
#pragma once

#include <optional>

#include "wire/chunk.h"

namespace perdure::wire {

// Where in a message file data begin, and on which byte of a page they shall lie.
struct DataPlace {
  size_t offset = 0;
  size_t in_page = 0;
};
// Looks at the beginning of a message, which is hostile.
using FindData = std::optional<DataPlace> (*)(Bytes beginning);

struct RecordLimits {
  size_t record_bytes_max = (1U << 20) + (64U << 10);
  uint32_t fragments_max = 1024;
  FindData find_data = nullptr;  // null: no record has any
};

struct Record {
  Bytes message;
  ChunkRef chunk;  // holds `message`
};

class RecordReader {
 public:
  enum class Next : uint8_t { record, more, broken };

  explicit RecordReader(const RecordLimits& limits, ReceiveMeter* meter = nullptr)
      : limits_(limits), meter_(meter) {}

  // Where to receive to: at least one byte.
  MutableBytes room();
  void received(size_t n);
  Next next(Record& record);

  // Part of a record is here, the rest is not.
  bool partial() const { return in_record_ || parsed_ != end_; }
  // Gives the chunk back if it holds nothing that this reader needs.
  void trim();

 private:
  static constexpr size_t mark_bytes = 4;
  static constexpr size_t small_chunk_bytes = 64 << 10;
  static constexpr size_t large_chunk_slack = 128 << 10;
  // With less room than this the next chunk is taken.
  static constexpr size_t room_bytes_min = 4 << 10;
  // Records of more than this use large chunks, and are not received beyond their end into a chunk's last
  // part.
  static constexpr size_t big_record_bytes = 8 << 10;
  // Of a record that is expected to hold file data so much is received before the rest: enough for find_data.
  static constexpr size_t beginning_bytes = 1 << 10;
  // With less than this left to be received it is not worth while to move a record.
  static constexpr size_t data_bytes_min = PageRun::pages_min * block_bytes;

  bool take_mark();
  void take_fragment();
  void move_to_new_chunk(size_t held);
  void place_data();
  void move_to(ChunkRef chunk, size_t at, size_t held);
  size_t record_bytes() const { return record_end_ - record_; }
  bool expect_big() const { return last_record_bytes_ > big_record_bytes && !expect_data_; }

  RecordLimits limits_;
  ReceiveMeter* meter_;
  ChunkRef chunk_;
  // Places in chunk_: record_ <= record_end_ <= parsed_ <= end_ (the first two only while in_record_).
  size_t record_ = 0;      // the current record's joined bytes begin
  size_t record_end_ = 0;  // and end here
  size_t parsed_ = 0;      // of what was received
  size_t end_ = 0;         // of what was received
  size_t fragment_left_ = 0;
  size_t last_record_bytes_ = 0;  // a hint: the next one may be as big
  uint32_t fragments_ = 0;
  bool in_record_ = false;  // its first mark was read, its last byte was not
  bool last_fragment_ = false;
  bool looked_for_data_ = false;  // in the current record
  bool expect_data_ = false;      // a hint: the last record had file data
  bool broken_ = false;
};

}  // namespace perdure::wire
