#include "log/group_commit.h"

#include <algorithm>

#include "base/planted_bug.h"
#include "log/aligned_buffer.h"

namespace perdure::log {

// Shared with the writes under way, whose buffers must outlive it.
class GroupCommit::Impl : public std::enable_shared_from_this<Impl> {
 public:
  Impl(env::Env& env, LogRing* ring, Epoch epoch, std::move_only_function<void(Error)> failed)
      : env_(env), ring_(ring), epoch_(epoch), failed_(std::move(failed)) {
    read_end_ = stable_end_ = durable_end_ = ring != nullptr ? ring->position() : Lsn(0);
    bytes_full_ = ring != nullptr ? std::min(batch_bytes_full, ring->capacity() / 4) : UINT64_MAX;
    open_batch(stable_end_);
  }

  Epoch epoch() const { return epoch_; }
  void set_epoch(Epoch epoch) { epoch_ = epoch; }
  StartNumber start() const { return ring_ != nullptr ? ring_->start_number() : StartNumber(0); }
  Lsn next_lsn() const { return filling().next_record(); }
  Lsn batch_start() const { return filling().start; }
  Lsn durable() const { return durable_end_ + Lsn(batch_header_bytes); }
  Lsn stable_end() const { return stable_end_; }
  const Figures& figures() const { return figures_; }
  void detach() { detached_ = true; }

  Lsn append(Bytes record);
  void append_batch(Bytes payload, uint64_t records, Epoch epoch);
  void flush();
  void when_durable(Lsn lsn, env::Task task);
  void when_stable(Lsn lsn, env::Task task);
  std::optional<BatchView> closed_batch(Lsn lsn) const;
  void require(Homes homes);
  env::Duration write_age() const;
  void mirrored(Lsn end);
  void doubt(Lsn end) {
    CHECK(durable_end_ == read_end_ && batches_.size() == 1 && end <= read_end_);
    durable_end_ = end;
  }
  void set_gate(std::function<bool()> open) { gate_ = std::move(open); }
  bool gate_open() const { return !gate_ || gate_(); }
  uint64_t room() const;

 private:
  // One batch, from its first record until every home has it. Used again afterwards, with its memory.
  struct Batch {
    Lsn start;
    Epoch epoch;
    uint64_t records = 0;
    uint64_t payload_bytes = 0;
    env::Instant write_began;
    AlignedBuffer memory;
    std::vector<env::Task> waiters, stable_waiters;

    Lsn first_record() const { return start + Lsn(batch_header_bytes); }
    Lsn next_record() const { return first_record() + Lsn(payload_bytes); }
    Lsn end() const { return records == 0 ? start : start + Lsn(batch_bytes(payload_bytes)); }
  };

  // Nearly always the last or the one before. A position in a batch's header belongs to the batch before.
  Batch& batch_of(Lsn lsn) {
    auto batch = batches_.rbegin();
    while (lsn < (*batch)->first_record()) ++batch;
    return **batch;
  }
  Batch& filling() { return *batches_.back(); }
  const Batch& filling() const { return *batches_.back(); }
  void open_batch(Lsn start);
  void close_batch();
  bool may_write() const;
  void start_write();
  void written(Result<Lsn> end);
  void advance();
  void run(std::vector<env::Task>& tasks);
  void tell(std::vector<env::Task>& tasks);

  env::Env& env_;
  LogRing* ring_;
  Epoch epoch_;
  std::move_only_function<void(Error)> failed_;
  std::function<bool()> gate_;
  bool stopped_ = false, detached_ = false;
  uint64_t bytes_full_;

  // Up to where each home has everything, and what follows from it.
  Homes required_;
  Lsn read_end_, stable_end_, mirror_end_, durable_end_;
  std::vector<env::Task> read_waiters_;  // for what is before read_end_

  // In the order of the log. The first ones are stable, the next ones are being written, the last one fills,
  // and those between wait. Of the stable ones those remain that the mirror lacks; of all of them the first
  // `durable_` are durable.
  std::deque<std::unique_ptr<Batch>> batches_;
  size_t stable_ = 0, handed_over_ = 0, durable_ = 0;
  std::vector<std::unique_ptr<Batch>> unused_;
  std::vector<env::Task> due_;   // for records that were durable already
  std::vector<env::Task> held_;  // by the gate
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
  if (batch.payload_bytes >= bytes_full_) close_batch();
  return lsn;
}

void GroupCommit::Impl::append_batch(Bytes payload, uint64_t records, Epoch epoch) {
  Batch& batch = filling();
  CHECK(batch.records == 0 && records != 0 && !payload.empty() && ring_ != nullptr);
  batch.memory.reserve(batch_bytes(payload.size()), 0);
  std::memcpy(batch.memory.data() + batch_header_bytes, payload.data(), payload.size());
  batch.records = records;
  batch.payload_bytes = payload.size();
  epoch_ = epoch;
  close_batch();
}

void GroupCommit::Impl::open_batch(Lsn start) {
  if (unused_.empty()) unused_.push_back(std::make_unique<Batch>());
  batches_.push_back(std::move(unused_.back()));
  unused_.pop_back();
  Batch& batch = filling();
  batch.start = start;
  batch.records = batch.payload_bytes = 0;
  CHECK(batch.waiters.empty() && batch.stable_waiters.empty());
}

// The batch takes no more records, and the next one fills.
void GroupCommit::Impl::close_batch() {
  Batch& batch = filling();
  CHECK(ring_ == nullptr || batch_bytes(batch.payload_bytes) <= ring_->capacity());
  batch.epoch = epoch_;
  open_batch(batch.end());
}

void GroupCommit::Impl::flush() {
  if (stopped_) return;
  if (gate_open()) {
    run(held_);
    run(due_);
  }
  if (ring_ != nullptr) {
    while (!stopped_ && may_write()) start_write();
  } else if (!stopped_ && filling().records != 0) {
    close_batch();
    stable_ = ++handed_over_;
    stable_end_ = filling().start;
    advance();
  }
}

// Whether the next batch has records, and the log can take it: otherwise it fills on until a write has ended
// or the tail has moved.
bool GroupCommit::Impl::may_write() const {
  const Batch& next = *batches_[handed_over_];
  const size_t under_way = handed_over_ - stable_;
  if (next.records == 0 || under_way >= log_writes_max) return false;
  const uint64_t bytes = batch_bytes(next.payload_bytes);
  return bytes <= ring_->room() && (under_way == 0 || ring_->in_flight() + bytes <= in_flight_bytes_max);
}

void GroupCommit::Impl::start_write() {
  Batch& batch = *batches_[handed_over_];
  CHECK(batch.start == ring_->position());
  if (&batch == &filling()) close_batch();
  ++handed_over_;
  batch.write_began = env_.now();
  ring_->write(batch.memory.first(batch_bytes(batch.payload_bytes)),
               static_cast<uint32_t>(batch.payload_bytes), batch.epoch,
               [self = shared_from_this()](Result<Lsn> end) { self->written(std::move(end)); });
}

void GroupCommit::Impl::written(Result<Lsn> end) {
  if (detached_ || stopped_) return;
  if (!end) {
    stopped_ = true;
    failed_(std::move(end).error());
    return;
  }
  stable_end_ =
      planted("a batch is durable before those in front of it") ? batches_[handed_over_ - 1]->end() : *end;
  while (stable_ < handed_over_ && batches_[stable_]->end() <= stable_end_) {
    Batch& batch = *batches_[stable_++];
    figures_.write_time += env_.now() - batch.write_began;
    run(batch.stable_waiters);
  }
  advance();
}

env::Duration GroupCommit::Impl::write_age() const {
  return stable_ < handed_over_ ? env_.now() - batches_[stable_]->write_began : env::Duration();
}

void GroupCommit::Impl::require(Homes homes) {
  CHECK(homes.ring || homes.mirror);
  required_ = homes;
  advance();
}

void GroupCommit::Impl::mirrored(Lsn end) {
  CHECK(end <= filling().start);
  mirror_end_ = end;
  advance();
}

// Some home got further: what all of the required ones have is durable.
void GroupCommit::Impl::advance() {
  Lsn end = filling().start;
  if (required_.ring) end = std::min(end, stable_end_);
  if (required_.mirror) end = std::min(end, mirror_end_);
  durable_end_ = std::max(durable_end_, end);  // a mirror that joins may have less
  if (durable_end_ >= read_end_ && !read_waiters_.empty()) tell(read_waiters_);
  while (!stopped_ && !detached_ && durable_ + 1 < batches_.size() &&
         batches_[durable_]->end() <= durable_end_) {
    Batch& batch = *batches_[durable_++];
    figures_.records += batch.records;
    figures_.batches += 1;
    figures_.bytes += (batch.end() - batch.start).value;
    tell(batch.waiters);
  }
  while (stable_ != 0 && durable_ != 0 && (!required_.mirror || batches_.front()->end() <= mirror_end_)) {
    unused_.push_back(std::move(batches_.front()));
    batches_.pop_front();
    --stable_, --handed_over_, --durable_;
  }
}

// Runs the tasks, or keeps them while the gate is closed.
void GroupCommit::Impl::tell(std::vector<env::Task>& tasks) {
  if (!held_.empty() || !gate_open()) {
    for (env::Task& task : tasks) held_.push_back(std::move(task));
    tasks.clear();
  } else {
    run(tasks);
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
  if (lsn < read_end_ + Lsn(batch_header_bytes))
    read_waiters_.push_back(std::move(task));
  else
    batch_of(lsn).waiters.push_back(std::move(task));
}

void GroupCommit::Impl::when_stable(Lsn lsn, env::Task task) {
  CHECK(lsn < next_lsn());
  if (lsn < stable_end_ + Lsn(batch_header_bytes)) return env_.post(std::move(task));
  batch_of(lsn).stable_waiters.push_back(std::move(task));
}

std::optional<GroupCommit::BatchView> GroupCommit::Impl::closed_batch(Lsn lsn) const {
  const auto at = std::ranges::lower_bound(batches_, lsn, {}, [](const auto& b) { return b->start; });
  if (at == batches_.end() || at + 1 == batches_.end() || (*at)->start != lsn) return std::nullopt;
  Batch& batch = **at;
  return BatchView{batch.start, batch.end(), batch.epoch, batch.records,
                   batch.memory.first(batch_header_bytes + batch.payload_bytes).subspan(batch_header_bytes)};
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
void GroupCommit::set_epoch(Epoch epoch) {
  impl_->set_epoch(epoch);
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
void GroupCommit::append_batch(Bytes payload, uint64_t records, Epoch epoch) {
  impl_->append_batch(payload, records, epoch);
}
std::optional<GroupCommit::BatchView> GroupCommit::closed_batch(Lsn lsn) const {
  return impl_->closed_batch(lsn);
}
void GroupCommit::require(Homes homes) {
  impl_->require(homes);
}
void GroupCommit::mirrored(Lsn end) {
  impl_->mirrored(end);
}
void GroupCommit::doubt(Lsn end) {
  impl_->doubt(end);
}
env::Duration GroupCommit::write_age() const {
  return impl_->write_age();
}

Lsn GroupCommit::stable_end() const {
  return impl_->stable_end();
}
void GroupCommit::when_stable(Lsn lsn, env::Task task) {
  impl_->when_stable(lsn, std::move(task));
}
void GroupCommit::set_gate(std::function<bool()> open) {
  impl_->set_gate(std::move(open));
}
bool GroupCommit::gate_open() const {
  return impl_->gate_open();
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
