// The blocks that the crash test writes say of themselves what they are: which file, which version, which
// place. So what is read back is not only right or wrong: an older version is a lost write.
#pragma once

#include <string>

#include "base/bytes.h"

namespace perdure::bench {

inline constexpr uint32_t test_block_bytes = 4096;

struct BlockLabel {
  enum class Kind : uint8_t { zeros, whole, broken };
  Kind kind = Kind::zeros;
  uint64_t file = 0;
  uint64_t version = 0;
  uint64_t block = 0;

  friend bool operator==(const BlockLabel&, const BlockLabel&) = default;
};

void fill_test_block(MutableBytes data, uint64_t file, uint64_t version, uint64_t block);
BlockLabel read_test_block(Bytes data);
std::string to_text(const BlockLabel& label);

}  // namespace perdure::bench
