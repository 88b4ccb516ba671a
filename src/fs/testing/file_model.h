// FileModel: what a client may see of one file's content, as plain bytes, and what a crash may leave of it.
//
// Each change gives the blocks that it touches, and the size, a new version. Readers see the newest one. When
// it is known that something is stable, older versions are impossible from then on; after a crash each block
// and the size have any version that is still possible. Shares no code with what it judges.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/bytes.h"

namespace perdure::fs::testing {

class FileModel {
 public:
  // Changes, numbered in the order in which they took effect.
  void write(uint64_t sequence, uint64_t offset, Bytes bytes);
  void truncate(uint64_t sequence, uint64_t size);
  // The change with this number is stable.
  void stable(uint64_t sequence);
  // And so are all before it.
  void all_stable(uint64_t sequence);

  uint64_t size() const { return sizes_.back().second; }
  // What a reader sees now.
  ByteVector read(uint64_t offset, uint64_t count) const;

  // After a crash the file has this size, and this content at `offset` (a block's start): empty if that may
  // be, else what is wrong. `bytes` reaches to the end of a block or of the file.
  bool size_possible(uint64_t size) const;
  std::string judge(uint64_t offset, Bytes bytes) const;
  // That is what it is from now on.
  void adopt(uint64_t size, const std::map<uint64_t, ByteVector>& blocks);
  // Blocks that have ever been touched.
  std::vector<uint64_t> blocks() const;

 private:
  static constexpr uint64_t block = 4096;
  using Content = ByteVector;  // empty: zeros
  using Versions = std::vector<std::pair<uint64_t, Content>>;
  Content& change(uint64_t number, uint64_t sequence);

  std::map<uint64_t, Versions> blocks_;
  std::vector<std::pair<uint64_t, uint64_t>> sizes_{{0, 0}};
};

}  // namespace perdure::fs::testing
