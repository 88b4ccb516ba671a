// What the run, the checkpoint, restoration and eviction need of every table, whatever its row type.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/bytes.h"
#include "base/ids.h"
#include "log/record.h"
#include "state/table_id.h"

namespace perdure::state {

class Database;

class TableBase {
 public:
  TableBase(Database& database, TableId id, const char* name, Residence residence);
  TableBase(const TableBase&) = delete;
  TableBase& operator=(const TableBase&) = delete;
  virtual ~TableBase() = default;

  TableId id() const { return id_; }
  const char* name() const { return name_; }
  Residence residence() const { return residence_; }
  bool logged() const { return residence_ != Residence::unlogged; }
  // Approximate memory of entries and rows.
  size_t memory_bytes() const { return memory_bytes_; }
  size_t size() const { return rows_; }

  // The run.
  virtual void encode_last_step(size_t count,
                                log::RecordBuilder& record) = 0;  // one change: the count-th from the end
  virtual void undo_last() = 0;
  virtual void forget_changes() = 0;

  // The checkpoint: freeze() between two runs; then encode_frozen() hands at most about `budget` rows to
  // Database::add_change and returns false when there are no more; then applied().
  virtual void freeze() = 0;
  virtual bool encode_frozen(size_t budget) = 0;
  virtual void applied() = 0;
  // Afterwards, in small portions: drops up to `budget` tombstones that the store does not need any more.
  // False: there are no more.
  virtual bool settle(size_t budget) = 0;

  // Looks at up to `scan` entries and drops clean ones that no run since `tick_limit` has touched, until
  // `enough` bytes are free. False if the whole table was passed.
  virtual bool evict(size_t scan, uint32_t tick_limit, size_t enough) = 0;

  // Restoration: all of a resident table is loaded, then the log is redone. False: the bytes are not a valid
  // row.
  virtual bool load(Bytes key, Bytes row) = 0;
  virtual void loaded() = 0;
  virtual bool redo(Bytes key, std::optional<Bytes> row, Lsn lsn) = 0;

  // "inode=7: size=3 mode=420 ...", for people.
  virtual std::string describe_row(Bytes key, std::optional<Bytes> row) const = 0;

 protected:
  Database& database_;
  size_t memory_bytes_ = 0;
  size_t rows_ = 0;

 private:
  TableId id_;
  const char* name_;
  Residence residence_;
};

}  // namespace perdure::state
