// A file or block device, read and written with O_DIRECT through the loop's io_uring.
//
// Requests that the kernel ends early are continued, and repeated a bounded number of times where it asks for
// that (EINTR, EAGAIN); a flush is never repeated. Every other failure is reported with the path and the
// errno text. Requests reach the kernel at the end of the turn. Where the file system refuses O_DIRECT
// (tmpfs) the file is buffered. Thread: the loop.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "env/env.h"
#include "env/linux/growth.h"
#include "env/linux/uring.h"

namespace perdure::env {

class LinuxFile final : public File {
 public:
  // What a file needs of its loop.
  struct Loop {
    Env& env;
    Uring& uring;
  };
  static Result<std::unique_ptr<File>> open(Loop loop, const std::string& path, bool create);
  ~LinuxFile() override;

  void read(uint64_t offset, std::span<const MutableBytes> into, Done<void> done) override;
  void write(uint64_t offset, std::span<const Bytes> from, Write mode, Done<void> done) override;
  void flush(Done<void> done) override;
  uint64_t size() const override { return size_; }
  uint64_t free_bytes() const override;
  void grow(uint64_t size, Fill fill, Done<void> done) override;
  void discard(uint64_t offset, uint64_t length) override;

 private:
  class Request;

  LinuxFile(Loop loop, std::string path, int fd);
  Result<void> lock();
  Result<void> measure();
  // Requests under way own themselves; those that have ended wait in idle_ for the next.
  std::unique_ptr<Request> take_request();
  void start(std::unique_ptr<Request> request);
  // The last thing that is done for a request: its `done` may destroy the file.
  void finish(Request& request, Result<void> result);

  const Loop loop_;
  const std::string path_;
  const int fd_;
  bool device_ = false;
  uint64_t size_ = 0;
  size_t under_way_ = 0;  // requests, and a growth
  std::vector<std::unique_ptr<Request>> idle_;
  std::unique_ptr<Growth> growth_;
};

}  // namespace perdure::env
