// History: everything that was ever written to the log, and the rows that follow from it, redone from scratch
// by a few lines that know nothing of tables, checkpoints and restoration. After each restoration the
// server's rows are compared with them.
#pragma once

#include <map>
#include <string>

#include "base/bytes.h"
#include "base/ids.h"

namespace perdure::server {
class Vserver;
}

namespace perdure::state {
class Database;
}

namespace perdure::sim {

// Table number and key: row. Of all tables, in the store or in memory.
using AllRows = std::map<ByteVector, ByteVector>;
AllRows all_rows(state::Database& database);
// In words; empty: there is none.
std::string first_difference(const AllRows& wanted, const AllRows& found, state::Database& database);

class World;

class History {
 public:
  explicit History(World& world) : world_(world) {}

  // A write to the log's file was asked for.
  void written(uint64_t offset, Bytes bytes);
  // The vserver has been restored and has not executed anything since. What the log has behind the place
  // where it goes on did not become durable, and never will.
  void compare(server::Vserver& vserver);

 private:
  void redo(Bytes batch);

  World& world_;
  uint64_t salt_ = 0;
  ByteVector partial_;                 // the first write of a batch that wraps around
  std::map<Lsn, ByteVector> batches_;  // not in rows_ yet
  Lsn redone_;                         // all before it is in rows_
  AllRows rows_;
};

}  // namespace perdure::sim
