// A block store that shows what is written to it to somebody else as well: the primary's, from where the
// mirror gets file data before the log names it. Nobody waits for the mirror to write it: it acknowledges a
// batch only when it has every block that the batch names (receiver.h).
//
// Who is shown more than he can take in slows the writes down: they are held until he has room. But if he
// takes in nothing at all for a while, they are held no longer, and it is up to him to do without what he is
// shown. Thread: the loop.
#pragma once

#include <algorithm>
#include <deque>
#include <functional>
#include <memory>
#include <vector>

#include "env/env.h"
#include "store/block_store.h"

namespace perdure::mirror {

class MirroredBlocks final : public store::BlockStore {
 public:
  struct Observer {
    std::function<void(BlockNo first, std::span<const PageRef> pages)> wrote;
    // It has no room. Whenever it has got some, room() is to be called.
    std::function<bool()> full = [] { return false; };
  };

  MirroredBlocks(env::Env& env, std::unique_ptr<store::BlockStore> own) : env_(env), own_(std::move(own)) {}
  ~MirroredBlocks() override { *self_ = nullptr; }
  void set_observer(Observer observer) { observer_ = std::move(observer); }
  void room();
  store::BlockStore& own() { return *own_; }

  void read(BlockNo first, std::span<PageRef> pages, env::Done<void> done) override {
    own_->read(first, pages, std::move(done));
  }
  void write(BlockNo first, std::span<const PageRef> pages, env::Done<void> done) override;
  bool writing() const { return !writing_.empty() || !held_.empty(); }
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
  struct Held {
    BlockNo first;
    std::vector<PageRef> pages;
    env::Done<void> done;
  };
  void begin(BlockNo first, std::span<const PageRef> pages, env::Done<void> done);
  void watch(uint64_t progress);
  void release();

  env::Env& env_;
  std::unique_ptr<store::BlockStore> own_;
  std::vector<Range> writing_;
  Observer observer_;

  std::deque<Held> held_;  // in the order in which they came
  uint64_t progress_ = 0;  // calls of room()
  bool given_up_ = false;  // there was no progress for too long, and there has been none since
  bool watching_ = false;
  std::shared_ptr<MirroredBlocks*> self_ = std::make_shared<MirroredBlocks*>(this);
};

}  // namespace perdure::mirror
