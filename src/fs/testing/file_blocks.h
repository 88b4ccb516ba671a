// A BlockStore on a file of TestEnv, with its faults and crashes, for tests that need a store of exactly so
// many blocks.
#pragma once

#include <memory>
#include <string>

#include "store/block_store.h"

namespace perdure::fs::testing {

class FileBlocks final : public store::BlockStore {
 public:
  // Opens or makes the file, which has `capacity` blocks at first and grows by `step` up to `capacity_max`.
  FileBlocks(env::Env& env, const std::string& path, uint64_t capacity, uint64_t step, uint64_t capacity_max);
  void read(BlockNo first, std::span<PageRef> pages, env::Done<void> done) override;
  void write(BlockNo first, std::span<const PageRef> pages, env::Done<void> done) override;
  void flush(env::Done<void> done) override { file_->flush(std::move(done)); }
  void discard(BlockNo, uint64_t) override {}
  uint64_t capacity() const override { return file_->size() / block_bytes; }
  uint64_t capacity_max() const override { return capacity_max_; }
  void grow(env::Done<void> done) override;

 private:
  std::unique_ptr<env::File> file_;
  const uint64_t step_, capacity_max_;
};

}  // namespace perdure::fs::testing
