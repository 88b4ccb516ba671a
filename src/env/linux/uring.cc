#include "env/linux/uring.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>

#include "base/check.h"

namespace perdure::env {

namespace {

// The cheapest for one thread that submits and reaps, which needs Linux 6.1, then what every kernel has.
// (COOP_TASKRUN, which lies between, delays a completion that meets a sleeping loop by up to a timer tick.)
constexpr std::array<unsigned, 2> setup_flags = {
    IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
    0,
};

}  // namespace

Result<std::unique_ptr<Uring>> Uring::create(unsigned entries) {
  std::unique_ptr<Uring> uring(new Uring);
  int result = -EINVAL;
  for (const unsigned flags : setup_flags) {
    io_uring_params params{};
    // Disabled until the loop's thread is known: a single issuer is whoever enables the ring.
    params.flags = flags | IORING_SETUP_CQSIZE | IORING_SETUP_R_DISABLED;
    params.cq_entries = 4 * entries;
    result = ::io_uring_queue_init_params(entries, &uring->ring_, &params);
    if (result != 0) continue;
    uring->initialised_ = true;
    uring->deferred_ = (flags & IORING_SETUP_DEFER_TASKRUN) != 0;
    uring->in_kernel_max_ = params.cq_entries;
    break;
  }
  if (!uring->initialised_) {
    return error(ErrorKind::unsupported,
                 "io_uring is not available: {} (see sysctl kernel.io_uring_disabled)",
                 ::strerrordesc_np(-result));
  }
  uring->event_fd_ = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (uring->event_fd_ < 0) return error(ErrorKind::io, "eventfd: {}", ::strerrordesc_np(errno));
  return uring;
}

Uring::~Uring() {
  CHECK(in_kernel_ == 0 && first_ == nullptr);
  if (initialised_) ::io_uring_queue_exit(&ring_);
  if (event_fd_ >= 0) ::close(event_fd_);
}

Result<void> Uring::enable() {
  // liburing 2.3 declares io_uring_enable_rings() but does not export it.
  const auto fd = static_cast<unsigned>(ring_.ring_fd);
  if (const int result = ::io_uring_register(fd, IORING_REGISTER_ENABLE_RINGS, nullptr, 0); result != 0)
    return error(ErrorKind::io, "io_uring_register: {}", ::strerrordesc_np(-result));
  if (const int result = ::io_uring_register_eventfd(&ring_, event_fd_); result != 0)
    return error(ErrorKind::io, "io_uring_register_eventfd: {}", ::strerrordesc_np(-result));
  after_sleep();
  return {};
}

void Uring::start(Operation& operation) {
  operation.next_ = nullptr;
  if (first_ == nullptr)
    first_ = &operation;
  else
    last_->next_ = &operation;
  last_ = &operation;
}

void Uring::submit() {
  while (true) {
    while (first_ != nullptr && in_kernel_ < in_kernel_max_) {
      io_uring_sqe* sqe = ::io_uring_get_sqe(&ring_);
      if (sqe == nullptr) break;
      Operation* operation = std::exchange(first_, first_->next_);
      operation->prepare(sqe);
      ::io_uring_sqe_set_data(sqe, operation);
      ++in_kernel_;
    }
    if (::io_uring_sq_ready(&ring_) == 0) return;
    const int result = deferred_ ? ::io_uring_submit_and_get_events(&ring_) : ::io_uring_submit(&ring_);
    // Short of memory, or completions must be reaped first: before_sleep() sees to another try.
    if (result == -EAGAIN || result == -EBUSY || result == -ENOMEM) return;
    CHECK(result >= 0 || result == -EINTR);
  }
}

bool Uring::completions_waiting() const {
  return ::io_uring_cq_ready(&ring_) != 0 ||
         (IO_URING_READ_ONCE(*ring_.sq.kflags) & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)) != 0;
}

void Uring::reap() {
  if (!completions_waiting()) return;
  if ((IO_URING_READ_ONCE(*ring_.sq.kflags) & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)) != 0)
    (void)::io_uring_get_events(&ring_);
  for (unsigned n = ::io_uring_cq_ready(&ring_); n != 0; --n) {
    io_uring_cqe* cqe = nullptr;
    CHECK(::io_uring_peek_cqe(&ring_, &cqe) == 0);
    auto* operation = static_cast<Operation*>(::io_uring_cqe_get_data(cqe));
    const int result = cqe->res;
    ::io_uring_cqe_seen(&ring_, cqe);
    CHECK(in_kernel_ != 0);
    --in_kernel_;
    operation->complete(result);
  }
}

bool Uring::before_sleep() {
  if (::io_uring_sq_ready(&ring_) != 0 || (first_ != nullptr && in_kernel_ < in_kernel_max_)) return false;
  (void)::io_uring_cq_eventfd_toggle(&ring_, true);
  // Pairs with the kernel's order: it posts a completion, then looks whether the eventfd is on.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (!completions_waiting()) return true;
  after_sleep();
  return false;
}

void Uring::after_sleep() {
  (void)::io_uring_cq_eventfd_toggle(&ring_, false);
}

}  // namespace perdure::env
