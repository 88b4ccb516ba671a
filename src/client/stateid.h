// Stateids: the names by which clients refer to their opens and locks (RFC 8881 §8.2).
#pragma once

#include <array>
#include <cstdint>

#include "base/bytes.h"
#include "base/ids.h"

namespace perdure::client {

using ClientId = Strong<struct ClientIdTag>;            // start number << 32 | counter: never given twice
using SessionNumber = Strong<struct SessionNumberTag>;  // likewise

// What a client can hold. Sessions have no stateid. In the order in which an expiring client's are removed:
// locks before the opens that they stand on.
enum class StateKind : uint8_t { session = 0, lock = 1, open = 2, delegation = 3 };

// On the wire: seqid, and `other`: inode and number, big-endian. A number is unique within its inode, and the
// kind stands in its upper two bits. Inode 0 with number 0, and both with all bits set, are the special ones.
struct Stateid {
  uint32_t seqid = 0;
  InodeId inode;
  uint32_t number = 0;

  static constexpr size_t other_bytes = 12;
  static constexpr unsigned kind_shift = 30;
  static constexpr uint32_t counter_mask = (uint32_t{1} << kind_shift) - 1;

  StateKind kind() const { return static_cast<StateKind>(number >> kind_shift); }
  bool other_is_zero() const { return inode.value == 0 && number == 0; }
  bool other_is_ones() const { return inode.value == UINT64_MAX && number == UINT32_MAX; }
  // RFC 8881 §8.2.3.
  bool is_anonymous() const { return other_is_zero() && seqid == 0; }
  bool is_read_bypass() const { return other_is_ones() && seqid == UINT32_MAX; }
  bool is_current() const { return other_is_zero() && seqid == 1; }

  std::array<std::byte, other_bytes> other() const {
    std::array<std::byte, other_bytes> bytes{};
    const uint64_t big_inode = std::byteswap(inode.value);
    const uint32_t big_number = std::byteswap(number);
    std::memcpy(bytes.data(), &big_inode, sizeof big_inode);
    std::memcpy(bytes.data() + sizeof big_inode, &big_number, sizeof big_number);
    return bytes;
  }
  static Stateid of(uint32_t seqid, std::span<const std::byte, other_bytes> other) {
    uint64_t big_inode = 0;
    uint32_t big_number = 0;
    std::memcpy(&big_inode, other.data(), sizeof big_inode);
    std::memcpy(&big_number, other.data() + sizeof big_inode, sizeof big_number);
    return {seqid, InodeId(std::byteswap(big_inode)), std::byteswap(big_number)};
  }
  static constexpr Stateid anonymous() { return {}; }
  static constexpr Stateid read_bypass() { return {UINT32_MAX, InodeId(UINT64_MAX), UINT32_MAX}; }

  bool operator==(const Stateid&) const = default;
  template <class Self, class V>
  static void fields(Self& s, V&& v) {
    v("seqid", s.seqid), v("inode", s.inode), v("number", s.number);
  }
};

// The seqid behind `seqid`: zero is left out, it means "the current one" (RFC 8881 §8.2.2).
constexpr uint32_t next_seqid(uint32_t seqid) {
  return seqid == UINT32_MAX ? 1 : seqid + 1;
}

}  // namespace perdure::client
