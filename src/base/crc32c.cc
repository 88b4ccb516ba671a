#include "base/crc32c.h"

#include <isa-l/crc.h>

#include <array>

#include "base/ids.h"

namespace perdure {

uint32_t crc32c(Bytes data, uint32_t previous) {
  // crc32_iscsi does not invert; it takes an int length and a pointer that it does not write through.
  auto* p = reinterpret_cast<unsigned char*>(const_cast<std::byte*>(data.data()));
  uint32_t crc = ~previous;
  while (!data.empty()) {
    const size_t n = std::min<size_t>(data.size(), 1U << 30U);
    crc = crc32_iscsi(p, static_cast<int>(n), crc);
    p += n;
    data = data.subspan(n);
  }
  return ~crc;
}

namespace {

// What block_bytes zeros make of a CRC, which is a linear function of its bits: a table for each of its
// bytes.
struct BlockShift {
  std::array<std::array<uint32_t, 256>, 4> of_byte{};
  BlockShift() {
    std::array<unsigned char, block_bytes> zeros{};
    for (size_t byte = 0; byte < 4; ++byte)
      for (uint32_t value = 0; value < 256; ++value)
        of_byte[byte][value] = crc32_iscsi(zeros.data(), static_cast<int>(zeros.size()), value << (8 * byte));
  }
};

}  // namespace

uint32_t crc32c_join_block(uint32_t before, uint32_t block) {
  static const BlockShift shift;
  return block ^ shift.of_byte[0][before & 0xffU] ^ shift.of_byte[1][before >> 8U & 0xffU] ^
         shift.of_byte[2][before >> 16U & 0xffU] ^ shift.of_byte[3][before >> 24U];
}

}  // namespace perdure
