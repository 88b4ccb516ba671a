// Traffic: what clients send to a server and what happens to it meanwhile, as the input of a fuzz target.
//
//   input = event*
//   event = kind (1 byte; +128: what follows does not wait for the answer), then
//     compound, in_sequence   uid (1 byte), length (2 bytes, little-endian), COMPOUND4args; in_sequence: its
//                             SEQUENCE gets the sequence id that is next on its slot
//     stream                  uid (1 byte, unused), length, what comes on a connection, with record marks
//     pass                    seconds (1 byte)
//     restart                 the power goes and comes back
//     again                   which (1 byte): an earlier COMPOUND, as it was sent
//
// An event that is cut off ends the input. Kinds are taken modulo their number.
#pragma once

#include <optional>
#include <vector>

#include "base/bytes.h"

namespace perdure::fuzz {

enum class EventKind : uint8_t { compound, in_sequence, stream, pass, restart, again };
inline constexpr uint8_t event_kinds = 6;
inline constexpr uint8_t unawaited = 128;

struct Event {
  EventKind kind{};
  bool awaited = true;
  uint8_t number = 0;  // uid, seconds, which
  ByteVector bytes;

  bool has_bytes() const {
    return kind == EventKind::compound || kind == EventKind::in_sequence || kind == EventKind::stream;
  }
};

inline std::optional<Event> take_event(Bytes& from) {
  if (from.empty()) return {};
  const auto first = static_cast<uint8_t>(from[0]);
  Event event{.kind = static_cast<EventKind>(first % unawaited % event_kinds),
              .awaited = first < unawaited,
              .bytes = {}};
  size_t length = event.kind == EventKind::restart ? 1 : 2;
  if (event.has_bytes()) length = 4;
  if (from.size() < length) return {};
  if (length > 1) event.number = static_cast<uint8_t>(from[1]);
  if (event.has_bytes()) {
    uint16_t bytes = 0;
    std::memcpy(&bytes, from.data() + 2, sizeof bytes);
    if (from.size() - length < bytes) return {};
    event.bytes.assign(from.data() + length, from.data() + length + bytes);
    length += bytes;
  }
  from = from.subspan(length);
  return event;
}

inline void put_event(ByteVector& to, const Event& event) {
  to.push_back(static_cast<std::byte>(static_cast<uint8_t>(event.kind) + (event.awaited ? 0 : unawaited)));
  if (event.kind == EventKind::restart) return;
  to.push_back(std::byte{event.number});
  if (!event.has_bytes()) return;
  const auto length = static_cast<uint16_t>(std::min<size_t>(event.bytes.size(), UINT16_MAX));
  to.push_back(static_cast<std::byte>(length & 0xffU));
  to.push_back(static_cast<std::byte>(length >> 8U));
  to.insert(to.end(), event.bytes.begin(), event.bytes.begin() + length);
}

// Where in a COMPOUND with an empty tag that begins with SEQUENCE things lie; see RFC 8881 §18.46.1.
inline constexpr size_t sequence_session_at = 16, sequence_id_at = 32, sequence_slot_at = 36,
                        sequence_end = 48;
inline bool begins_with_sequence(Bytes compound) {
  constexpr std::byte op_sequence{53};
  if (compound.size() < sequence_end || compound[15] != op_sequence) return false;
  return std::ranges::all_of(compound.first(4), [](std::byte b) { return b == std::byte{0}; }) &&
         std::ranges::all_of(compound.subspan(12, 3), [](std::byte b) { return b == std::byte{0}; });
}

// Counts the sequence ids of all slots.
class SequenceIds {
 public:
  using Slot = std::array<std::byte, 20>;  // session and slot

  static Slot slot_of(Bytes compound) {
    Slot slot;
    std::ranges::copy(compound.subspan(sequence_session_at, 16), slot.begin());
    std::ranges::copy(compound.subspan(sequence_slot_at, 4), slot.begin() + 16);
    return slot;
  }
  static uint32_t id_of(Bytes compound) {
    uint32_t id = 0;
    std::memcpy(&id, compound.data() + sequence_id_at, sizeof id);
    return std::byteswap(id);
  }
  uint32_t next(const Slot& slot) const {
    const auto found = std::ranges::find(used_, slot, &Used::slot);
    return found == used_.end() ? 1 : found->id + 1;
  }
  void used(const Slot& slot, uint32_t id) {
    const auto found = std::ranges::find(used_, slot, &Used::slot);
    if (found == used_.end())
      used_.push_back({slot, id});
    else
      found->id = id;
  }
  static void set_id(ByteVector& compound, uint32_t id) {
    id = std::byteswap(id);
    std::memcpy(compound.data() + sequence_id_at, &id, sizeof id);
  }

 private:
  struct Used {
    Slot slot;
    uint32_t id;
  };
  std::vector<Used> used_;
};

}  // namespace perdure::fuzz
