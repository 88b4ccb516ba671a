#include "log/group_commit.h"

#include "base/planted_bug.h"
#include "log/aligned_buffer.h"

namespace perdure::log {

// Shared with the write under way, whose buffer must outlive it.
class GroupCommit::Impl : public std::enable_shared_from_this<Impl> {
 public:
  Impl(env::Env& env, LogRing* ring, Epoch epoch, std::move_only_function<void(Error)> failed)
      : env_(env), ring_(ring), epoch_(epoch), failed_(std::move(failed)) {
    local_ = ring != nullptr ? ring->position() : Lsn(0);
    bytes_full_ = ring != nullptr ? std::min(batch_bytes_full, ring->capacity() / 4) : UINT64_MAX;
    open_batch(local_);
  }

  Epoch epoch() const { return epoch_; }
  StartNumber start() const { return ring_ != nullptr ? ring_->start_number() : StartNumber(0); }
  Lsn next_lsn() const { return filling().next_record(); }
  Lsn batch_start() const { return filling().start; }
  Lsn durable() const { return batches_.front()->first_record(); }
  const Figures& figures() const { return figures_; }
  void detach() { detached_ = true; }

  Lsn append(Bytes record);
  void flush();
  void when_durable(Lsn lsn, env::Task task);
  uint64_t room() const;

 private:
  // One batch, from its first record until it is durable. Used again afterwards, with its memory.
  struct Batch {
    Lsn start;
    uint64_t records = 0;
    uint64_t payload_bytes = 0;
    env::Instant write_began;
    AlignedBuffer memory;
    std::vector<env::Task> waiters;

    Lsn first_record() const { return start + Lsn(batch_header_bytes); }
    Lsn next_record() const { return first_record() + Lsn(payload_bytes); }
    Lsn end() const { return records == 0 ? start : start + Lsn(batch_bytes(payload_bytes)); }
  };

  Batch& filling() { return *batches_.back(); }
  const Batch& filling() const { return *batches_.back(); }
  void open_batch(Lsn start);
  bool may_write() const;
  void start_write();
  void written(Result<Lsn> end);
  void advance();
  void run(std::vector<env::Task>& tasks);

  env::Env& env_;
  LogRing* ring_;
  Epoch epoch_;
  std::move_only_function<void(Error)> failed_;
  bool stopped_ = false, detached_ = false;
  uint64_t bytes_full_;

  // The sinks: up to where each has everything on stable storage. Durable is the least of them.
  Lsn local_;

  // In the order of the log. The first `handed_over_` are with the sinks, the last one fills, and those
  // between are full.
  std::deque<std::unique_ptr<Batch>> batches_;
  size_t handed_over_ = 0;
  std::vector<std::unique_ptr<Batch>> unused_;
  std::vector<env::Task> due_;  // for records that were durable already
  Figures figures_;
};

Lsn GroupCommit::Impl::append(Bytes record) {
  CHECK(!record.empty() && record.size() <= record_bytes_max);
  Batch& batch = filling();
  const Lsn lsn = batch.next_record();
  const size_t bytes = aligned_record_bytes(record.size());
  if (ring_ != nullptr) {
    const size_t at = batch_header_bytes + batch.payload_bytes;
    batch.memory.reserve(batch_bytes(batch.payload_bytes + bytes), at);
    std::memcpy(batch.memory.data() + at, record.data(), record.size());
    std::memset(batch.memory.data() + at + record.size(), 0, bytes - record.size());
  }
  ++batch.records;
  batch.payload_bytes += bytes;
  if (batch.payload_bytes >= bytes_full_) {
    CHECK(batch_bytes(batch.payload_bytes) <= ring_->capacity());
    open_batch(batch.end());
  }
  return lsn;
}

void GroupCommit::Impl::open_batch(Lsn start) {
  if (unused_.empty()) unused_.push_back(std::make_unique<Batch>());
  batches_.push_back(std::move(unused_.back()));
  unused_.pop_back();
  Batch& batch = filling();
  batch.start = start;
  batch.records = batch.payload_bytes = 0;
  CHECK(batch.waiters.empty());
}

void GroupCommit::Impl::flush() {
  if (stopped_) return;
  run(due_);
  if (ring_ != nullptr) {
    while (!stopped_ && may_write()) start_write();
  } else if (!stopped_ && filling().records != 0) {
    open_batch(filling().end());
    ++handed_over_;
    local_ = filling().start;
    advance();
  }
}

// Whether the next batch has records, and the log can take it: otherwise it fills on until a write has ended
// or the tail has moved.
bool GroupCommit::Impl::may_write() const {
  const Batch& next = *batches_[handed_over_];
  if (next.records == 0 || handed_over_ >= log_writes_max) return false;
  const uint64_t bytes = batch_bytes(next.payload_bytes);
  return bytes <= ring_->room() && (handed_over_ == 0 || ring_->in_flight() + bytes <= in_flight_bytes_max);
}

void GroupCommit::Impl::start_write() {
  Batch& batch = *batches_[handed_over_];
  CHECK(batch.start == ring_->position());
  if (&batch == &filling()) open_batch(batch.end());
  ++handed_over_;
  batch.write_began = env_.now();
  ring_->write(batch.memory.first(batch_bytes(batch.payload_bytes)),
               static_cast<uint32_t>(batch.payload_bytes), epoch_,
               [self = shared_from_this()](Result<Lsn> end) { self->written(std::move(end)); });
}

void GroupCommit::Impl::written(Result<Lsn> end) {
  if (detached_ || stopped_) return;
  if (!end) {
    stopped_ = true;
    failed_(std::move(end).error());
    return;
  }
  local_ =
      planted("a batch is durable before those in front of it") ? batches_[handed_over_ - 1]->end() : *end;
  advance();
}

// Some sink got further: what all of them have is durable.
void GroupCommit::Impl::advance() {
  const Lsn durable_end = local_;
  while (handed_over_ != 0 && batches_.front()->end() <= durable_end) {
    std::unique_ptr<Batch> batch = std::move(batches_.front());
    batches_.pop_front();
    --handed_over_;
    figures_.records += batch->records;
    figures_.batches += 1;
    figures_.bytes += (batch->end() - batch->start).value;
    if (ring_ != nullptr) figures_.write_time += env_.now() - batch->write_began;
    run(batch->waiters);
    unused_.push_back(std::move(batch));
  }
}

// Runs and removes the tasks. They may call us, and add to `tasks`: what is added runs another time.
void GroupCommit::Impl::run(std::vector<env::Task>& tasks) {
  std::vector<env::Task> now = std::exchange(tasks, {});
  for (env::Task& task : now) {
    if (stopped_ || detached_) return;
    task();
  }
  now.clear();
  if (tasks.empty()) tasks = std::move(now);  // its memory
}

void GroupCommit::Impl::when_durable(Lsn lsn, env::Task task) {
  CHECK(lsn < next_lsn());
  if (lsn < durable()) {
    due_.push_back(std::move(task));
    return;
  }
  // Nearly always the last or the one before. A position in a batch's header belongs to the batch before.
  auto batch = batches_.rbegin();
  while (lsn < (*batch)->first_record()) ++batch;
  (*batch)->waiters.push_back(std::move(task));
}

uint64_t GroupCommit::Impl::room() const {
  if (ring_ == nullptr) return UINT64_MAX;
  const uint64_t used = (filling().end() - ring_->tail()).value;
  return used < ring_->capacity() ? ring_->capacity() - used : 0;
}

GroupCommit::GroupCommit(env::Env& env, LogRing* ring, Epoch epoch,
                         std::move_only_function<void(Error)> failed)
    : impl_(std::make_shared<Impl>(env, ring, epoch, std::move(failed))) {}
GroupCommit::~GroupCommit() {
  impl_->detach();
}

Epoch GroupCommit::epoch() const {
  return impl_->epoch();
}
StartNumber GroupCommit::start() const {
  return impl_->start();
}
Lsn GroupCommit::next_lsn() const {
  return impl_->next_lsn();
}
Lsn GroupCommit::append(Bytes record) {
  return impl_->append(record);
}
void GroupCommit::flush() {
  impl_->flush();
}
Lsn GroupCommit::durable() const {
  return impl_->durable();
}
void GroupCommit::when_durable(Lsn lsn, env::Task task) {
  impl_->when_durable(lsn, std::move(task));
}
uint64_t GroupCommit::room() const {
  return impl_->room();
}
Lsn GroupCommit::batch_start() const {
  return impl_->batch_start();
}
const GroupCommit::Figures& GroupCommit::figures() const {
  return impl_->figures();
}

}  // namespace perdure::log
