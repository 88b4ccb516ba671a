// The block store in one file or on one device, through Env's direct I/O: block n lies at byte offset 4096 n.
#include <algorithm>
#include <array>
#include <optional>
#include <vector>

#include "base/crc32c.h"
#include "store/block_store.h"

namespace perdure::store {

namespace {

constexpr std::string_view magic = "PERDBLKS";
constexpr uint32_t version = 1;
constexpr size_t fields_end = 32, crc_offset = block_bytes - sizeof(uint32_t);
// The header and one block.
constexpr uint64_t size_min = uint64_t{2} * block_bytes;
// A smaller step is not worth its flush, unless the limit leaves no more.
constexpr uint64_t step_bytes_min = 1U << 20U;

PageRef make_header(env::Env& env) {
  Encoder encoder;
  encoder.put_bytes(bytes_of(magic));
  encoder.put(version);
  encoder.put(block_bytes);
  encoder.put(env.random());  // the store's uuid, in two halves
  encoder.put(env.random());
  PageRef page = make_page();
  const MutableBytes header = page.mutable_bytes();
  std::ranges::fill(header, std::byte{0});
  std::ranges::copy(encoder.bytes(), header.begin());
  const uint32_t crc = crc32c(header.first(crc_offset));
  std::memcpy(header.data() + crc_offset, &crc, sizeof crc);
  return page;
}

// Nothing, or the torn beginning of one: its creation was cut short.
bool is_no_header(Bytes header) {
  const auto empty = [](Bytes bytes) {
    return std::ranges::all_of(bytes, [](std::byte b) { return b == std::byte{0}; });
  };
  return empty(header.subspan(fields_end)) &&
         (empty(header.first(fields_end)) || text_of(header.first(magic.size())) == magic);
}

Result<void> check_header(const std::string& path, Bytes header) {
  Decoder decoder(header);
  if (text_of(decoder.get_bytes(magic.size())) != magic)
    return error(ErrorKind::corrupt, "{}: not a block store of Perdure", path);
  if (Decoder(header.subspan(crc_offset)).get<uint32_t>() != crc32c(header.first(crc_offset)))
    return error(ErrorKind::corrupt, "{}: the header is damaged", path);
  const auto found_version = decoder.get<uint32_t>(), found_block_bytes = decoder.get<uint32_t>();
  if (found_version != version || found_block_bytes != block_bytes) {
    return error(ErrorKind::unsupported, "{}: a block store of version {} with blocks of {} bytes", path,
                 found_version, found_block_bytes);
  }
  return {};
}

uint64_t whole_blocks(uint64_t bytes) {
  return bytes / block_bytes * block_bytes;
}

struct Limits {
  explicit Limits(const BlockStoreOptions& options)
      : bytes_max(options.bytes_max == 0 ? UINT64_MAX : options.bytes_max),
        step(whole_blocks(std::max(options.step_bytes, size_min))),
        keep_free(options.keep_free_bytes) {}

  // The most that `file` could be.
  uint64_t size_max(const env::File& file) const {
    const uint64_t size = file.size(), free = file.free_bytes();
    const uint64_t room = std::min(free > keep_free ? free - keep_free : 0, UINT64_MAX - size);
    return std::max(size, whole_blocks(std::min(bytes_max, size + room)));
  }
  // The size after one more step.
  Result<uint64_t> next_size(const env::File& file, const std::string& path) const {
    const uint64_t size = file.size();
    const uint64_t most = size_max(file);
    const uint64_t next = most - size < step ? most : size + step;
    const bool at_limit = next + block_bytes > bytes_max;
    if (next > size && (at_limit || next - size >= std::min(step, step_bytes_min))) return next;
    return error(ErrorKind::no_space,
                 "{}: cannot grow beyond {} bytes: limit {}, free on the file system {}, to be left free {}",
                 path, size, bytes_max, file.free_bytes(), keep_free);
  }

  uint64_t bytes_max, step, keep_free;
};

class BlockFile final : public BlockStore {
 public:
  BlockFile(env::Env& env, std::string path, std::unique_ptr<env::File> file, const Limits& limits)
      : env_(env), path_(std::move(path)), file_(std::move(file)), limits_(limits) {}

  void read(BlockNo first, std::span<PageRef> pages, env::Done<void> done) override;
  void write(BlockNo first, std::span<const PageRef> pages, env::Done<void> done) override;
  void flush(env::Done<void> done) override;
  void discard(BlockNo first, uint64_t count) override;
  uint64_t capacity() const override { return file_->size() / block_bytes; }
  uint64_t capacity_max() const override;
  void grow(env::Done<void> done) override;

 private:
  // A read or write under way. Used again, for the memory of its vectors.
  struct Call {
    std::vector<PageRef> pages;
    std::vector<Bytes> sources;
    std::vector<MutableBytes> targets;
    std::span<PageRef> into;
    env::Done<void> done;
  };
  std::unique_ptr<Call> take_call(env::Done<void> done);
  void finish(std::unique_ptr<Call> call, Result<void> result);
  // True: the call may begin. Otherwise it has been answered.
  bool admit(BlockNo first, uint64_t count, env::Done<void>& done);
  void refuse(Error reason, env::Done<void> done);
  Error stopped() const {
    return error(ErrorKind::stopped, "{}: stopped, because an earlier flush failed", path_);
  }

  env::Env& env_;
  const std::string path_;
  const std::unique_ptr<env::File> file_;
  const Limits limits_;
  std::vector<std::unique_ptr<Call>> idle_calls_;
  std::vector<env::Done<void>> growing_;  // who waits for the growth under way
  bool flush_failed_ = false;
  mutable uint64_t size_max_ = 0;  // as it was at size_max_time_
  mutable std::optional<env::Instant> size_max_time_;
};

constexpr size_t idle_calls_max = 64;

std::unique_ptr<BlockFile::Call> BlockFile::take_call(env::Done<void> done) {
  std::unique_ptr<Call> call;
  if (idle_calls_.empty()) {
    call = std::make_unique<Call>();
  } else {
    call = std::move(idle_calls_.back());
    idle_calls_.pop_back();
  }
  call->done = std::move(done);
  return call;
}

void BlockFile::finish(std::unique_ptr<Call> call, Result<void> result) {
  env::Done<void> done = std::move(call->done);
  call->pages.clear();
  call->sources.clear();
  call->targets.clear();
  if (idle_calls_.size() < idle_calls_max) idle_calls_.push_back(std::move(call));
  done(std::move(result));
}

void BlockFile::refuse(Error reason, env::Done<void> done) {
  env_.post([reason = std::move(reason), done = std::move(done)]() mutable { done(std::move(reason)); });
}

bool BlockFile::admit(BlockNo first, uint64_t count, env::Done<void>& done) {
  CHECK(first.value != 0);  // the header
  if (first.value <= capacity() && count <= capacity() - first.value) return true;
  refuse(error(ErrorKind::invalid, "{}: {} blocks from {} are not within the {} that exist", path_, count,
               first, capacity()),
         std::move(done));
  return false;
}

void BlockFile::read(BlockNo first, std::span<PageRef> pages, env::Done<void> done) {
  if (!admit(first, pages.size(), done)) return;
  auto call = take_call(std::move(done));
  call->into = pages;
  for (size_t i = 0; i < pages.size(); ++i) {
    call->pages.push_back(make_page());
    call->targets.push_back(call->pages.back().mutable_bytes());
  }
  const std::span<const MutableBytes> targets = call->targets;
  file_->read(first.value * block_bytes, targets,
              [this, call = std::move(call)](Result<void> result) mutable {
                if (result) std::ranges::move(call->pages, call->into.begin());
                finish(std::move(call), std::move(result));
              });
}

void BlockFile::write(BlockNo first, std::span<const PageRef> pages, env::Done<void> done) {
  if (!admit(first, pages.size(), done)) return;
  if (flush_failed_) return refuse(stopped(), std::move(done));
  auto call = take_call(std::move(done));
  call->pages.assign(pages.begin(), pages.end());
  for (const PageRef& page : pages) call->sources.push_back(page.bytes());
  const std::span<const Bytes> sources = call->sources;
  file_->write(first.value * block_bytes, sources, env::File::Write::cached,
               [this, call = std::move(call)](Result<void> result) mutable {
                 finish(std::move(call), std::move(result));
               });
}

void BlockFile::flush(env::Done<void> done) {
  if (flush_failed_) return refuse(stopped(), std::move(done));
  file_->flush([this, done = std::move(done)](Result<void> result) mutable {
    if (!result) flush_failed_ = true;
    // Another flush may have failed since this one began, and may have taken this one's failure with it.
    else if (flush_failed_)
      result = stopped();
    done(std::move(result));
  });
}

void BlockFile::discard(BlockNo first, uint64_t count) {
  CHECK(first.value != 0 && first.value <= capacity() && count <= capacity() - first.value);
  file_->discard(first.value * block_bytes, count * block_bytes);
}

uint64_t BlockFile::capacity_max() const {
  const env::Instant now = env_.now();
  if (!size_max_time_ || now - *size_max_time_ > std::chrono::seconds(1)) {
    size_max_ = limits_.size_max(*file_);
    size_max_time_ = now;
  }
  return std::max(size_max_ / block_bytes, capacity());
}

void BlockFile::grow(env::Done<void> done) {
  if (!growing_.empty()) return growing_.push_back(std::move(done));
  Result<uint64_t> size = limits_.next_size(*file_, path_);
  if (!size) return refuse(std::move(size).error(), std::move(done));
  growing_.push_back(std::move(done));
  file_->grow(*size, env::File::Fill::reserved, [this](const Result<void>& result) {
    size_max_time_.reset();
    for (env::Done<void>& waiting : std::exchange(growing_, {})) waiting(result);
  });
}

// Opening: read the header; where there is none yet, make room and write it last, so that a store whose
// creation was cut short is one without a header.
struct Opening {
  env::Env& env;
  std::string path;
  Limits limits;
  env::Done<std::unique_ptr<BlockStore>> done;
  std::unique_ptr<env::File> file;
  PageRef header;
  std::array<Bytes, 1> source;
  std::array<MutableBytes, 1> target;
};
using OpeningPtr = std::shared_ptr<Opening>;

void finish_opening(const OpeningPtr& opening, Result<void> result) {
  if (!result) {
    opening->file.reset();
    return opening->done(std::move(result).error());
  }
  opening->done(
      std::make_unique<BlockFile>(opening->env, opening->path, std::move(opening->file), opening->limits));
}

void write_header(const OpeningPtr& opening) {
  opening->header = make_header(opening->env);
  opening->source = {opening->header.bytes()};
  opening->file->write(0, opening->source, env::File::Write::durable,
                       [opening](Result<void> result) { finish_opening(opening, std::move(result)); });
}

void create_store(const OpeningPtr& opening) {
  if (opening->file->size() >= size_min) return write_header(opening);
  Result<uint64_t> size = opening->limits.next_size(*opening->file, opening->path);
  if (!size) {
    return opening->env.post([opening, reason = std::move(size).error()]() mutable {
      finish_opening(opening, std::move(reason));
    });
  }
  opening->file->grow(*size, env::File::Fill::reserved, [opening](Result<void> result) {
    if (!result) return finish_opening(opening, std::move(result));
    write_header(opening);
  });
}

void read_header(const OpeningPtr& opening, bool again);

// What reads as none is read once more before a header is written over it: a disk that gives wrong bytes
// once must not cost a good one.
void examine_header(const OpeningPtr& opening, bool again) {
  const Bytes header = opening->header.bytes();
  if (!is_no_header(header)) return finish_opening(opening, check_header(opening->path, header));
  if (!again) return read_header(opening, true);
  create_store(opening);
}

void read_header(const OpeningPtr& opening, bool again) {
  opening->target = {opening->header.mutable_bytes()};
  opening->file->read(0, opening->target, [opening, again](Result<void> result) {
    if (!result) return finish_opening(opening, std::move(result));
    examine_header(opening, again);
  });
}

}  // namespace

void open_block_file(env::Env& env, std::string path, const BlockStoreOptions& options,
                     env::Done<std::unique_ptr<BlockStore>> done) {
  auto file = env.open(path, true);
  if (!file) {
    return env.post(
        [reason = std::move(file).error(), done = std::move(done)]() mutable { done(std::move(reason)); });
  }
  auto opening = std::make_shared<Opening>(
      Opening{env, std::move(path), Limits(options), std::move(done), *std::move(file), make_page(), {}, {}});
  if (opening->file->size() < block_bytes) return create_store(opening);
  read_header(opening, false);
}

}  // namespace perdure::store
