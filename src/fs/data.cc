#include "fs/data.h"
#include "base/planted_bug.h"

namespace perdure::fs {

bool HeldFiles::is_free(const Run& run, InodeId id) const {
  auto it = files_.find(id);
  return it == files_.end() || it->second.holder == run.transaction();
}

bool HeldFiles::take(Run& run, InodeId id) {
  auto [it, fresh] = files_.try_emplace(id);
  if (!fresh) return it->second.holder == run.transaction();
  it->second.holder = run.transaction();
  run.on_undo([this, id] { files_.erase(id); });
  return true;
}

void HeldFiles::release(Run& run, InodeId id) {
  run.on_commit([this, id, holder = run.transaction()] {
    auto it = files_.find(id);
    if (it == files_.end() || it->second.holder != holder) return;
    Waiters waiters = std::move(it->second.waiters);
    files_.erase(it);
    waiters.resume_all(fs_);
  });
}

void HeldFiles::release_now(TransactionId holder) {
  for (auto it = files_.begin(); it != files_.end();) {
    if (it->second.holder == holder) {
      it->second.waiters.resume_all(fs_);
      it = files_.erase(it);
    } else {
      ++it;
    }
  }
}

Data::Data(FileSystem& fs, store::BlockStore& blocks, const DataOptions& o)
    : options(o),
      allocator(fs, blocks),
      reader(fs.env(), blocks, cache, o.bad_block_retry),
      read_ahead(reader, o.read_ahead_bytes_max),
      placements(fs, blocks, allocator, cache),
      placing(fs),
      cloning(fs),
      fs_(fs) {}

Data::~Data() = default;

void Data::restored() {
  allocator.restored();
  freed_rows.restored(fs_);
}

uint64_t Data::dirty_bytes() const {
  return uint64_t{block_bytes} * fs_.dirty_pages.size();
}
uint64_t Data::page_row_bytes() const {
  return uint64_t{block_bytes} * fs_.pages.size();
}
void Data::trim_memory(uint32_t oldest_fault) {
  const uint64_t dirty = dirty_bytes() + page_row_bytes();
  cache.trim(options.memory_bytes > dirty ? options.memory_bytes - dirty : 0, oldest_fault);
}

bool Data::anything_dirty() const {
  return fs_.dirty_pages.size() + fs_.pending_inodes.size() != 0;
}

// In this order: there is room; the store can grow; write-back may replace extents by others and so free
// blocks; a checkpoint or a reclaim will free blocks. Only then there is no space; but where write-back has
// just failed, that is what is wrong.
Outcome<void> Data::admit_blocks(Run& run, int64_t blocks, uint8_t& write_backs) {
  if (planted("no blocks are reserved")) return {};
  const int64_t left = allocator.available() - blocks;
  if (left < static_cast<int64_t>(options.grow_below)) allocator.grow();
  if (blocks <= 0 || left >= static_cast<int64_t>(options.margin_blocks)) return {};
  if (allocator.growing()) {
    allocator.grown.add(run);
    return Stop::wait();
  }
  // One pass may be under way already, and not come to all pages: so two.
  if (write_backs < 2 && hooks.want_write_back && fs_.dirty_pages.size() + fs_.pages.size() != 0) {
    ++write_backs;
    write_back_waiters_.add(run);
    hooks.want_write_back();
    return Stop::wait();
  }
  if (fs_.freed.size() != 0 || !reclaims.empty()) {
    if (!hooks.want_checkpoint) return Status::delay;
    space_waiters_.add(run);
    hooks.want_checkpoint();
    return Stop::wait();
  }
  return write_back_failed_lately() ? write_back_failure_ : Status::no_space;
}

Outcome<void> Data::admit_dirty(Run& run, uint64_t pages) {
  const uint64_t bytes = dirty_bytes() + pages * block_bytes;
  if (bytes > options.dirty_bytes_low && hooks.want_write_back) hooks.want_write_back();
  if (bytes <= options.dirty_bytes_max || fs_.dirty_pages.size() == 0 || !hooks.want_write_back) return {};
  return wait_for_write_back(run, dirty_waiters_);
}

Outcome<void> Data::admit_page_rows(Run& run, uint64_t pages) {
  const uint64_t bytes = page_row_bytes() + pages * block_bytes;
  if (bytes > options.page_row_bytes_low && hooks.want_write_back) hooks.want_write_back();
  if (bytes <= options.page_row_bytes_max || fs_.pages.size() == 0 || !hooks.want_write_back) return {};
  return wait_for_write_back(run, page_row_waiters_);
}

Outcome<void> Data::admit_change(const Run& run, InodeId id) {
  if (cloning.is_free(run, id)) return {};
  cloning.wait(run, id);
  return Stop::wait();
}

Outcome<void> Data::wait_for_write_back(Run& run, Waiters& waiters) {
  if (write_back_failed_lately()) return write_back_failure_;
  waiters.add(run);
  return Stop::wait();
}

bool Data::write_back_failed_lately() const {
  return write_back_failure_ != Status::ok &&
         fs_.env().now() - write_back_failed_at_ < options.bad_block_retry;
}

void Data::pages_gone(Run& run) {
  run.on_commit([this] {
    if (dirty_bytes() < options.dirty_bytes_max) dirty_waiters_.resume_all(fs_);
    if (page_row_bytes() < options.page_row_bytes_max) page_row_waiters_.resume_all(fs_);
  });
}

void Data::space_freed() {
  space_waiters_.resume_all(fs_);
}

void Data::write_back_ended(Status status, bool of_everything) {
  write_back_failure_ = status;
  write_back_failed_at_ = fs_.env().now();
  if (of_everything) write_back_waiters_.resume_all(fs_);
  dirty_waiters_.resume_all(fs_);
  page_row_waiters_.resume_all(fs_);
}

uint64_t Data::stamp_before(env::Duration age) {
  const env::Instant now = fs_.env().now();
  stamps_.push_back({now, fs_.new_change()});
  uint64_t stamp = 0;
  while (!stamps_.empty() && stamps_.front().time + age <= now) {
    stamp = stamps_.front().stamp;
    stamps_.pop_front();
  }
  if (stamp != 0) stamps_.push_front({now - age, stamp});
  return stamp;
}

}  // namespace perdure::fs
