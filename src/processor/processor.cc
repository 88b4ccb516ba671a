#include "processor/processor.h"

#include <algorithm>
#include <iterator>

#include "base/mark.h"
#include "base/planted_bug.h"

namespace perdure::processor {

Processor::Processor(env::Env& env, state::Database& database, Options options,
                     std::move_only_function<void(Error)> failed)
    : env_(env),
      database_(database),
      options_(options),
      failed_(std::move(failed)),
      transactions_(database),
      run_(database) {}

Processor::~Processor() = default;

bool Processor::admits() const {
  if (paused_) return false;
  if (planted("no room in the log is reserved")) return true;
  return database_.commit().room() > options_.log_reserve_bytes + reserved_bytes_;
}

bool Processor::admits_jobs() const {
  return database_.commit().room() > options_.log_reserve_bytes / 2 + reserved_bytes_;
}

void Processor::pause_requests(bool pause) {
  paused_ = pause;
  if (requests_wait()) env_.post([] {});  // another turn
}

void Processor::submit(std::unique_ptr<Transaction> transaction) {
  transaction->since_ = env_.now();
  if (transaction->kind() != Kind::compound)
    ready_.push_back(std::move(transaction));
  else if (executing_ != nullptr || resuming_ != 0 || requests_wait() || !admits())
    queued_.push_back(std::move(transaction));
  else
    execute(std::move(transaction));
}

void Processor::start(state::Run& run, std::unique_ptr<Transaction> transaction) {
  put_machine(run, *transaction);
  transaction->logged_ = true;
  run.on_commit([this, t = std::move(transaction)]() mutable {
    t->since_ = env_.now();
    ready_.push_back(std::move(t));
  });
}

void Processor::put_machine(state::Run& run, Transaction& transaction) {
  Encoder machine;
  transaction.encode_machine(machine);
  // One that was woken for nothing is as it was.
  const TransactionRow* old = run.changed() ? nullptr : transactions_.peek({transaction.id()});
  if (old != nullptr && std::ranges::equal(old->machine, machine.bytes())) return;
  transactions_.put(run, {transaction.id()}, {transaction.kind(), transaction.control(), machine.copy()});
}

void Processor::resume(TransactionId id) {
  if (executing_ != nullptr && executing_->id() == id) {
    executing_->resumed_ = true;
    return;
  }
  auto it = waiting_.find(id);
  if (it == waiting_.end()) return;
  go_on(std::move(it->second));
  waiting_.erase(it);
}

// What it has waited for, or was not in memory, is there. Many may be told so at once: a request that nobody
// depends on is admitted again, as if it had just come, or all of them together could fill the log.
void Processor::go_on(std::unique_ptr<Transaction> transaction) {
  const bool again = transaction->kind() == Kind::compound && transaction->reserved_ == 0;
  (again ? returned_ : ready_).push_back(std::move(transaction));
}

void Processor::reserve(Transaction& transaction, uint64_t bytes) {
  reserved_bytes_ += bytes - transaction.reserved_;
  transaction.reserved_ = bytes;
}

void Processor::execute(std::unique_ptr<Transaction> transaction) {
  CHECK(executing_ == nullptr);
  Transaction& t = *transaction;
  executing_ = &t;
  t.resumed_ = false;
  ++figures_.runs;
  run_.begin(t.id(), t.client(), env_.wall_time());
  const Progress progress = t.execute(run_);
  if (progress == Progress::faulted) {
    std::vector<state::Fetch> misses = run_.take_misses();
    if (t.fault_tick_ == 0) t.fault_tick_ = run_.tick();
    PERDURE_MARK("a run faults");
    if (t.logged_) PERDURE_MARK("a later run of a transaction faults");
    run_.abandon();
    t.rewind();
    executing_ = nullptr;
    ++figures_.faults;
    return fetch(std::move(transaction), std::move(misses));
  }
  t.fault_tick_ = 0;
  if (progress == Progress::waiting) {
    if (t.kind() != Kind::unlogged && (run_.changed() || t.logged_)) {
      PERDURE_MARK("a transaction waits, and its machine is logged");
      put_machine(run_, t);
      t.logged_ = true;
    }
  } else if (t.logged_) {
    transactions_.erase(run_, {t.id()});
  }
  run_.end_step(t.control());
  run_.set_client(t.client());
  const bool changed = run_.changed();
  // What earlier runs have seen, this reply may tell of.
  const Lsn release = t.release_ = std::max(t.release_, run_.commit());
  figures_.records += changed ? 1 : 0;
  t.keep();
  executing_ = nullptr;
  if (progress == Progress::waiting) {
    ++figures_.waits;
    reserve(t, t.log_bytes_ahead());
    if (t.resumed_)
      go_on(std::move(transaction));
    else
      waiting_.emplace(t.id(), std::move(transaction));
    return;
  }
  ++figures_.finished;
  reserve(t, 0);
  log::GroupCommit& log = database_.commit();
  if ((log.durable() > release && log.gate_open()) || planted("a reply leaves before the log is durable"))
    t.released();
  else
    log.when_durable(release, [t = std::move(transaction)] { t->released(); });
}

void Processor::fetch(std::unique_ptr<Transaction> transaction, std::vector<state::Fetch> misses) {
  CHECK(!misses.empty());
  const TransactionId id = transaction->id();
  faulted_.emplace(id, Faulted{std::move(transaction), misses.size()});
  for (state::Fetch& miss : misses) miss([this, id](Result<void> result) { fetched(id, std::move(result)); });
}

void Processor::fetched(TransactionId id, Result<void> result) {
  if (!result) PERDURE_MARK("a fetch fails");
  if (!result && failed_) return std::exchange(failed_, nullptr)(std::move(result).error());
  auto it = faulted_.find(id);
  if (it == faulted_.end() || --it->second.missing != 0) return;
  go_on(std::move(it->second.transaction));
  faulted_.erase(it);
}

void Processor::execute_admitted(std::deque<std::unique_ptr<Transaction>>& queue) {
  for (size_t n = queue.size(); n > 0 && !queue.empty() && admits(); --n) {
    std::unique_ptr<Transaction> next = std::move(queue.front());
    queue.pop_front();
    execute(std::move(next));
  }
}

void Processor::turn() {
  if (admits_jobs()) {
    std::ranges::move(postponed_, std::back_inserter(ready_));
    postponed_.clear();
  }
  // Only what is ready now: what becomes ready meanwhile has its turn next, so that the loop's sockets have
  // theirs.
  for (size_t n = ready_.size(); n > 0 && !ready_.empty(); --n) {
    std::unique_ptr<Transaction> next = std::move(ready_.front());
    ready_.pop_front();
    if (resuming_ != 0) --resuming_;
    const bool job = next->kind() == Kind::reclaim || next->kind() == Kind::expire_client ||
                     next->kind() == Kind::async_copy || next->kind() == Kind::lock_wait;
    if (job && !admits_jobs()) {
      PERDURE_MARK("a job waits for room in the log");
      postponed_.push_back(std::move(next));
    } else {
      execute(std::move(next));
    }
  }
  if (resuming_ == 0) {
    execute_admitted(returned_);
    if (returned_.empty()) execute_admitted(queued_);
  }
  if (requests_wait() && !admits() && !paused_) PERDURE_MARK("requests wait for room in the log");
  database_.commit().flush();
  if (!ready_.empty() || (requests_wait() && admits())) env_.post([] {});  // another turn
}

uint32_t Processor::oldest_fault_tick() const {
  const uint32_t now = database_.tick();
  if (planted("what a faulted run needs is evicted")) return now + 1000;
  uint32_t oldest = now;
  const auto consider = [&](const Transaction& t) {
    if (t.fault_tick_ != 0 && static_cast<int32_t>(t.fault_tick_ - oldest) < 0) oldest = t.fault_tick_;
  };
  for (const auto& [id, faulted] : faulted_) consider(*faulted.transaction);
  for (const auto* queue : {&ready_, &returned_, &postponed_})
    for (const auto& transaction : *queue) consider(*transaction);
  return oldest;
}

Result<size_t> Processor::restore() {
  size_t resumed = 0;
  Result<void> result;
  transactions_.for_each([&](const TransactionRow::Key& key, const TransactionRow& row) {
    auto factory = factories_.find(row.kind);
    std::unique_ptr<Transaction> transaction =
        factory == factories_.end() ? nullptr : factory->second(key.transaction, row.machine);
    if (transaction == nullptr) {
      result = error(ErrorKind::corrupt, "the machine of transaction {} cannot be read", key.transaction);
      return;
    }
    if (row.kind == Kind::compound) PERDURE_MARK("a COMPOUND is resumed");
    if (row.kind == Kind::reclaim) PERDURE_MARK("a reclaim is resumed");
    if (row.kind == Kind::expire_client) PERDURE_MARK("an expiry is resumed");
    if (row.kind == Kind::reclaim && planted("a reclaim is forgotten at a restart")) return;
    transaction->logged_ = true;
    transaction->since_ = env_.now();
    reserve(*transaction, transaction->log_bytes_ahead());
    ready_.push_back(std::move(transaction));
    ++resumed;
  });
  if (!result) return std::move(result).error();
  resuming_ = ready_.size();
  return resumed;
}

auto Processor::in_flight() const -> std::vector<InFlight> {
  std::vector<InFlight> all;
  const env::Instant now = env_.now();
  const auto add = [&](const Transaction& t, const char* state) {
    all.push_back({t.id(), t.kind(), t.control(), t.client(), now - t.since_, state});
  };
  for (const auto* queue : {&returned_, &queued_})
    for (const auto& t : *queue) add(*t, "queued");
  for (const auto& t : postponed_) add(*t, "postponed");
  for (const auto& t : ready_) add(*t, "ready");
  for (const auto& [id, faulted] : faulted_) add(*faulted.transaction, "fetching");
  for (const auto& [id, t] : waiting_) add(*t, "waiting");
  return all;
}

}  // namespace perdure::processor
