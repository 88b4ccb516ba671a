#include "store/testing/memory_kv_store.h"

#include "store/kv_check.h"

namespace perdure::store::testing {

void MemoryKvImage::crash(uint64_t random) {
  CHECK(!open_);
  make_durable(random % (parts_.size() + 1));
  parts_.clear();
}

Applied MemoryKvImage::applied() const {
  for (auto part = parts_.rbegin(); part != parts_.rend(); ++part)
    if (part->applied) return *part->applied;
  return durable_applied_;
}

void MemoryKvImage::redo(const Part& part, KvMap& rows, Applied& applied) {
  for (const Change& change : part.changes) {
    if (change.value)
      rows.insert_or_assign(change.key, *change.value);
    else
      rows.erase(change.key);
  }
  if (part.applied) applied = *part.applied;
}

void MemoryKvImage::make_durable(size_t parts) {
  CHECK(parts <= parts_.size());
  for (; parts != 0; --parts) {
    redo(parts_.front(), durable_, durable_applied_);
    parts_.pop_front();
  }
}

MemoryKvStore::MemoryKvStore(env::Env& env, std::shared_ptr<MemoryKvImage> image,
                             const MemoryKvOptions& options)
    : env_(env), image_(std::move(image)), options_(options) {
  CHECK(!std::exchange(image_->open_, true));
  // What a store shows is durable: opening makes it so.
  image_->make_durable(image_->parts_.size());
  rows_ = image_->durable_;
  applied_ = image_->durable_applied_;
}

MemoryKvStore::~MemoryKvStore() {
  image_->open_ = false;
}

void MemoryKvStore::fail_read_after(uint64_t calls, ErrorKind kind) {
  read_failure_ = {calls, kind};
}
void MemoryKvStore::fail_apply_after(uint64_t calls, ErrorKind kind) {
  apply_failure_ = {calls, kind};
}

Error MemoryKvStore::injected_error(ErrorKind kind) {
  return error(kind, "injected failure of the key-value store");
}

std::optional<Error> MemoryKvStore::due(std::optional<Failure>& failure) {
  if (!failure || failure->calls-- != 0) return std::nullopt;
  Error e = injected_error(failure->kind);
  failure.reset();
  return e;
}

void MemoryKvStore::later(env::Task task) {
  env::Task guarded = [alive = std::weak_ptr(alive_), task = std::move(task)]() mutable {
    if (!alive.expired()) task();
  };
  if (options_.delay_max.count() == 0) return env_.post(std::move(guarded));
  const auto range = static_cast<uint64_t>(options_.delay_max.count()) + 1;
  env_.after(env::Duration(static_cast<int64_t>(env_.random() % range)), std::move(guarded));
}

KvStore::Hit MemoryKvStore::try_get(Bytes key, ByteVector& value) {
  if (poisoned_) return Hit::needs_io;
  if (options_.needs_io_percent != 0 && env_.random() % 100 < options_.needs_io_percent) return Hit::needs_io;
  const auto row = rows_.find(key);
  if (row == rows_.end()) return Hit::absent;
  value.assign(row->second.begin(), row->second.end());
  return Hit::found;
}

template <class T, class Work>
void MemoryKvStore::read(Work work, env::Done<T> done) {
  later([this, work = std::move(work), done = std::move(done)]() mutable {
    Result<T> result = poisoned_ ? Result<T>(poisoned_error()) : Result<T>(T{});
    if (auto e = due(read_failure_); e && !poisoned_) result = *std::move(e);
    if (options_.fails && options_.fails() && result) result = injected_error(ErrorKind::io);
    if (result) *result = work();
    later([done = std::move(done), result = std::move(result)]() mutable { done(std::move(result)); });
  });
}

void MemoryKvStore::get(ByteVector key, env::Done<std::optional<ByteVector>> done) {
  read<std::optional<ByteVector>>(
      [this, key = std::move(key)]() -> std::optional<ByteVector> {
        const auto row = rows_.find(key);
        if (row == rows_.end()) return std::nullopt;
        return row->second;
      },
      std::move(done));
}

void MemoryKvStore::scan(ByteVector from, ByteVector last, size_t rows_max, env::Done<KeyValues> done) {
  CHECK(rows_max != 0);
  read<KeyValues>([this, from = std::move(from), last = std::move(last),
                   rows_max] { return *scan_now(from, last, rows_max); },
                  std::move(done));
}

Result<KeyValues> MemoryKvStore::scan_now(const ByteVector& from, const ByteVector& last, size_t rows_max) {
  KeyValues found;
  const BytesLess less;
  for (auto row = rows_.lower_bound(from); row != rows_.end() && found.size() < rows_max; ++row) {
    if (less(last, row->first)) break;
    found.add(row->first, row->second);
  }
  return found;
}

void MemoryKvStore::apply(std::vector<Change> sorted, std::optional<Applied> applied, env::Done<void> done) {
  check_part(sorted);
  applies_.push_back({{std::move(sorted), applied}, std::move(done)});
  if (applies_.size() == 1) later([this] { execute_apply(); });
}

void MemoryKvStore::execute_apply() {
  MemoryKvImage::Part& part = applies_.front().part;
  Result<void> result;
  const auto failure = [this]() -> std::optional<Error> {
    if (auto e = due(apply_failure_)) return e;
    const auto kind = options_.fails ? options_.fails() : std::nullopt;
    return kind ? std::optional(injected_error(*kind)) : std::nullopt;
  };
  if (poisoned_) {
    result = poisoned_error();
  } else if (auto e = failure()) {
    result = *std::move(e);
    poisoned_ = true;
    if (env_.random() % 2 == 0) image_->parts_.push_back(part);
  } else {
    Applied when_done = applied_;
    MemoryKvImage::redo(part, rows_, when_done);
    image_->parts_.push_back(part);
  }
  later([this, result = std::move(result)]() mutable { finish_apply(std::move(result)); });
}

void MemoryKvStore::finish_apply(Result<void> result) {
  ApplyCall call = std::move(applies_.front());
  applies_.pop_front();
  if (!applies_.empty()) later([this] { execute_apply(); });
  if (result && call.part.applied) {
    // Parts are executed one at a time, so that the image holds none behind this one.
    image_->make_durable(image_->parts_.size());
    applied_ = *call.part.applied;
  }
  call.done(std::move(result));
}

KvStore::Figures MemoryKvStore::figures() {
  Figures figures;
  for (const auto& [key, value] : rows_) figures.memory_bytes += key.size() + value.size();
  return figures;
}

}  // namespace perdure::store::testing
