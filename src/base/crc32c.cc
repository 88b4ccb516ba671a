#include "base/crc32c.h"

#include <isa-l/crc.h>

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

}  // namespace perdure
