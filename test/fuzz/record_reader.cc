// The record reader: whatever a stream is made of, and in whatever pieces it comes, the records are those
// that a plain reading of RFC 5531 §11 finds in the whole of it.
//
// The input says what the stream is (it is made of patterns, so that large records cost little input), and
// in what pieces it is received.
#include "wire/record_reader.h"

#include "fuzz/fuzz.h"

namespace perdure::fuzz {

namespace {

constexpr size_t stream_bytes_max = 3U << 20U;

void put_mark(ByteVector& stream, uint32_t mark) {
  for (int shift = 24; shift >= 0; shift -= 8) stream.push_back(static_cast<std::byte>(mark >> shift));
}

ByteVector make_stream(Input& input) {
  ByteVector stream;
  for (size_t n = input.u8(); n > 0 && stream.size() < stream_bytes_max; --n) {
    const uint8_t kind = input.u8();
    uint32_t bytes = 0;
    if ((kind & 6U) == 0) bytes = input.u8();
    if ((kind & 6U) == 2) bytes = input.u16();
    if ((kind & 6U) == 4) bytes = input.u32() % (2U << 20U);
    if ((kind & 6U) == 6) {  // whatever it says, it is not followed by that
      put_mark(stream, input.u32());
      continue;
    }
    put_mark(stream, bytes | ((kind & 1U) != 0 ? 0x80000000U : 0));
    const auto seed = static_cast<uint8_t>(stream.size() * 31);
    for (uint32_t i = 0; i < bytes; ++i) stream.push_back(static_cast<std::byte>(seed + i * 7 + (i >> 8U)));
  }
  return stream;
}

struct Read {
  std::vector<ByteVector> records;
  bool broken = false;
};

Read read_plainly(Bytes stream, const wire::RecordLimits& limits) {
  Read read;
  ByteVector record;
  uint32_t fragments = 0;
  while (stream.size() >= 4) {
    uint32_t mark = 0;
    for (size_t i = 0; i < 4; ++i) mark = mark << 8U | static_cast<uint32_t>(stream[i]);
    const size_t bytes = mark & 0x7fffffffU;
    const bool last = mark >> 31U != 0;
    read.broken = ++fragments > limits.fragments_max || record.size() + bytes > limits.record_bytes_max ||
                  (last && record.size() + bytes == 0);
    stream = stream.subspan(4);
    if (read.broken || bytes > stream.size()) break;
    record.insert(record.end(), stream.begin(), stream.begin() + static_cast<ptrdiff_t>(bytes));
    stream = stream.subspan(bytes);
    if (!last) continue;
    read.records.push_back(std::move(record));
    record.clear();
    fragments = 0;
  }
  return read;
}

// As if every other record had file data, and some in no possible place.
std::optional<wire::DataPlace> find_data(Bytes beginning) {
  if (beginning.size() < 3 || beginning.size() < 4U * static_cast<size_t>(beginning[0])) return {};
  if ((beginning[1] & std::byte{1}) != std::byte{0}) return {};
  const size_t beyond = beginning[0] > std::byte{250} ? 5000 : 0;
  return wire::DataPlace{beginning.size() / 2 + beyond, static_cast<size_t>(beginning[2]) * 16};
}

Read read_in_pieces(Bytes stream, const wire::RecordLimits& limits, Input& input) {
  Read read;
  wire::RecordReader reader(limits);
  // Some of the requests wait for a disk, and keep their memory.
  std::vector<std::pair<wire::Record, size_t>> kept;
  while (!stream.empty() && !read.broken) {
    const uint8_t piece = input.u8();
    const MutableBytes room = reader.room();
    CHECK(!room.empty());
    const size_t n = std::min({piece == 0    ? SIZE_MAX
                               : piece < 128 ? piece
                                             : size_t{piece} << 9U,
                               room.size(), stream.size()});
    std::ranges::copy(stream.first(n), room.begin());
    stream = stream.subspan(n);
    reader.received(n);
    for (;;) {
      wire::Record record;
      const wire::RecordReader::Next next = reader.next(record);
      if (next == wire::RecordReader::Next::more) break;
      read.broken = next == wire::RecordReader::Next::broken;
      if (read.broken) break;
      read.records.emplace_back(record.message.begin(), record.message.end());
      if ((piece & 1U) != 0) kept.emplace_back(std::move(record), read.records.size() - 1);
    }
    if ((piece & 2U) != 0) reader.trim();
  }
  for (const auto& [record, number] : kept) CHECK(std::ranges::equal(record.message, read.records[number]));
  return read;
}

}  // namespace

void fuzz(Bytes bytes) {
  Input input(bytes);
  wire::RecordLimits limits;
  const uint8_t kind = input.u8();
  if ((kind & 1U) == 0) limits = {.record_bytes_max = 1U + input.u16(), .fragments_max = 1U + input.u8()};
  if ((kind & 2U) != 0) limits.find_data = find_data;
  const ByteVector stream = make_stream(input);
  const Read expected = read_plainly(stream, limits);
  const Read found = read_in_pieces(stream, limits, input);
  CHECK(found.records == expected.records);
  CHECK(found.broken == expected.broken);
}

}  // namespace perdure::fuzz
