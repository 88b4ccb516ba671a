// Table: the only way to durable state. Typed rows under fixed keys, ordered, in one B-tree per table.
//
// A row type looks like this:
//
//   struct InodeRow {
//     static constexpr TableId table = TableId::inode;
//     static constexpr Residence residence = Residence::cached;
//     static constexpr const char* name = "inode";
//     struct Key { InodeId inode; auto operator<=>(const Key&) const = default; fields(...) };
//     ... plain members, fields(...) (codec.h), heap_bytes() if it owns memory beyond sizeof, and items() if
//     size() shall count what is in the rows
//   };
//
// One tree holds what changed since the last checkpoint (the overlay) and what was read from the store (the
// cache): each entry knows the checkpoint generation that last changed it, and whether the gap before it is
// known to be empty. So a lookup is one search, an absent row or an empty range is known without I/O once it
// was read, and a checkpoint freezes the overlay by counting the generation up.
//
// Invariants:
//   entry.generation > applied generation  <=>  the entry is not yet in the store, and must stay in memory
//   entry.gap_known  =>  the store has no row between the previous entry and this one
//   an absent row is an entry without a row (tombstone or marker), or lies in a known gap, or the table is
//   complete
// Rows are immutable: put() makes a new version, the old one is the undo. A `const Row*` is valid until the
// run ends.
#pragma once

#include <absl/container/btree_map.h>

#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "base/outcome.h"
#include "state/codec.h"
#include "state/run.h"
#include "state/table_base.h"
#include "state/table_id.h"

namespace perdure::state {

template <class Row>
class RowReader;

template <class Row>
class Table final : public TableBase {
 public:
  using Key = typename Row::Key;
  // A row that next() or first() found; row == nullptr: there is none up to `last`.
  struct Found {
    Key key{};
    const Row* row = nullptr;
    explicit operator bool() const { return row != nullptr; }
  };

  explicit Table(Database& database)
      : TableBase(database, Row::table, Row::name, Row::residence),
        complete_(Row::residence == Residence::unlogged) {}

  // The row, or nullptr: proven absent. Faults if it is not in memory and the store cannot give it without
  // I/O.
  Outcome<const Row*> get(Run& run, const Key& key);
  // The first row with from <= key <= last; after < key <= last.
  Outcome<Found> first(Run& run, const Key& from, const Key& last) { return search(run, from, last, false); }
  Outcome<Found> next(Run& run, const Key& after, const Key& last) { return search(run, after, last, true); }
  void put(Run& run, const Key& key, Row row);
  // put() of a key that was never used before (a fresh id): saves the store a deletion if the row does not
  // live long.
  void put_new(Run& run, const Key& key, Row row);
  void erase(Run& run, const Key& key);
  // Nothing is in the store with from <= key <= last, because the keys are fresh: reading there will not
  // fault.
  void known_empty(const Key& from, const Key& last);

  // Outside runs, of what is in memory: for restoration, status and tests. Calls f(key, row) in order.
  template <class F>
  void for_each(F&& f) const {
    for (const auto& [key, entry] : entries_)
      if (entry.row != nullptr) f(key, *entry.row);
  }
  const Row* peek(const Key& key) const {
    auto it = entries_.find(key);
    return it == entries_.end() ? nullptr : it->second.row.get();
  }

 private:
  friend class RowReader<Row>;

  struct Entry {
    std::unique_ptr<const Row> row;  // null: absent
    Lsn lsn;                         // of the record that last changed it
    uint32_t generation = 0;         // checkpoint generation that last changed it
    uint32_t touched = 0;            // tick of the last run that looked at it
    bool gap_known = false;          // see the invariants
    bool encoded = false;            // given to the checkpoint of its generation
    bool in_store = false;           // the store may have a row under this key
  };
  struct Change {
    Key key;
    Entry old;
    bool existed;
    const Row* now;
  };
  using Map = absl::btree_map<Key, Entry>;

  Outcome<Found> search(Run& run, const Key& from, const Key& last, bool exclusive);
  typename Map::iterator drop_settled(typename Map::iterator it);
  void change(Run& run, const Key& key, std::unique_ptr<const Row> row, bool fresh);
  bool gap_before_is_known(typename Map::const_iterator it) const {
    return complete_ || (it != entries_.end() && it->second.gap_known);
  }
  typename Map::iterator insert_entry(typename Map::iterator hint, const Key& key);
  void remove_entry(typename Map::iterator it);
  void insert_fetched(const Key& key, std::optional<Bytes> value, uint32_t tick);
  bool insert_fetched(typename Map::iterator it, const Key& key, std::optional<Bytes> value, uint32_t tick);
  void miss_key(Run& run, const Key& key);
  void miss_range(Run& run, const Key& from, const Key& last);
  void fetch_key(Key key, uint32_t tick, env::Done<void> done);
  void fetch_range(Key from, Key last, uint32_t tick, env::Done<void> done);
  bool decode_fetched(Bytes key_bytes, Bytes value, Key& key, Row& row);
  void capture(const Key& key, Entry& entry);
  static size_t memory(const Row* row) {
    if (row == nullptr) return 0;
    if constexpr (requires { row->heap_bytes(); })
      return sizeof(Row) + 16 + row->heap_bytes();
    else
      return sizeof(Row) + 16;
  }
  static size_t items(const Row* row) {
    if (row == nullptr) return 0;
    if constexpr (requires { row->items(); })
      return row->items();
    else
      return 1;
  }
  static constexpr size_t entry_bytes = (sizeof(std::pair<const Key, Entry>) * 3) / 2;

  // TableBase
  void encode_last_step(size_t count, log::RecordBuilder& record) override;
  void undo_last() override;
  void forget_changes() override { changes_.clear(); }
  bool encode_frozen(size_t budget) override;
  void freeze() override;
  void applied() override;
  bool settle(size_t budget) override;
  bool evict(size_t scan, uint32_t tick_limit, size_t enough) override;
  bool redo(Bytes key, std::optional<Bytes> row, Lsn lsn) override;
  bool load(Bytes key, Bytes row) override;
  void loaded() override { complete_ = true; }
  std::string describe_row(Bytes key, std::optional<Bytes> row) const override;

  Map entries_;
  std::vector<Change> changes_;  // of the run under way, in order
  std::vector<Key> dirty_;       // changed in the active generation (perhaps undone, perhaps twice)
  std::vector<Key> frozen_;      // the same of the generation that a checkpoint is writing
  size_t frozen_next_ = 0;       // frozen_ before it has been encoded
  std::vector<Key> tombstones_;  // of the generation that a checkpoint is writing
  std::vector<Key> settled_;     // tombstones of those that were written
  std::optional<Key> hand_;      // eviction looks at the entries behind it next
  bool complete_;                // every row is in memory
};

}  // namespace perdure::state

#include "state/table_impl.h"
