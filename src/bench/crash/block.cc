#include "bench/crash/block.h"

#include <fmt/format.h>

#include "bench/pattern.h"

namespace perdure::bench {
namespace {

constexpr size_t label_bytes = 24;

uint64_t word_at(Bytes data, size_t offset) {
  uint64_t word;
  std::memcpy(&word, data.data() + offset, sizeof word);
  return word;
}

}  // namespace

void fill_test_block(MutableBytes data, uint64_t file, uint64_t version, uint64_t block) {
  CHECK(data.size() == test_block_bytes);
  const uint64_t label[3] = {file, version, block};
  std::memcpy(data.data(), label, label_bytes);
  fill_pattern(data.subspan(label_bytes), pattern_key(file, version), block * test_block_bytes);
}

BlockLabel read_test_block(Bytes data) {
  BlockLabel label{BlockLabel::Kind::broken, 0, 0, 0};
  if (data.size() != test_block_bytes) return label;
  if (std::ranges::all_of(data, [](std::byte b) { return b == std::byte{0}; })) return {};
  label.file = word_at(data, 0);
  label.version = word_at(data, 8);
  label.block = word_at(data, 16);
  const uint64_t offset = label.block * test_block_bytes;
  if (matches_pattern(data.subspan(label_bytes), pattern_key(label.file, label.version), offset))
    label.kind = BlockLabel::Kind::whole;
  return label;
}

std::string to_text(const BlockLabel& l) {
  switch (l.kind) {
    case BlockLabel::Kind::zeros:
      return "zeros";
    case BlockLabel::Kind::broken:
      return "nothing that was ever written";
    case BlockLabel::Kind::whole:
      break;
  }
  return fmt::format("version {} of block {} of file {}", l.version, l.block, l.file);
}

}  // namespace perdure::bench
