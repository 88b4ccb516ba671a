// The bodies of Table's member functions. Included by table.h only.
#pragma once

#include "base/planted_bug.h"
#include "state/database.h"

namespace perdure::state {

template <class Row>
auto Table<Row>::get(Run& run, const Key& key) -> Outcome<const Row*> {
  auto it = entries_.lower_bound(key);
  if (it == entries_.end() || it->first != key) {
    if (gap_before_is_known(it)) return nullptr;
    Encoder encoded;
    encoded.put(static_cast<uint8_t>(id()));
    encode_key(encoded, key);
    ByteVector& value = database_.scratch();
    switch (database_.store().try_get(encoded.bytes(), value)) {
      case store::KvStore::Hit::needs_io:
        miss_key(run, key);
        return Stop::fault();
      case store::KvStore::Hit::found:
        insert_fetched(key, Bytes(value), run.tick());
        break;
      case store::KvStore::Hit::absent:
        insert_fetched(key, std::nullopt, run.tick());
        return nullptr;
    }
    it = entries_.find(key);
    if (it == entries_.end()) return Status::io_error;  // not a row: insert_fetched has reported it
  }
  Entry& entry = it->second;
  if (entry.row != nullptr || !planted("an absence does not count as read")) run.observe(entry.lsn);
  entry.touched = run.tick();
  return entry.row.get();
}

template <class Row>
auto Table<Row>::search(Run& run, const Key& from, const Key& last, bool exclusive) -> Outcome<Found> {
  auto it = exclusive ? entries_.upper_bound(from) : entries_.lower_bound(from);
  Key known = from;            // all is known up to here
  bool at_known = !exclusive;  // and `known` itself is still to be looked at
  for (;;) {
    if (it == entries_.end() || it->first > last) {
      if (gap_before_is_known(it) || (!at_known && known == last)) return Found{};
      break;
    }
    const bool adjacent = at_known && it->first == known;
    if (!adjacent && !gap_before_is_known(it)) break;
    Entry& entry = it->second;
    if (entry.row != nullptr || !planted("an absence does not count as read")) run.observe(entry.lsn);
    entry.touched = run.tick();
    if (entry.row != nullptr) return Found{it->first, entry.row.get()};
    known = it->first;
    at_known = false;
    it = drop_settled(it);
  }
  miss_range(run, known, last);
  return Stop::fault();
}

// Passes a tombstone. One that is durable and that the store does not need is dropped, so that a range in
// which rows come and go is not searched through all the tombstones since the last checkpoint again and
// again.
template <class Row>
auto Table<Row>::drop_settled(typename Map::iterator it) -> typename Map::iterator {
  if (!complete_ || it->second.in_store || database_.commit().durable() <= it->second.lsn)
    return std::next(it);
  memory_bytes_ -= entry_bytes;
  return entries_.erase(it);
}

template <class Row>
void Table<Row>::put(Run& run, const Key& key, Row row) {
  change(run, key, std::make_unique<const Row>(std::move(row)), false);
}

template <class Row>
void Table<Row>::put_new(Run& run, const Key& key, Row row) {
  change(run, key, std::make_unique<const Row>(std::move(row)), true);
}

template <class Row>
void Table<Row>::erase(Run& run, const Key& key) {
  change(run, key, nullptr, false);
}

template <class Row>
void Table<Row>::change(Run& run, const Key& key, std::unique_ptr<const Row> row, bool fresh) {
  CHECK(run.active());
  auto it = entries_.lower_bound(key);
  const bool existed = it != entries_.end() && it->first == key;
  if (!existed) {
    if (row == nullptr && complete_) return;
    const bool known_absent = fresh || gap_before_is_known(it);
    it = insert_entry(it, key);
    it->second.in_store = !known_absent;
  }
  Entry& entry = it->second;
  if (existed) capture(key, entry);
  memory_bytes_ += memory(row.get());
  rows_ += items(row.get());
  rows_ -= items(entry.row.get());
  Change& c = changes_.emplace_back(Change{key, {}, existed, row.get()});
  c.old.row = std::exchange(entry.row, std::move(row));
  memory_bytes_ -= memory(c.old.row.get());
  c.old.lsn = entry.lsn;
  c.old.generation = entry.generation;
  c.old.touched = entry.touched;
  c.old.encoded = entry.encoded;
  c.old.in_store = entry.in_store;
  entry.touched = run.tick();
  if (logged()) {
    entry.lsn = run.lsn();
    if (entry.generation != database_.generation()) {
      entry.generation = database_.generation();
      dirty_.push_back(key);
    }
    entry.encoded = false;
  } else if (entry.row == nullptr) {
    entries_.erase(it);
    memory_bytes_ -= entry_bytes;
  }
  run.record_change(*this, logged());
}

// A row of the frozen generation changes before the checkpoint has come to it: the checkpoint gets it now.
template <class Row>
void Table<Row>::capture(const Key& key, Entry& entry) {
  if (!logged() || entry.encoded || entry.generation == database_.generation() ||
      entry.generation <= database_.applied_generation())
    return;
  entry.encoded = true;
  if (entry.row == nullptr) tombstones_.push_back(key);
  if (entry.row == nullptr && (!entry.in_store || planted("a checkpoint leaves out what was erased"))) return;
  Encoder encoded;
  encoded.put(static_cast<uint8_t>(id()));
  encode_key(encoded, key);
  if (entry.row == nullptr) {
    database_.add_change(*this, encoded, std::nullopt);
  } else {
    Encoder value;
    encode(value, *entry.row);
    database_.add_change(*this, encoded, value.bytes());
  }
  entry.in_store = entry.row != nullptr;
}

template <class Row>
void Table<Row>::undo_last() {
  Change c = std::move(changes_.back());
  changes_.pop_back();
  auto it = entries_.find(c.key);
  if (it != entries_.end()) {
    memory_bytes_ -= memory(it->second.row.get());
    rows_ -= items(it->second.row.get());
  }
  if (!c.existed) {
    if (it != entries_.end()) {
      it->second.row.reset();
      remove_entry(it);
    }
    return;
  }
  if (it == entries_.end()) {  // an unlogged row that had been erased
    it = insert_entry(entries_.lower_bound(c.key), c.key);
  }
  Entry& entry = it->second;
  memory_bytes_ += memory(c.old.row.get());
  rows_ += items(c.old.row.get());
  entry.row = std::move(c.old.row);
  entry.lsn = c.old.lsn;
  entry.generation = c.old.generation;
  entry.encoded = c.old.encoded;
  entry.in_store = c.old.in_store;
}

template <class Row>
void Table<Row>::encode_last_step(size_t count, log::RecordBuilder& record) {
  CHECK(count >= 1 && count <= changes_.size());
  if (!logged()) return;
  const Change& c = changes_[changes_.size() - count];
  if (c.now == nullptr) {
    Encoder key;
    encode_key(key, c.key);
    record.erase(static_cast<uint8_t>(id()), key.bytes());
    return;
  }
  record.begin_put(static_cast<uint8_t>(id()));
  encode_key(record.encoder(), c.key);
  record.key_done();
  encode(record.encoder(), *c.now);
  record.put_done();
}

// A new entry without a row. What was known about the gap that it splits is then known about both parts.
template <class Row>
auto Table<Row>::insert_entry(typename Map::iterator hint, const Key& key) -> typename Map::iterator {
  const bool known = gap_before_is_known(hint);
  auto it = entries_.emplace_hint(hint, key, Entry{});
  it->second.gap_known = known;
  memory_bytes_ += entry_bytes;
  return it;
}

// Of an entry whose row is absent in the store too, or whose row the store has (eviction).
template <class Row>
void Table<Row>::remove_entry(typename Map::iterator it) {
  const bool present = it->second.row != nullptr;
  const bool known = it->second.gap_known && !present && !it->second.in_store;
  memory_bytes_ -= entry_bytes + memory(it->second.row.get());
  rows_ -= items(it->second.row.get());
  auto next = entries_.erase(it);
  if (next != entries_.end()) next->second.gap_known = next->second.gap_known && known;
}

template <class Row>
void Table<Row>::known_empty(const Key& from, const Key& last) {
  if (complete_) return;
  for (const Key* key : {&from, &last}) {
    auto it = entries_.lower_bound(*key);
    if (it == entries_.end() || it->first != *key) it = insert_entry(it, *key);
    CHECK(it->second.row == nullptr);
    it->second.touched = database_.tick();
  }
  auto it = entries_.upper_bound(from);
  for (; it != entries_.end() && it->first <= last; ++it) it->second.gap_known = true;
}

template <class Row>
void Table<Row>::insert_fetched(const Key& key, std::optional<Bytes> value, uint32_t tick) {
  auto it = entries_.lower_bound(key);
  if (it == entries_.end() || it->first != key) insert_fetched(it, key, value, tick);
}

// Before `it`. False: these bytes are no row.
template <class Row>
bool Table<Row>::insert_fetched(typename Map::iterator it, const Key& key, std::optional<Bytes> value,
                                uint32_t tick) {
  std::unique_ptr<Row> row;
  if (value) {
    row = std::make_unique<Row>();
    if (!decode(*value, *row)) return false;
  }
  it = insert_entry(it, key);
  it->second.touched = tick;
  it->second.in_store = row != nullptr;
  memory_bytes_ += memory(row.get());
  rows_ += items(row.get());
  it->second.row = std::move(row);
  return true;
}

template <class Row>
void Table<Row>::miss_key(Run& run, const Key& key) {
  run.miss([this, key, tick = run.tick()](env::Done<void> done) { fetch_key(key, tick, std::move(done)); });
}

template <class Row>
void Table<Row>::miss_range(Run& run, const Key& from, const Key& last) {
  run.miss([this, from, last, tick = run.tick()](env::Done<void> done) {
    fetch_range(from, last, tick, std::move(done));
  });
}

template <class Row>
void Table<Row>::fetch_key(Key key, uint32_t tick, env::Done<void> done) {
  Encoder encoded;
  encoded.put(static_cast<uint8_t>(id()));
  encode_key(encoded, key);
  ++database_.figures.faults;
  database_.store().get(
      encoded.copy(), [this, key, tick, done = std::move(done), started = database_.applied_count()](
                          Result<std::optional<ByteVector>> result) mutable {
        if (!result) return done(std::move(result).error());
        if (database_.applied_count() != started && !planted("a fetch is not repeated after a checkpoint"))
          return fetch_key(key, tick, std::move(done));
        if (!result->has_value()) {
          insert_fetched(key, std::nullopt, tick);
        } else {
          insert_fetched(key, Bytes(**result), tick);
          if (entries_.find(key) == entries_.end())
            return done(error(ErrorKind::corrupt, "the checkpoint store holds an invalid {} row", name()));
        }
        done({});
      });
}

template <class Row>
void Table<Row>::fetch_range(Key from, Key last, uint32_t tick, env::Done<void> done) {
  static constexpr size_t rows_max = 512;
  Encoder first_key, last_key;
  for (auto [encoder, key] : {std::pair{&first_key, &from}, std::pair{&last_key, &last}}) {
    encoder->put(static_cast<uint8_t>(id()));
    encode_key(*encoder, *key);
  }
  ++database_.figures.faults;
  database_.store().scan(
      first_key.copy(), last_key.copy(), rows_max,
      [this, from, last, tick, done = std::move(done),
       started = database_.applied_count()](Result<store::KeyValues> result) mutable {
        if (!result) return done(std::move(result).error());
        if (database_.applied_count() != started && !planted("a fetch is not repeated after a checkpoint"))
          return fetch_range(from, last, tick, std::move(done));
        Key end = last;
        for (const auto& [key_bytes, value] : *result) {
          Key key;
          if (!decode_key(key_bytes.subspan(1), key))
            return done(error(ErrorKind::corrupt, "the checkpoint store holds an invalid {} key", name()));
          insert_fetched(key, value, tick);
          if (entries_.find(key) == entries_.end())
            return done(error(ErrorKind::corrupt, "the checkpoint store holds an invalid {} row", name()));
          if (result->size() == rows_max) end = key;
        }
        // The store has nothing in from..end but what is in memory now. Markers at both ends keep that
        // knowledge.
        for (const Key& key : {from, end}) insert_fetched(key, std::nullopt, tick);
        for (auto it = entries_.upper_bound(from); it != entries_.end() && it->first <= end; ++it) {
          it->second.gap_known = true;
          it->second.touched = tick;
        }
        done({});
      });
}

template <class Row>
void Table<Row>::freeze() {
  CHECK(frozen_.empty() && changes_.empty());
  std::swap(dirty_, frozen_);
  frozen_next_ = 0;
}

template <class Row>
bool Table<Row>::encode_frozen(size_t budget) {
  for (; budget > 0 && frozen_next_ < frozen_.size(); --budget, ++frozen_next_) {
    auto it = entries_.find(frozen_[frozen_next_]);
    if (it != entries_.end()) capture(it->first, it->second);
  }
  return frozen_next_ < frozen_.size();
}

// What was frozen is in the store now. Tombstones have done their duty.
template <class Row>
void Table<Row>::applied() {
  settled_.insert(settled_.end(), tombstones_.begin(), tombstones_.end());
  tombstones_.clear();
  frozen_.clear();
}

template <class Row>
bool Table<Row>::settle(size_t budget) {
  for (; budget > 0 && !settled_.empty(); --budget) {
    const Key key = settled_.back();
    settled_.pop_back();
    auto it = entries_.find(key);
    if (it == entries_.end() || it->second.row != nullptr) continue;
    if (it->second.generation <= database_.applied_generation()) {
      it->second.in_store = false;
      remove_entry(it);
    }
  }
  if (settled_.empty()) settled_.shrink_to_fit();
  return !settled_.empty();
}

template <class Row>
bool Table<Row>::evict(size_t scan, uint32_t tick_limit, size_t enough) {
  if (residence() != Residence::cached) return false;
  const size_t goal = memory_bytes_ > enough ? memory_bytes_ - enough : 0;
  auto it = hand_ ? entries_.lower_bound(*hand_) : entries_.begin();
  for (; scan > 0 && it != entries_.end() && memory_bytes_ > goal; --scan) {
    const Entry& entry = it->second;
    const bool clean = entry.generation <= database_.applied_generation();
    const bool unused = static_cast<int32_t>(entry.touched - tick_limit) < 0;
    if (clean && unused) {
      const Key key = it->first;
      remove_entry(it);
      it = entries_.upper_bound(key);
    } else {
      ++it;
    }
  }
  if (it == entries_.end()) {
    hand_.reset();
    return false;
  }
  hand_ = it->first;
  return true;
}

template <class Row>
bool Table<Row>::load(Bytes key_bytes, Bytes row_bytes) {
  Key key;
  if (!decode_key(key_bytes, key)) return false;
  // They come in order.
  auto hint = entries_.end();
  if (!entries_.empty() && !(std::prev(hint)->first < key)) return false;
  return insert_fetched(hint, key, row_bytes, 0);
}

template <class Row>
bool Table<Row>::redo(Bytes key_bytes, std::optional<Bytes> row_bytes, Lsn lsn) {
  Key key;
  if (!decode_key(key_bytes, key)) return false;
  std::unique_ptr<Row> row;
  if (row_bytes) {
    row = std::make_unique<Row>();
    if (!decode(*row_bytes, *row)) return false;
  }
  auto it = entries_.lower_bound(key);
  if (it == entries_.end() || it->first != key) {
    const bool known_absent = gap_before_is_known(it);
    it = insert_entry(it, key);
    it->second.in_store = !known_absent;
  } else {
    capture(key, it->second);
  }
  Entry& entry = it->second;
  rows_ += items(row.get());
  rows_ -= items(entry.row.get());
  memory_bytes_ += memory(row.get());
  memory_bytes_ -= memory(entry.row.get());
  entry.row = std::move(row);
  entry.lsn = lsn;
  entry.touched = database_.tick();
  entry.encoded = false;
  if (entry.generation != database_.generation()) {
    entry.generation = database_.generation();
    dirty_.push_back(key);
  }
  return true;
}

template <class Row>
std::string Table<Row>::describe_row(Bytes key_bytes, std::optional<Bytes> row_bytes) const {
  Key key;
  if (!decode_key(key_bytes, key)) return "invalid key";
  std::string out = describe(key);
  if (!row_bytes) return out;
  Row row;
  return out + ": " + (decode(*row_bytes, row) ? describe(row) : "invalid row");
}

}  // namespace perdure::state
