// A block store that shows what is written to it to somebody else as well: the primary's, from where the
// mirror gets file data before the log names it. Nobody waits for the mirror here: it acknowledges a batch
// only when it has every block that the batch names (receiver.h).
#pragma once

#include <algorithm>
#include <functional>
#include <vector>

#include "store/block_store.h"

namespace perdure::mirror {

class MirroredBlocks final : public store::BlockStore {
 public:
  using Observer = std::function<void(BlockNo first, std::span<const PageRef> pages)>;

  explicit MirroredBlocks(std::unique_ptr<store::BlockStore> own) : own_(std::move(own)) {}
  void set_observer(Observer observer) { observer_ = std::move(observer); }
  store::BlockStore& own() { return *own_; }

  void read(BlockNo first, std::span<PageRef> pages, env::Done<void> done) override {
    own_->read(first, pages, std::move(done));
  }
  void write(BlockNo first, std::span<const PageRef> pages, env::Done<void> done) override {
    if (observer_) observer_(first, pages);
    const Range range{first, pages.size()};
    writing_.push_back(range);
    own_->write(first, pages, [this, range, done = std::move(done)](Result<void> written) mutable {
      writing_.erase(std::ranges::find(writing_, range));
      done(std::move(written));
    });
  }
  bool writing() const { return !writing_.empty(); }
  // A read may give its old content, or its new one.
  bool being_written(BlockNo block) const {
    return std::ranges::any_of(
        writing_, [&](const Range& r) { return block >= r.first && block < r.first + BlockNo(r.count); });
  }
  void flush(env::Done<void> done) override { own_->flush(std::move(done)); }
  void discard(BlockNo first, uint64_t count) override { own_->discard(first, count); }
  uint64_t capacity() const override { return own_->capacity(); }
  uint64_t capacity_max() const override { return own_->capacity_max(); }
  void grow(env::Done<void> done) override { own_->grow(std::move(done)); }

 private:
  struct Range {
    BlockNo first;
    uint64_t count = 0;
    friend bool operator==(const Range&, const Range&) = default;
  };
  std::unique_ptr<store::BlockStore> own_;
  std::vector<Range> writing_;
  Observer observer_;
};

}  // namespace perdure::mirror
