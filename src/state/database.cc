#include "state/database.h"

#include <algorithm>

#include "base/planted_bug.h"

namespace perdure::state {

namespace {
constexpr size_t encode_rows_per_turn = 512;
constexpr size_t settle_per_turn = 512;
constexpr size_t part_rows = 512;
constexpr size_t parts_under_way_max = 4;
}  // namespace

TableBase::TableBase(Database& database, TableId id, const char* name, Residence residence)
    : database_(database), id_(id), name_(name), residence_(residence) {
  database.register_table(*this);
}

// The checkpoint under way: what has been encoded and not yet handed to the store, and how far the store is.
struct Database::Checkpoint {
  store::Applied applied;
  env::Done<store::Applied> done;
  env::Instant began;
  std::vector<store::Change> part;
  uint8_t next_table = 0;
  size_t parts_under_way = 0;
  bool durable = false;  // the frozen LSN is in the log
  bool all_encoded = false, last_sent = false, turn_posted = false;
};

Database::Database(env::Env& env, store::KvStore& store)
    : env_(env), store_(store), applied_lsn_(store.applied().lsn), frozen_lsn_(applied_lsn_) {}

Database::~Database() = default;

void Database::register_table(TableBase& table) {
  const auto id = static_cast<uint8_t>(table.id());
  CHECK(id < tables_.size() && tables_[id] == nullptr);
  tables_[id] = &table;
}

size_t Database::memory_bytes() const {
  size_t sum = 0;
  for (const TableBase* table : tables_) sum += table != nullptr ? table->memory_bytes() : 0;
  return sum;
}

// ------------------------------------------------------------------------------------------------
// restoration

namespace {

constexpr size_t load_rows_max = 16'384;  // of one scan

// Where the next scan begins behind this key: no key lies between.
ByteVector behind(Bytes key) {
  ByteVector next(key.begin(), key.end());
  next.push_back(std::byte{0});
  return next;
}

}  // namespace

void Database::load_resident(env::Done<void> done) {
  load_next_table(0, std::make_shared<env::Done<void>>(std::move(done)));
}

void Database::load_next_table(uint8_t id, std::shared_ptr<env::Done<void>> done) {
  while (id < tables_.size() && (tables_[id] == nullptr || tables_[id]->residence() != Residence::resident))
    ++id;
  if (id == tables_.size()) return (*done)({});
  load_rows(*tables_[id], ByteVector{std::byte{id}}, std::move(done));
}

// The next rows are read while these are taken in: the two take about as long. Once `done` has been told of
// a problem, it is null.
void Database::load_rows(TableBase& table, ByteVector from, std::shared_ptr<env::Done<void>> done) {
  const auto id = static_cast<uint8_t>(table.id());
  ByteVector last(64, std::byte{0xff});  // behind every key: they are shorter
  last[0] = std::byte{id};
  store_.scan(std::move(from), std::move(last), load_rows_max,
              [this, &table, id, done = std::move(done)](Result<store::KeyValues> rows) {
                if (!*done) return;
                if (!rows) return std::exchange(*done, nullptr)(std::move(rows).error());
                const bool more = rows->size() == load_rows_max;
                if (more) load_rows(table, behind(rows->back().first), done);
                for (const auto& [key, value] : *rows)
                  if (!table.load(key.subspan(1), value))
                    return std::exchange(*done, nullptr)(error(
                        ErrorKind::corrupt, "the checkpoint store holds an invalid {} row", table.name()));
                if (more) return;
                table.loaded();
                load_next_table(static_cast<uint8_t>(id + 1), done);
              });
}

Result<void> Database::redo(Bytes record, Lsn lsn) {
  std::string problem;
  next_tick();
  TRY(log::for_each_change(record, [&](const log::RowChange& change) {
    TableBase* t = table(change.table);
    const std::optional<Bytes> row = change.erased ? std::nullopt : std::optional(change.row);
    if (change.erased && planted("redo leaves out what was erased")) return;
    if (t == nullptr || !t->logged())
      problem = fmt::format("a row of the unknown table {}", change.table);
    else if (!t->redo(change.key, row, lsn))
      problem = fmt::format("an invalid {} row", t->name());
  }));
  if (!problem.empty()) return error(ErrorKind::corrupt, "log record at LSN {}: {}", lsn, problem);
  return {};
}

// -------------------------------------------------------------------------------------------------
// checkpoint

void Database::begin_checkpoint(env::Done<store::Applied> done) {
  CHECK(checkpoint_ == nullptr && commit_ != nullptr);
  checkpoint_ = std::make_unique<Checkpoint>();
  checkpoint_->applied = {commit_->next_lsn(), commit_->batch_start(), commit_->start()};
  checkpoint_->done = std::move(done);
  checkpoint_->began = env_.now();
  for (TableBase* table : tables_)
    if (table != nullptr && table->logged()) table->freeze();
  ++generation_;
  const Lsn lsn = frozen_lsn_ = checkpoint_->applied.lsn;
  const auto durable = [this] {
    checkpoint_->durable = true;
    continue_checkpoint();
  };
  if (planted("a checkpoint does not wait for the log")) return env_.post(durable);
  // In every home that it needs, so that no other blade's log can take it back; and in this blade's own.
  commit_->when_durable(lsn - Lsn(1), [this, lsn, durable] {
    if (commit_->stable_end() + Lsn(log::batch_header_bytes) >= lsn) return durable();
    commit_->when_stable(lsn - Lsn(1), durable);
  });
}

void Database::add_change(TableBase&, Encoder& key, std::optional<Bytes> row) {
  CHECK(checkpoint_ != nullptr && !checkpoint_->last_sent);
  store::Change& change = checkpoint_->part.emplace_back();
  change.key = key.copy();
  if (row) change.value = ByteVector(row->begin(), row->end());
  ++figures.rows_applied;
}

// One turn's share: encodes some rows and hands full parts over, as long as the store keeps up.
void Database::continue_checkpoint() {
  Checkpoint& c = *checkpoint_;
  c.turn_posted = false;
  if (!c.durable || c.last_sent) return;
  size_t budget = encode_rows_per_turn;
  while (!c.all_encoded && budget > 0 && c.parts_under_way < parts_under_way_max &&
         c.part.size() < part_rows) {
    if (c.next_table == tables_.size()) {
      c.all_encoded = true;
      break;
    }
    TableBase* table = tables_[c.next_table];
    if (table == nullptr || !table->logged() || !table->encode_frozen(std::min<size_t>(budget, 64)))
      ++c.next_table;
    budget -= std::min<size_t>(budget, 64);
  }
  const bool send = c.all_encoded || (c.part.size() >= part_rows && c.parts_under_way < parts_under_way_max);
  if (send) {
    std::vector<store::Change> part = std::exchange(c.part, {});
    std::sort(part.begin(), part.end(), [](const auto& a, const auto& b) { return a.key < b.key; });
    c.last_sent = c.all_encoded;
    ++c.parts_under_way;
    const bool says_so = c.last_sent || planted("a checkpoint counts as applied with its first part");
    store_.apply(std::move(part), says_so ? std::optional(c.applied) : std::nullopt,
                 [this, last = c.last_sent](Result<void> result) {
                   if (checkpoint_ == nullptr) return;  // an earlier part failed
                   Checkpoint& under_way = *checkpoint_;
                   if (!result || last) {
                     std::unique_ptr<Checkpoint> ended = std::move(checkpoint_);
                     if (!result) return ended->done(std::move(result).error());
                     applied_generation_ = generation_ - 1;
                     applied_lsn_ = ended->applied.lsn;
                     ++applied_count_;
                     ++figures.checkpoints;
                     figures.last_checkpoint = env_.now() - ended->began;
                     for (TableBase* table : tables_)
                       if (table != nullptr && table->logged()) table->applied();
                     settle();
                     return ended->done(ended->applied);
                   }
                   --under_way.parts_under_way;
                   if (!under_way.turn_posted) continue_checkpoint();
                 });
  }
  if (!c.last_sent && c.parts_under_way < parts_under_way_max && !c.turn_posted) {
    c.turn_posted = true;
    env_.post([this] { continue_checkpoint(); });
  }
}

// What a checkpoint leaves to be done, a portion in each turn.
void Database::settle() {
  for (TableBase* table : tables_) {
    if (table == nullptr || !table->logged() || !table->settle(settle_per_turn)) continue;
    env_.post([this] { settle(); });
    return;
  }
}

// ------------------------------------------------------------------------------------------------------
// memory

void Database::trim_memory(uint32_t oldest_fault) {
  const bool all = planted("what a faulted run needs is evicted");
  const size_t scan = all ? SIZE_MAX : 256;
  const size_t used = memory_bytes();
  if (used <= memory_limit_) return;
  const size_t enough = all ? SIZE_MAX : used - memory_limit_;
  // What the last runs touched stays as well, so that a table smaller than its working set is not emptied
  // blindly.
  const uint32_t limit = oldest_fault - std::min<uint32_t>(oldest_fault, 64);
  size_t tables_seen = 0;
  while (tables_seen < tables_.size()) {
    TableBase* table = tables_[evict_next_];
    if (table != nullptr && table->residence() == Residence::cached && table->evict(scan, limit, enough))
      return;
    evict_next_ = static_cast<uint8_t>((evict_next_ + 1U) % tables_.size());
    ++tables_seen;
  }
}

}  // namespace perdure::state
