// Makes a file longer (File::grow). Where the new part is zeroed, the file's size moves forward with the
// zeros, so that after a crash in between all of the file is written all the same. Thread: the loop.
#pragma once

#include <string>

#include "env/env.h"
#include "env/linux/uring.h"

namespace perdure::env {

class Growth final : public Operation {
 public:
  struct Target {
    Env& env;
    Uring& uring;
    int fd;
    const std::string& path;
  };
  // Starts at once. After a failure the file has its old size again. `done` may destroy the Growth.
  Growth(Target target, uint64_t old_size, uint64_t new_size, File::Fill fill, Done<void> done);

  void prepare(io_uring_sqe* sqe) override;
  void complete(int result) override;

 private:
  enum class Step : uint8_t {
    reserve,  // take the space, so that a full file system is found before anything is written
    zero,     // write zeros over it, piece by piece
    sync,     // make data and size durable
  };
  void fail(int error_number);
  void finish(Result<void> result);

  const Target target_;
  const uint64_t old_size_, new_size_;
  const File::Fill fill_;
  Step step_ = Step::reserve;
  uint64_t written_;
  unsigned retries_ = 0;
  Done<void> done_;
};

}  // namespace perdure::env
