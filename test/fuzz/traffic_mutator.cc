// How libFuzzer changes traffic: it keeps events whole, and changes, repeats, removes and exchanges them. XDR
// consists of words of four bytes, so what is inside of an event is mostly changed word by word.
#include <random>

#include "fuzz/fuzz.h"
#include "fuzz/traffic.h"

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t size_max);

namespace perdure::fuzz {

namespace {

using Random = std::minstd_rand;

std::vector<Event> events_of(const uint8_t* data, size_t size) {
  Bytes rest = std::as_bytes(std::span(data, size));
  std::vector<Event> events;
  while (std::optional<Event> event = take_event(rest)) events.push_back(std::move(*event));
  return events;
}

size_t put_events(const std::vector<Event>& events, uint8_t* data, size_t size_max) {
  ByteVector bytes;
  for (const Event& event : events) {
    const size_t before = bytes.size();
    put_event(bytes, event);
    if (bytes.size() <= size_max) continue;
    bytes.resize(before);
    break;
  }
  if (!bytes.empty()) std::memcpy(data, bytes.data(), bytes.size());
  return bytes.size();
}

uint32_t interesting_word(Random& random) {
  static constexpr uint32_t words[] = {0,  1,   2,    3,          4,          8,         16,
                                       24, 255, 4096, 0x7fffffff, 0x80000000, 0xffffffff};
  if (random() % 3 == 0) return static_cast<uint32_t>(3 + random() % 74);  // the number of an operation
  if (random() % 3 == 0) return static_cast<uint32_t>(random() % 64);
  return words[random() % std::size(words)];
}

// SEQUENCE and its arguments are mostly left alone.
void mutate_bytes(ByteVector& bytes, Random& random) {
  const size_t begin = begins_with_sequence(bytes) && random() % 16 != 0 ? sequence_end : 0;
  const size_t words = (bytes.size() - begin) / 4;
  const auto word = [&](size_t n) { return bytes.begin() + static_cast<ptrdiff_t>(begin + n * 4); };
  const size_t at = words == 0 ? 0 : random() % words;
  switch (random() % 6) {
    case 0:
    case 1:
      if (words > 0) {
        const uint32_t value = std::byteswap(interesting_word(random));
        std::memcpy(&*word(at), &value, sizeof value);
      }
      return;
    case 2:  // some words once more, elsewhere
      if (words > 0) {
        const size_t n = 1 + random() % std::min<size_t>(words - at, 16);
        const ByteVector copy(word(at), word(at + n));
        bytes.insert(word(random() % (words + 1)), copy.begin(), copy.end());
      }
      break;
    case 3:
      if (words > 0) bytes.erase(word(at), word(at + 1 + random() % std::min<size_t>(words - at, 4)));
      break;
    case 4:  // another number of operations
      if (bytes.size() >= 12)
        bytes[11] = static_cast<std::byte>(static_cast<uint8_t>(bytes[11]) + random() % 5 - 1);
      return;
    default: {
      const size_t tail = bytes.size() - begin;
      bytes.resize(bytes.size() + 64);
      const size_t n = LLVMFuzzerMutate(reinterpret_cast<uint8_t*>(bytes.data() + begin), tail, tail + 64);
      bytes.resize(begin + n);
    }
  }
  if (bytes.size() > UINT16_MAX) bytes.resize(UINT16_MAX);
}

void mutate(std::vector<Event>& events, Random& random) {
  if (events.empty()) events.push_back({.kind = EventKind::compound, .bytes = ByteVector(16)});
  const size_t at = random() % events.size();
  const auto here = events.begin() + static_cast<ptrdiff_t>(at);
  switch (random() % 16) {
    case 0:
      return (void)events.insert(events.begin() + static_cast<ptrdiff_t>(random() % (events.size() + 1)),
                                 Event(*here));
    case 1:
      return (void)events.erase(here);
    case 2:
      return std::swap(*here, events[random() % events.size()]);
    case 3:
      here->awaited = !here->awaited;
      return;
    case 4: {
      const EventKind kind = static_cast<EventKind>(3 + random() % 3);
      return (void)events.insert(here,
                                 Event{.kind = kind, .number = static_cast<uint8_t>(random()), .bytes = {}});
    }
    case 5:
      here->number = static_cast<uint8_t>(random() % 8 == 0 ? random() : 0);
      return;
    case 6:  // the operations of one behind those of another
      if (const Event& other = events[random() % events.size()];
          here->has_bytes() && begins_with_sequence(other.bytes) && here->bytes.size() < UINT16_MAX / 4) {
        const ByteVector more(other.bytes.begin() + sequence_end, other.bytes.end());
        here->bytes.insert(here->bytes.end(), more.begin(), more.end());
        if (here->bytes.size() >= 12)
          here->bytes[11] = static_cast<std::byte>(static_cast<uint8_t>(here->bytes[11]) +
                                                   static_cast<uint8_t>(other.bytes[11]) - 1);
      }
      return;
    default:
      if (here->has_bytes()) mutate_bytes(here->bytes, random);
  }
}

}  // namespace

}  // namespace perdure::fuzz

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t size_max, unsigned int seed) {
  using namespace perdure::fuzz;
  Random random(seed);
  std::vector<Event> events = events_of(data, size);
  for (size_t n = 1 + random() % 4; n > 0; --n) mutate(events, random);
  return put_events(events, data, size_max);
}

extern "C" size_t LLVMFuzzerCustomCrossOver(const uint8_t* one, size_t one_size, const uint8_t* other,
                                            size_t other_size, uint8_t* out, size_t out_max,
                                            unsigned int seed) {
  using namespace perdure::fuzz;
  Random random(seed);
  std::vector<Event> events = events_of(one, one_size);
  const std::vector<Event> more = events_of(other, other_size);
  events.resize(events.empty() ? 0 : random() % (events.size() + 1));
  const size_t begin = more.empty() ? 0 : random() % more.size();
  events.insert(events.end(), more.begin() + static_cast<ptrdiff_t>(begin), more.end());
  return put_events(events, out, out_max);
}
