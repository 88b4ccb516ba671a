// Workloads on file data: randwrite4k-sync, randwrite4k-unstable, randread4k, seqwrite1m, seqread1m.
#include <algorithm>
#include <string>

#include "bench/workload.h"

namespace perdure::bench {
namespace {

constexpr std::string_view open_owner = "bench";
constexpr uint32_t block_bytes = 4096;

// A file that is filled with version 0 of its pattern before the measurement, by all workers.
class FilledFile {
 public:
  FilledFile(std::string name, uint64_t id, uint64_t bytes)
      : name_(std::move(name)), id_(id), bytes_(bytes) {}

  Task<> make(Worker& w) {
    NfsStatus status{};
    do {
      status =
          co_await create(w.slot(), w.cell().directory(), name_, open_owner, CreateMode::UNCHECKED4, file_);
    } while (co_await wait_and_repeat(w.slot(), status));
    if (status != NfsStatus::NFS4_OK) w.cell().give_up("creating " + name_, status);
  }

  // Takes pieces that nobody else has taken until none is left.
  Task<> fill(Worker& w) {
    const uint32_t piece = w.client().io_bytes_max();
    while (filled_ < bytes_) {
      const uint64_t offset = filled_;
      const auto length = static_cast<uint32_t>(std::min<uint64_t>(piece, bytes_ - offset));
      filled_ += length;
      Verifier verifier;
      NfsStatus status{};
      do {
        status =
            co_await write_pattern(w.slot(), file_, offset, length, StableHow::UNSTABLE4, key(0), verifier);
      } while (co_await wait_and_repeat(w.slot(), status));
      if (status != NfsStatus::NFS4_OK) co_return w.cell().give_up("filling " + name_, status);
      w.cell().note_verifier(verifier);
    }
  }

  Task<> make_stable(Worker& w) {
    Verifier verifier;
    const NfsStatus status = co_await commit(w.slot(), file_.fh, verifier);
    if (status != NfsStatus::NFS4_OK) co_return w.cell().give_up("committing " + name_, status);
    w.cell().note_verifier(verifier);
  }

  Task<> close_file(Worker& w) {
    const NfsStatus status = co_await close(w.slot(), file_);
    if (status != NfsStatus::NFS4_OK) w.bad("CLOSE: " + status_name(status));
  }

  const OpenFile& open() const { return file_; }
  uint64_t key(uint64_t version) const { return pattern_key(id_, version); }
  uint64_t bytes() const { return bytes_; }

 private:
  std::string name_;
  uint64_t id_;
  uint64_t bytes_;
  uint64_t filled_ = 0;
  OpenFile file_;
};

// One file for everybody.
class OneFile : public Workload {
 public:
  Task<> prepare_alone(Worker& w) override {
    const uint64_t bytes = std::max<uint64_t>(w.options().file_bytes / block_bytes, 1) * block_bytes;
    file_ = std::make_unique<FilledFile>("file", 1, bytes);
    co_await file_->make(w);
  }
  Task<> prepare(Worker& w) override { co_await file_->fill(w); }
  Task<> settle(Worker& w) override { co_await file_->make_stable(w); }

 protected:
  uint64_t any_offset(Worker& w) { return w.random().below(file_->bytes() / block_bytes) * block_bytes; }

  std::unique_ptr<FilledFile> file_;
};

class RandomWrite final : public OneFile {
 public:
  explicit RandomWrite(StableHow stable) : stable_(stable) {}

  Task<> prepare(Worker& w) override {
    if (w.index() == 0) blocks_.resize(file_->bytes() / block_bytes);
    co_await file_->fill(w);
  }

  Task<> run(Worker& w) override {
    Slot& slot = w.slot();
    uint32_t uncommitted = 0;
    while (w.more()) {
      const uint64_t offset = any_offset(w);
      Block& block = blocks_[offset / block_bytes];
      if (block == Block::old) block = Block::unknown;
      const Nanoseconds begun = w.now();
      Call& call = slot.begin(true).putfh(file_->open().fh);
      fill_pattern(call.write(file_->open().stateid, offset, stable_, block_bytes), file_->key(1), offset);
      Reply& r = co_await slot.exchange();
      uint32_t count = 0;
      StableHow stable{};
      Verifier verifier;
      if (!(r.putfh() && r.write(count, stable, verifier))) {
        w.failed(r);
        continue;
      }
      if (count != block_bytes || stable < stable_) w.bad("WRITE: short, or less stable than asked");
      w.cell().note_verifier(verifier);
      block = Block::written;
      w.done(begun, block_bytes);
      if (stable_ == StableHow::UNSTABLE4 && ++uncommitted == w.options().commit_every) {
        uncommitted = 0;
        const NfsStatus status = co_await commit(slot, file_->open().fh, verifier);
        if (status != NfsStatus::NFS4_OK) w.failed(Op::COMMIT, status);
        if (status == NfsStatus::NFS4_OK) w.cell().note_verifier(verifier);
      }
    }
  }

  // Each worker reads some blocks back: what was written, and its neighbours that were not.
  Task<> check(Worker& w) override {
    for (uint64_t i = 0; i < samples; ++i) {
      const uint64_t offset = any_offset(w);
      const Block block = blocks_[offset / block_bytes];
      if (block == Block::unknown) continue;
      bool good = false;
      const uint64_t key = file_->key(block == Block::written ? 1 : 0);
      const NfsStatus status =
          co_await check_pattern(w.slot(), file_->open().fh, offset, block_bytes, key, good);
      if (!good) w.bad(fmt::format("block at {} is not as it was written: {}", offset, status_name(status)));
    }
    if (w.index() == 0) co_await file_->close_file(w);
  }

 private:
  static constexpr uint64_t samples = 50;
  enum class Block : uint8_t { old, unknown, written };

  const StableHow stable_;
  std::vector<Block> blocks_;
};

class RandomRead final : public OneFile {
 public:
  // Read as a whole, each worker its part, so that the measured reads find it in the server's memory.
  Task<> prepare(Worker& w) override {
    co_await file_->fill(w);
    const uint32_t piece = w.client().io_bytes_max();
    for (uint64_t at = uint64_t{w.index()} * piece; at < file_->bytes(); at += w.cell().workers() * piece) {
      const auto length = static_cast<uint32_t>(std::min<uint64_t>(piece, file_->bytes() - at));
      bool good = false;
      co_await check_pattern(w.slot(), file_->open().fh, at, length, file_->key(0), good);
    }
  }

  Task<> run(Worker& w) override {
    Slot& slot = w.slot();
    while (w.more()) {
      const uint64_t offset = any_offset(w);
      const Nanoseconds begun = w.now();
      slot.begin(false).putfh(file_->open().fh).read(file_->open().stateid, offset, block_bytes);
      Reply& r = co_await slot.exchange();
      Bytes data;
      bool eof = false;
      if (!(r.putfh() && r.read(data, eof))) {
        w.failed(r);
        continue;
      }
      if (data.size() != block_bytes || !matches_pattern(data, file_->key(0), offset))
        w.bad(fmt::format("READ at {}: not what was written", offset));
      w.done(begun, block_bytes);
    }
  }

  Task<> check(Worker& w) override {
    if (w.index() == 0) co_await file_->close_file(w);
  }
};

// A file for each connection, whose workers go through it together.
class Sequential : public Workload {
 public:
  Task<> prepare_alone(Worker& w) override {
    const uint32_t piece = w.client().io_bytes_max();
    const uint64_t bytes = std::max<uint64_t>(w.options().sequential_bytes / piece, 1) * piece;
    for (uint32_t c = 0; c < w.client().options().connections; ++c) {
      Stream& stream = streams_.emplace_back(fmt::format("stream{}", c), 100 + c, bytes);
      stream.versions.resize(bytes / piece);
      co_await stream.file.make(w);
    }
  }

 protected:
  struct Stream {
    Stream(std::string name, uint64_t id, uint64_t bytes) : file(std::move(name), id, bytes) {}
    FilledFile file;
    uint64_t next = 0;               // pieces handed out, over all rounds
    std::vector<uint64_t> versions;  // of each piece, 0: not written
    bool closed = false;
  };
  Stream& stream(Worker& w) { return streams_[w.connection()]; }
  static bool first_of_connection(Worker& w) { return w.index() < w.client().options().connections; }

  std::deque<Stream> streams_;
};

class SequentialWrite final : public Sequential {
 public:
  bool concludes() const override { return true; }

  Task<> run(Worker& w) override {
    Slot& slot = w.slot();
    Stream& s = stream(w);
    const uint32_t piece = w.client().io_bytes_max();
    while (w.more()) {
      const uint64_t number = s.next++;
      const uint64_t place = number % s.versions.size();
      const uint64_t version = number / s.versions.size() + 1;
      const Nanoseconds begun = w.now();
      Call& call = slot.begin(true).putfh(s.file.open().fh);
      const MutableBytes data = call.write(s.file.open().stateid, place * piece, StableHow::UNSTABLE4, piece);
      fill_pattern(data, s.file.key(version), place * piece);
      Reply& r = co_await slot.exchange();
      uint32_t count = 0;
      StableHow stable{};
      Verifier verifier;
      if (!(r.putfh() && r.write(count, stable, verifier))) {
        w.failed(r);
        continue;
      }
      if (count != piece) w.bad("WRITE: short");
      w.cell().note_verifier(verifier);
      s.versions[place] = version;
      w.done(begun, piece);
    }
  }

  Task<> conclude(Worker& w) override {
    if (!first_of_connection(w)) co_return;
    Verifier verifier;
    const NfsStatus status = co_await commit(w.slot(), stream(w).file.open().fh, verifier);
    if (status != NfsStatus::NFS4_OK) w.failed(Op::COMMIT, status);
  }

  // Two rounds at most are mixed in a file: a piece whose last writer was overtaken by an older one would be
  // wrong, but a round is far longer than what is under way at once.
  Task<> check(Worker& w) override {
    Stream& s = stream(w);
    const uint32_t piece = w.client().io_bytes_max();
    for (uint64_t i = 0; i < samples; ++i) {
      const uint64_t place = w.random().below(s.versions.size());
      if (s.versions[place] == 0) continue;
      bool good = false;
      const uint64_t key = s.file.key(s.versions[place]);
      const NfsStatus status =
          co_await check_pattern(w.slot(), s.file.open().fh, place * piece, piece, key, good);
      if (!good)
        w.bad(fmt::format("piece at {} is not as it was written: {}", place * piece, status_name(status)));
    }
    if (first_of_connection(w)) co_await s.file.close_file(w);
  }

 private:
  static constexpr uint64_t samples = 4;
};

class SequentialRead final : public Sequential {
 public:
  Task<> prepare(Worker& w) override { co_await stream(w).file.fill(w); }
  Task<> settle(Worker& w) override {
    for (Stream& s : streams_) co_await s.file.make_stable(w);
  }

  Task<> run(Worker& w) override {
    Slot& slot = w.slot();
    Stream& s = stream(w);
    const uint32_t piece = w.client().io_bytes_max();
    while (w.more()) {
      const uint64_t offset = s.next++ % s.versions.size() * piece;
      const Nanoseconds begun = w.now();
      slot.begin(false).putfh(s.file.open().fh).read(s.file.open().stateid, offset, piece);
      Reply& r = co_await slot.exchange();
      Bytes data;
      bool eof = false;
      if (!(r.putfh() && r.read(data, eof))) {
        w.failed(r);
        continue;
      }
      if (data.size() != piece || !matches_pattern(data, s.file.key(0), offset))
        w.bad(fmt::format("READ at {}: not what was written", offset));
      w.done(begun, piece);
    }
  }

  Task<> check(Worker& w) override {
    if (first_of_connection(w)) co_await stream(w).file.close_file(w);
  }
};

}  // namespace

std::unique_ptr<Workload> make_random_write_sync() {
  return std::make_unique<RandomWrite>(StableHow::FILE_SYNC4);
}
std::unique_ptr<Workload> make_random_write_unstable() {
  return std::make_unique<RandomWrite>(StableHow::UNSTABLE4);
}
std::unique_ptr<Workload> make_random_read() {
  return std::make_unique<RandomRead>();
}
std::unique_ptr<Workload> make_sequential_write() {
  return std::make_unique<SequentialWrite>();
}
std::unique_ptr<Workload> make_sequential_read() {
  return std::make_unique<SequentialRead>();
}

}  // namespace perdure::bench
