#include "env/linux/growth.h"

#include <linux/falloc.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "base/ids.h"
#include "env/linux/os_error.h"

namespace perdure::env {

namespace {

constexpr uint64_t piece_bytes = 1U << 20U;

// Reads as zeros and takes no memory: every page of it is the kernel's zero page.
const void* zeros() {
  static const void* const memory = [] {
    void* mapped = ::mmap(nullptr, piece_bytes, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(mapped != MAP_FAILED);
    return mapped;
  }();
  return memory;
}

}  // namespace

Growth::Growth(Target target, uint64_t old_size, uint64_t new_size, File::Fill fill, Done<void> done)
    : target_(target),
      old_size_(old_size),
      new_size_(new_size),
      fill_(fill),
      written_(old_size),
      done_(std::move(done)) {
  CHECK(old_size_ < new_size_);
  target_.uring.start(*this);
}

void Growth::prepare(io_uring_sqe* sqe) {
  switch (step_) {
    case Step::reserve:
      ::io_uring_prep_fallocate(sqe, target_.fd, fill_ == File::Fill::zeroed ? FALLOC_FL_KEEP_SIZE : 0,
                                static_cast<off_t>(old_size_), static_cast<off_t>(new_size_ - old_size_));
      return;
    case Step::zero:
      ::io_uring_prep_write(sqe, target_.fd, zeros(),
                            static_cast<unsigned>(std::min(piece_bytes, new_size_ - written_)), written_);
      return;
    case Step::sync:
      ::io_uring_prep_fsync(sqe, target_.fd, 0);
      return;
  }
}

void Growth::complete(int result) {
  switch (step_) {
    case Step::reserve:
      // Without fallocate a full file system is found while the zeros are written.
      if (result < 0 && result != -EOPNOTSUPP && result != -EINTR) return fail(-result);
      if (result == 0 && fill_ == File::Fill::reserved)
        step_ = Step::sync;
      else if (result != -EINTR)
        step_ = Step::zero;
      break;
    case Step::zero: {
      if (result < 0 && result != -EINTR && result != -EAGAIN) return fail(-result);
      const uint64_t bytes = result < 0 ? 0 : static_cast<uint64_t>(result) / block_bytes * block_bytes;
      if (bytes == 0 && ++retries_ > retries_max) return fail(result < 0 ? -result : EIO);
      written_ += bytes;
      if (written_ == new_size_) step_ = Step::sync;
      break;
    }
    case Step::sync:
      if (result < 0) return fail(-result);
      return finish({});
  }
  target_.uring.start(*this);
}

void Growth::fail(int error_number) {
  Error reason = error(kind_of_errno(error_number), "{}: growing to {} bytes: {}", target_.path, new_size_,
                       ::strerrordesc_np(error_number));
  // Also gives back what was reserved behind the old end.
  target_.env.offload(
      [fd = target_.fd, size = old_size_] { (void)!::ftruncate(fd, static_cast<off_t>(size)); },
      [this, reason = std::move(reason)]() mutable { finish(std::move(reason)); });
}

void Growth::finish(Result<void> result) {
  Done<void> done = std::move(done_);
  done(std::move(result));
}

}  // namespace perdure::env
