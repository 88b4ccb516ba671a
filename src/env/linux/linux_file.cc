#include "env/linux/linux_file.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <spdlog/spdlog.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <climits>
#include <cstring>
#include <thread>

#include "base/check.h"
#include "base/ids.h"
#include "env/linux/os_error.h"
#include "env/plain_file.h"

namespace perdure::env {

namespace {

constexpr size_t idle_requests_max = 256;

Error open_error(int error_number, const std::string& path) {
  const ErrorKind kind = error_number == ENOENT  ? ErrorKind::not_found
                         : error_number == EBUSY ? ErrorKind::busy
                                                 : kind_of_errno(error_number);
  return error(kind, "{}: cannot be opened: {}", path, ::strerrordesc_np(error_number));
}

}  // namespace

class LinuxFile::Request final : public Operation {
 public:
  enum class Kind : uint8_t { read, write, write_durable, flush };

  explicit Request(LinuxFile& file) : file_(file) {}

  void begin(Kind kind, uint64_t offset, Done<void> done) {
    kind_ = kind;
    offset_ = begin_ = offset;
    left_ = length_ = 0;
    pieces_.clear();
    first_ = 0;
    retries_ = 0;
    done_ = std::move(done);
  }
  void add_piece(const void* memory, size_t bytes) {
    CHECK(bytes % block_bytes == 0 && reinterpret_cast<uintptr_t>(memory) % block_bytes == 0);
    if (bytes == 0) return;
    iovec* last = pieces_.empty() ? nullptr : &pieces_.back();
    if (last != nullptr && static_cast<std::byte*>(last->iov_base) + last->iov_len == memory)
      last->iov_len += bytes;  // neighbours in memory: the kernel handles them as one
    else
      pieces_.push_back({const_cast<void*>(memory), bytes});
    left_ += bytes;
    length_ += bytes;
  }
  Kind kind() const { return kind_; }
  uint64_t offset() const { return begin_; }
  uint64_t length() const { return length_; }
  Done<void> take_done() { return std::move(done_); }

  void prepare(io_uring_sqe* sqe) override {
    const auto count = static_cast<unsigned>(std::min<size_t>(pieces_.size() - first_, IOV_MAX));
    switch (kind_) {
      case Kind::read:
        ::io_uring_prep_readv2(sqe, file_.fd_, pieces_.data() + first_, count, offset_, 0);
        return;
      case Kind::write:
        ::io_uring_prep_writev2(sqe, file_.fd_, pieces_.data() + first_, count, offset_, 0);
        return;
      case Kind::write_durable:
        ::io_uring_prep_writev2(sqe, file_.fd_, pieces_.data() + first_, count, offset_, RWF_DSYNC);
        return;
      case Kind::flush:
        ::io_uring_prep_fsync(sqe, file_.fd_, IORING_FSYNC_DATASYNC);
        return;
    }
  }

  void complete(int result) override {
    if (kind_ == Kind::flush) {
      if (result < 0) return file_.finish(*this, failure(-result));
      return file_.finish(*this, {});
    }
    if (result < 0 && result != -EINTR && result != -EAGAIN) return file_.finish(*this, failure(-result));
    // O_DIRECT goes on at a multiple of the block size only: the rest of a block is done again.
    const uint64_t bytes = result < 0 ? 0 : static_cast<uint64_t>(result) / block_bytes * block_bytes;
    CHECK(bytes <= left_);
    if (bytes == 0 && ++retries_ > retries_max)
      return file_.finish(*this, failure(result < 0 ? -result : EIO));
    advance(bytes);
    if (left_ == 0) return file_.finish(*this, {});
    file_.loop_.uring.start(*this);
  }

 private:
  void advance(uint64_t bytes) {
    offset_ += bytes;
    left_ -= bytes;
    while (bytes != 0) {
      iovec& piece = pieces_[first_];
      const uint64_t step = std::min<uint64_t>(bytes, piece.iov_len);
      piece.iov_base = static_cast<std::byte*>(piece.iov_base) + step;
      piece.iov_len -= step;
      bytes -= step;
      if (piece.iov_len == 0) ++first_;
    }
  }

  Error failure(int error_number) const {
    const ErrorKind kind = kind_of_errno(error_number);
    const char* text = ::strerrordesc_np(error_number);
    if (kind_ == Kind::flush) return error(kind, "{}: flush: {}", file_.path_, text);
    return error(kind, "{}: {} of {} bytes at {}: {}", file_.path_, kind_ == Kind::read ? "read" : "write",
                 length_, begin_, text);
  }

  LinuxFile& file_;
  Kind kind_ = Kind::read;
  uint64_t begin_ = 0, length_ = 0;  // as asked for
  uint64_t offset_ = 0, left_ = 0;   // what is not done yet, in pieces_ from first_ on
  std::vector<iovec> pieces_;
  size_t first_ = 0;
  unsigned retries_ = 0;
  Done<void> done_;
};

Result<std::unique_ptr<File>> LinuxFile::open(Loop loop, const std::string& path, bool create) {
  struct stat status{};
  const bool exists = ::stat(path.c_str(), &status) == 0;
  const bool device = exists && S_ISBLK(status.st_mode);
  // O_EXCL without O_CREAT: not a device that is mounted or in other use.
  const int flags = O_RDWR | O_CLOEXEC | (device ? O_EXCL : create ? O_CREAT : 0);
  int fd = ::open(path.c_str(), flags | O_DIRECT, 0600);
  const bool buffered = fd < 0 && errno == EINVAL;
  if (buffered) fd = ::open(path.c_str(), flags, 0600);
  if (fd < 0) return open_error(errno, path);
  std::unique_ptr<LinuxFile> file(new LinuxFile(loop, path, fd));
  TRY(file->lock());
  TRY(file->measure());
  if (buffered) spdlog::warn("{}: no direct I/O on this file system, going through the page cache", path);
  if (!exists) TRY(sync_directory_of(path));
  return file;
}

// The kernel ends what a process had under way in its ring only a while after it has buried the process;
// until then the lock is not free, as it must not be: those writes may still land.
Result<void> LinuxFile::lock() {
  constexpr auto patience = std::chrono::seconds(3);
  const auto deadline = std::chrono::steady_clock::now() + patience;
  while (::flock(fd_, LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return open_error(errno, path_);
    if (std::chrono::steady_clock::now() > deadline)
      return error(ErrorKind::busy, "{}: in use by another process", path_);
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return {};
}

Result<void> LinuxFile::measure() {
  struct stat status{};
  if (::fstat(fd_, &status) != 0) return open_error(errno, path_);
  device_ = S_ISBLK(status.st_mode);
  uint64_t bytes = static_cast<uint64_t>(status.st_size);
  if (device_) {
    if (::ioctl(fd_, BLKGETSIZE64, &bytes) != 0) return open_error(errno, path_);
  } else if (!S_ISREG(status.st_mode)) {
    return error(ErrorKind::invalid, "{}: neither a file nor a block device", path_);
  }
  size_ = bytes / block_bytes * block_bytes;
  return {};
}

LinuxFile::LinuxFile(Loop loop, std::string path, int fd) : loop_(loop), path_(std::move(path)), fd_(fd) {}

LinuxFile::~LinuxFile() {
  CHECK(under_way_ == 0);
  ::close(fd_);
}

std::unique_ptr<LinuxFile::Request> LinuxFile::take_request() {
  if (idle_.empty()) return std::make_unique<Request>(*this);
  auto request = std::move(idle_.back());
  idle_.pop_back();
  return request;
}

void LinuxFile::read(uint64_t offset, std::span<const MutableBytes> into, Done<void> done) {
  auto request = take_request();
  request->begin(Request::Kind::read, offset, std::move(done));
  for (const MutableBytes piece : into) request->add_piece(piece.data(), piece.size());
  start(std::move(request));
}

void LinuxFile::write(uint64_t offset, std::span<const Bytes> from, Write mode, Done<void> done) {
  auto request = take_request();
  request->begin(mode == Write::durable ? Request::Kind::write_durable : Request::Kind::write, offset,
                 std::move(done));
  for (const Bytes piece : from) request->add_piece(piece.data(), piece.size());
  start(std::move(request));
}

void LinuxFile::flush(Done<void> done) {
  auto request = take_request();
  request->begin(Request::Kind::flush, 0, std::move(done));
  start(std::move(request));
}

void LinuxFile::start(std::unique_ptr<Request> request) {
  const uint64_t offset = request->offset(), length = request->length();
  CHECK(offset % block_bytes == 0);
  ++under_way_;
  Request* started = request.release();
  if (started->kind() == Request::Kind::flush || (length != 0 && offset <= size_ && length <= size_ - offset))
    return loop_.uring.start(*started);
  Result<void> result;
  if (length != 0)
    result = error(ErrorKind::invalid, "{}: {} bytes at {} are beyond the end at {}", path_, length, offset,
                   size_);
  loop_.env.post(
      [this, started, result = std::move(result)]() mutable { finish(*started, std::move(result)); });
}

void LinuxFile::finish(Request& request, Result<void> result) {
  Done<void> done = request.take_done();
  std::unique_ptr<Request> ended(&request);
  if (idle_.size() < idle_requests_max) idle_.push_back(std::move(ended));
  --under_way_;
  done(std::move(result));
}

uint64_t LinuxFile::free_bytes() const {
  struct statvfs status{};
  if (device_ || ::fstatvfs(fd_, &status) != 0) return 0;
  return uint64_t{status.f_bavail} * status.f_frsize;
}

void LinuxFile::grow(uint64_t size, Fill fill, Done<void> done) {
  CHECK(growth_ == nullptr && size % block_bytes == 0 && size >= size_);
  ++under_way_;
  Done<void> finished = [this, size, done = std::move(done)](Result<void> result) mutable {
    if (result) size_ = size;
    const auto ended = std::move(growth_);
    --under_way_;
    done(std::move(result));
  };
  Result<void> result;
  if (device_) {
    result = error(ErrorKind::unsupported, "{}: a device cannot grow", path_);
  } else if (size - size_ > free_bytes()) {
    // Asked first, because a reservation that fails has filled the file system for a moment.
    result = error(ErrorKind::no_space, "{}: growing to {} bytes: {} are free", path_, size, free_bytes());
  } else if (size > size_) {
    growth_ = std::make_unique<Growth>(Growth::Target{loop_.env, loop_.uring, fd_, path_}, size_, size, fill,
                                       std::move(finished));
    return;
  }
  loop_.env.post([finished = std::move(finished), result = std::move(result)]() mutable {
    finished(std::move(result));
  });
}

// Nothing. On a file a hole would make later writes change metadata, which doubles their latency; on a device
// a discard that is still under way could meet the next write of the same blocks.
void LinuxFile::discard(uint64_t /*offset*/, uint64_t /*length*/) {}

}  // namespace perdure::env
