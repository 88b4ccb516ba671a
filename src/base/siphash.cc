#include "base/siphash.h"

namespace perdure {
namespace {

struct SipState {
  uint64_t v0, v1, v2, v3;
  void round() {
    v0 += v1, v1 = std::rotl(v1, 13), v1 ^= v0, v0 = std::rotl(v0, 32);
    v2 += v3, v3 = std::rotl(v3, 16), v3 ^= v2;
    v0 += v3, v3 = std::rotl(v3, 21), v3 ^= v0;
    v2 += v1, v1 = std::rotl(v1, 17), v1 ^= v2, v2 = std::rotl(v2, 32);
  }
  void absorb(uint64_t word) {
    v3 ^= word;
    round();
    round();
    v0 ^= word;
  }
};

}  // namespace

uint64_t siphash(SipKey key, Bytes data) {
  SipState s{key.k0 ^ 0x736f6d6570736575U, key.k1 ^ 0x646f72616e646f6dU, key.k0 ^ 0x6c7967656e657261U,
             key.k1 ^ 0x7465646279746573U};
  const uint64_t length_byte = static_cast<uint64_t>(data.size()) << 56U;
  while (data.size() >= 8) {
    uint64_t word;
    std::memcpy(&word, data.data(), 8);
    s.absorb(word);
    data = data.subspan(8);
  }
  uint64_t last = 0;
  if (!data.empty()) std::memcpy(&last, data.data(), data.size());
  s.absorb(last | length_byte);
  s.v2 ^= 0xff;
  for (int i = 0; i < 4; ++i) s.round();
  return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}

}  // namespace perdure
