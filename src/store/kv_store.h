// The checkpoint's home: an ordered map of byte strings that survives crashes.
//
// Keys begin with a table number (one byte); their byte order is the rows' order (state/codec.h). Because the
// changes of a checkpoint are absolute values, applying it a second time does no harm.
//
// Destroying a store drops the calls under way: their `done` never runs.
// Thread: the loop of its Env. No call but scan_now() blocks on a disk.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/ids.h"
#include "env/env.h"

namespace perdure::store {

struct Change {
  ByteVector key;
  std::optional<ByteVector> value;  // none: erase
};

// Rows in order, in one piece of memory: a restart reads millions of them.
class KeyValues {
 public:
  using Row = std::pair<Bytes, Bytes>;  // views

  void add(Bytes key, Bytes value) {
    rows_.push_back({bytes_.size(), static_cast<uint32_t>(key.size()), static_cast<uint32_t>(value.size())});
    bytes_.insert(bytes_.end(), key.begin(), key.end());
    bytes_.insert(bytes_.end(), value.begin(), value.end());
  }
  size_t size() const { return rows_.size(); }
  bool empty() const { return rows_.empty(); }
  Row operator[](size_t n) const {
    const Place& p = rows_[n];
    const Bytes row = Bytes(bytes_).subspan(p.at, size_t{p.key_bytes} + p.value_bytes);
    return {row.first(p.key_bytes), row.subspan(p.key_bytes)};
  }
  Row back() const { return (*this)[size() - 1]; }

  class Iterator {
   public:
    Iterator(const KeyValues& rows, size_t n) : rows_(&rows), n_(n) {}
    Row operator*() const { return (*rows_)[n_]; }
    Iterator& operator++() { return ++n_, *this; }
    bool operator==(const Iterator& other) const { return n_ == other.n_; }

   private:
    const KeyValues* rows_;
    size_t n_;
  };
  Iterator begin() const { return {*this, 0}; }
  Iterator end() const { return {*this, size()}; }

 private:
  struct Place {
    size_t at;
    uint32_t key_bytes, value_bytes;
  };
  ByteVector bytes_;
  std::vector<Place> rows_;
};

// How far the log is contained in the store. Both are LSNs of one instant between two runs.
struct Applied {
  Lsn lsn;            // every record before it is
  Lsn read_from;      // start of the batch that holds, or will hold, the record at `lsn`
  StartNumber start;  // of the process that made the checkpoint
  friend bool operator==(const Applied&, const Applied&) = default;
};

class KvStore {
 public:
  enum class Hit : uint8_t { found, absent, needs_io };

  virtual ~KvStore() = default;

  // Inline, from memory only. `value` is overwritten.
  virtual Hit try_get(Bytes key, ByteVector& value) = 0;
  virtual void get(ByteVector key, env::Done<std::optional<ByteVector>> done) = 0;
  // At most `rows_max` rows with from <= key <= last, in order. Fewer than rows_max means that there are no
  // more.
  virtual void scan(ByteVector from, ByteVector last, size_t rows_max, env::Done<KeyValues> done) = 0;
  // The same, inline: the one call that blocks. For tools and tests, never while serving.
  virtual Result<KeyValues> scan_now(const ByteVector& from, const ByteVector& last, size_t rows_max) = 0;

  // One part of a checkpoint, its keys sorted and unique. Parts are applied in the order of the calls and may
  // become visible one by one. With `applied` it is the checkpoint's last part: when done, this and all parts
  // before it are durable, and applied() is the new value. After a failure the store is poisoned.
  virtual void apply(std::vector<Change> sorted, std::optional<Applied> applied, env::Done<void> done) = 0;
  virtual Applied applied() const = 0;

  // Bytes of memory and of disk in use; for `perdure status`.
  struct Figures {
    uint64_t memory_bytes = 0, disk_bytes = 0;
  };
  virtual Figures figures() = 0;
};

// RocksDB in the directory `path`, created if absent. `cache_bytes` bounds its block cache. Locks the
// directory. Blocks: for start-up only.
Result<std::unique_ptr<KvStore>> open_rocksdb(env::Env& env, const std::string& path, uint64_t cache_bytes);
// The same for reading, without changing anything in the directory: apply() fails. `busy` if a server has it;
// no server can open it meanwhile. not_found if there is none.
Result<std::unique_ptr<KvStore>> open_rocksdb_read_only(env::Env& env, const std::string& path,
                                                        uint64_t cache_bytes);

}  // namespace perdure::store
