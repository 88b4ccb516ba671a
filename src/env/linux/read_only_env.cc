#include "env/linux/read_only_env.h"

#include <array>
#include <map>

#include "env/plain_file.h"

namespace perdure::env {

namespace {

class ReadOnlyFile final : public File {
 public:
  ReadOnlyFile(ReadOnlyEnv& env, std::unique_ptr<PlainFile> file) : env_(env), file_(std::move(file)) {}

  void read(uint64_t offset, std::span<const MutableBytes> into, Done<void> done) override {
    Result<void> result;
    for (const MutableBytes piece : into) {
      if (result) result = file_->read(offset, piece);
      for (uint64_t at = 0; at < piece.size(); at += sector)
        if (auto it = written_.find(offset + at); it != written_.end())
          std::memcpy(piece.data() + at, it->second.data(), sector);
      offset += piece.size();
    }
    finish(std::move(done), std::move(result));
  }

  void write(uint64_t offset, std::span<const Bytes> from, Write /*mode*/, Done<void> done) override {
    for (const Bytes piece : from) {
      CHECK(offset % sector == 0 && piece.size() % sector == 0);
      for (uint64_t at = 0; at < piece.size(); at += sector)
        std::memcpy(written_[offset + at].data(), piece.data() + at, sector);
      offset += piece.size();
    }
    finish(std::move(done), {});
  }

  void flush(Done<void> done) override { finish(std::move(done), {}); }
  uint64_t size() const override { return file_->size() / sector * sector; }
  void grow(uint64_t /*size*/, Fill /*fill*/, Done<void> done) override {
    finish(std::move(done), error(ErrorKind::unsupported, "{}: opened for reading only", file_->path()));
  }
  void discard(uint64_t /*offset*/, uint64_t /*length*/) override {}

 private:
  static constexpr uint64_t sector = 4096;

  void finish(Done<void> done, Result<void> result) {
    env_.post([done = std::move(done), result = std::move(result)]() mutable { done(std::move(result)); });
  }

  ReadOnlyEnv& env_;
  const std::unique_ptr<PlainFile> file_;
  std::map<uint64_t, std::array<std::byte, sector>> written_;  // by offset
};

}  // namespace

void ReadOnlyEnv::run() {
  while (!tasks_.empty()) {
    Task task = std::move(tasks_.front());
    tasks_.pop_front();
    task();
  }
}

Instant ReadOnlyEnv::now() {
  return Instant(std::chrono::steady_clock::now().time_since_epoch());
}

WallTime ReadOnlyEnv::wall_time() {
  return WallTime(std::chrono::system_clock::now().time_since_epoch());
}

TimerId ReadOnlyEnv::after(Duration /*delay*/, Task /*task*/) {
  return static_cast<TimerId>(++timers_);
}

void ReadOnlyEnv::cancel(TimerId /*timer*/) {}
void ReadOnlyEnv::at_turn_end(Task /*task*/) {}

void ReadOnlyEnv::offload(Task work, Task done) {
  post([work = std::move(work), done = std::move(done)]() mutable {
    work();
    done();
  });
}

Result<std::unique_ptr<File>> ReadOnlyEnv::open(const std::string& path, bool /*create*/) {
  auto file = TRY(PlainFile::open(path));
  TRY(file->lock());
  return std::make_unique<ReadOnlyFile>(*this, std::move(file));
}

}  // namespace perdure::env
