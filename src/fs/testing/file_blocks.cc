#include "fs/testing/file_blocks.h"

#include "env/testing/test_env.h"

namespace perdure::fs::testing {

FileBlocks::FileBlocks(env::Env& env, const std::string& path, uint64_t capacity, uint64_t step,
                       uint64_t capacity_max)
    : step_(step), capacity_max_(capacity_max) {
  auto file = env.open(path, true);
  CHECK(file);
  file_ = *std::move(file);
  if (file_->size() != 0) return;
  bool done = false;
  file_->grow(capacity * block_bytes, env::File::Fill::reserved,
              [&done](Result<void> result) { done = result.has_value(); });
  static_cast<env::TestEnv&>(env).run_until_idle();
  CHECK(done);
}

void FileBlocks::read(BlockNo first, std::span<PageRef> pages, env::Done<void> done) {
  CHECK(first.value != 0 && first.value + pages.size() <= capacity());
  std::vector<PageRef> fresh;
  std::vector<MutableBytes> into;
  for (size_t i = 0; i < pages.size(); ++i) {
    fresh.push_back(make_page());
    into.push_back(fresh.back().mutable_bytes());
  }
  file_->read(first.value * block_bytes, into,
              [fresh = std::move(fresh), pages, done = std::move(done)](Result<void> result) mutable {
                if (result) std::move(fresh.begin(), fresh.end(), pages.begin());
                done(std::move(result));
              });
}

void FileBlocks::write(BlockNo first, std::span<const PageRef> pages, env::Done<void> done) {
  CHECK(first.value != 0 && first.value + pages.size() <= capacity());
  std::vector<PageRef> kept(pages.begin(), pages.end());
  std::vector<Bytes> from;
  for (const PageRef& page : kept) from.push_back(page.bytes());
  file_->write(first.value * block_bytes, from, env::File::Write::cached,
               [kept = std::move(kept), done = std::move(done)](Result<void> result) mutable {
                 done(std::move(result));
               });
}

void FileBlocks::grow(env::Done<void> done) {
  file_->grow(std::min(capacity_max_, capacity() + step_) * block_bytes, env::File::Fill::reserved,
              std::move(done));
}

}  // namespace perdure::fs::testing
