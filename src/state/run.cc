#include "state/run.h"

#include "state/database.h"

namespace perdure::state {

Run::Run(Database& database) : database_(database) {}

void Run::begin(TransactionId transaction, uint64_t client, env::WallTime now) {
  CHECK(!active_ && changes_.empty() && commit_tasks_.empty() && misses_.empty());
  active_ = true;
  transaction_ = transaction;
  now_ = now;
  lsn_ = database_.commit().next_lsn();
  seen_ = Lsn(0);
  tick_ = database_.next_tick();
  step_begin_ = logged_changes_ = 0;
  record_.begin(transaction, client, now.time_since_epoch().count());
}

void Run::end_step(const log::ControlValues& control) {
  record_.begin_step(control);
  // A table keeps its own changes of this run in order: count from the end which of them each of ours is.
  counts_.clear();
  auto count_of = [this](TableBase* table) -> size_t& {
    for (auto& [t, n] : counts_)
      if (t == table) return n;
    return counts_.emplace_back(table, 0).second;
  };
  for (size_t i = step_begin_; i < changes_.size(); ++i)
    if (changes_[i].table != nullptr) ++count_of(changes_[i].table);
  for (size_t i = step_begin_; i < changes_.size(); ++i) {
    if (TableBase* table = changes_[i].table) table->encode_last_step(count_of(table)--, record_);
  }
  step_begin_ = changes_.size();
}

void Run::rollback(Savepoint savepoint) {
  const auto size = static_cast<size_t>(savepoint);
  CHECK(active_ && size >= step_begin_);
  while (changes_.size() > size) {
    Change change = std::move(changes_.back());
    changes_.pop_back();
    if (change.table != nullptr) {
      change.table->undo_last();
      logged_changes_ -= change.table->logged() ? 1 : 0;
    } else if (change.undo) {
      change.undo();
    } else {
      commit_tasks_.pop_back();
    }
  }
}

Lsn Run::commit() {
  CHECK(active_ && step_begin_ == changes_.size());
  Lsn release = seen_;
  if (record_.has_changes()) {
    release = database_.commit().append(record_.finish(lsn_, database_.commit().epoch()));
    CHECK(release == lsn_);
  }
  std::vector<env::Task> tasks = std::exchange(commit_tasks_, {});
  finish();
  for (env::Task& task : tasks) task();
  return release;
}

void Run::abandon() {
  step_begin_ = 0;
  rollback(Savepoint{0});
  CHECK(commit_tasks_.empty());
  finish();
}

void Run::on_commit(env::Task task) {
  changes_.push_back({nullptr, nullptr});
  commit_tasks_.push_back(std::move(task));
}

void Run::on_undo(env::Task task) {
  changes_.push_back({nullptr, std::move(task)});
}

void Run::finish() {
  for (const Change& change : changes_)
    if (change.table != nullptr) change.table->forget_changes();
  changes_.clear();
  active_ = false;
}

}  // namespace perdure::state
