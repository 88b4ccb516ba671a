// RowReader: all rows of a table in the order of their keys, whether they are in memory, in the checkpoint
// store, or in both (then memory is the newer one). For the checker and other tools that go through
// everything: it reads the store in pieces and keeps nothing, so its memory is bounded, and a row that cannot
// be decoded is told and left out instead of ending it.
//
// The table must not change meanwhile: outside runs, and no fetch or checkpoint under way. Blocks.
#pragma once

#include <functional>
#include <string>

#include "state/table.h"

namespace perdure::state {

template <class Row>
class RowReader {
 public:
  using Key = typename Row::Key;
  // Told of every row of the store that is not one, in words.
  using Damaged = std::function<void(const std::string&)>;

  RowReader(Table<Row>& table, Damaged damaged) : RowReader(table, std::move(damaged), {}) {
    from_ = ByteVector{std::byte{static_cast<uint8_t>(Row::table)}};
    last_ = ByteVector(64, std::byte{0xff});  // behind every key: they are shorter
    last_[0] = from_[0];
    memory_ = table.entries_.begin();
  }
  // Only rows with from <= key <= last.
  RowReader(Table<Row>& table, Damaged damaged, const Key& from, const Key& last)
      : RowReader(table, std::move(damaged), last) {
    from_ = encoded(from);
    last_ = encoded(last);
    limited_ = true;
    memory_ = table.entries_.lower_bound(from);
  }

  // Goes to the next row. False: there are no more.
  Result<bool> next();
  const Key& key() const { return key_; }
  // Valid until next().
  const Row& row() const { return *row_; }

 private:
  static constexpr size_t rows_at_once = 512;

  RowReader(Table<Row>& table, Damaged damaged, const Key& last)
      : table_(table), damaged_(std::move(damaged)), last_key_(last) {
    more_in_store_ = Row::residence != Residence::unlogged;
  }
  static ByteVector encoded(const Key& key) {
    Encoder out;
    out.put(static_cast<uint8_t>(Row::table));
    encode_key(out, key);
    return out.copy();
  }
  // The next row of the store is decoded into stored_key_; false: there are no more.
  Result<bool> peek_store();
  bool memory_ended() const {
    return memory_ == table_.entries_.end() || (limited_ && memory_->first > last_key_);
  }

  Table<Row>& table_;
  Damaged damaged_;
  const Key last_key_;
  bool limited_ = false;
  typename Table<Row>::Map::const_iterator memory_;
  ByteVector from_, last_;
  store::KeyValues stored_;
  size_t next_stored_ = 0;
  bool more_in_store_ = true, have_stored_ = false;
  Key stored_key_{}, key_{};
  Row decoded_{};
  const Row* row_ = nullptr;
};

template <class Row>
Result<bool> RowReader<Row>::peek_store() {
  while (!have_stored_) {
    if (next_stored_ == stored_.size()) {
      if (!more_in_store_) return false;
      stored_ = TRY(table_.database_.store().scan_now(from_, last_, rows_at_once));
      next_stored_ = 0;
      more_in_store_ = stored_.size() == rows_at_once;
      if (stored_.empty()) return false;
      const Bytes behind = stored_.back().first;
      from_.assign(behind.begin(), behind.end());
      from_.push_back(std::byte{0});
    }
    have_stored_ = decode_key(Bytes(stored_[next_stored_].first).subspan(1), stored_key_);
    if (have_stored_) break;
    damaged_(fmt::format("a row of the table {} has a key that is none", Row::name));
    ++next_stored_;
  }
  return true;
}

template <class Row>
Result<bool> RowReader<Row>::next() {
  for (;;) {
    const bool stored = TRY(peek_store());
    if (!memory_ended() && (!stored || memory_->first <= stored_key_)) {
      if (stored && memory_->first == stored_key_) {
        have_stored_ = false;
        ++next_stored_;
      }
      key_ = memory_->first;
      row_ = memory_->second.row.get();
      ++memory_;
      if (row_ != nullptr) return true;
      continue;
    }
    if (!stored) return false;
    key_ = stored_key_;
    decoded_ = Row{};
    const bool good = decode(stored_[next_stored_].second, decoded_);
    have_stored_ = false;
    ++next_stored_;
    row_ = &decoded_;
    if (good) return true;
    damaged_(fmt::format("the {} row of {} cannot be read", Row::name, describe(key_)));
  }
}

}  // namespace perdure::state
