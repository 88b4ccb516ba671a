#include "mirror/mirrored_blocks.h"

#include "base/mark.h"

namespace perdure::mirror {

namespace {
constexpr env::Duration patience = std::chrono::milliseconds(100);
}  // namespace

void MirroredBlocks::write(BlockNo first, std::span<const PageRef> pages, env::Done<void> done) {
  if (held_.empty() && (given_up_ || !observer_.full())) return begin(first, pages, std::move(done));
  PERDURE_MARK("a write is held for the mirror");
  held_.push_back({first, {pages.begin(), pages.end()}, std::move(done)});
  if (!std::exchange(watching_, true)) watch(progress_);
}

void MirroredBlocks::begin(BlockNo first, std::span<const PageRef> pages, env::Done<void> done) {
  if (observer_.wrote) observer_.wrote(first, pages);
  const Range range{first, pages.size()};
  writing_.push_back(range);
  own_->write(first, pages, [this, range, done = std::move(done)](Result<void> written) mutable {
    writing_.erase(std::ranges::find(writing_, range));
    done(std::move(written));
  });
}

void MirroredBlocks::watch(uint64_t progress) {
  env_.after(patience, [this, self = self_, progress] {
    if (*self == nullptr) return;
    watching_ = !held_.empty() && progress != progress_;
    if (watching_) return watch(progress_);
    if (held_.empty()) return;
    PERDURE_MARK("a write is not held for the mirror any longer");
    given_up_ = true;
    release();
  });
}

void MirroredBlocks::room() {
  ++progress_;
  given_up_ = false;
  release();
}

void MirroredBlocks::release() {
  while (!held_.empty() && (given_up_ || !observer_.full())) {
    Held next = std::move(held_.front());
    held_.pop_front();
    begin(next.first, next.pages, std::move(next.done));
  }
}

}  // namespace perdure::mirror
