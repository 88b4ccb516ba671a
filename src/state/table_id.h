// The number of each table in the log and in the checkpoint. Numbers are part of the formats: never reused.
#pragma once

#include <cstdint>

namespace perdure::state {

enum class TableId : uint8_t {
  // fs/
  volume = 1,
  dirent = 3,
  symlink = 4,
  extent = 5,
  page = 6,
  allocation = 7,
  freed = 8,
  block_reference = 9,
  xattr = 10,
  acl = 11,
  inode = 12,
  // client/
  client_owner = 21,
  slot = 23,
  open = 24,
  lock_state = 25,
  lock = 26,
  back_slot = 29,
  session = 30,
  client = 31,
  closed_open = 33,
  state_owner = 34,
  delegation = 35,
  // processor/
  transaction = 40,
  vserver = 41,
  epoch = 42,
  // Unlogged tables (volatile: never in the log or the checkpoint).
  dirty_page = 100,
  pending_inode = 101,
  slot_twin = 102,
};

inline constexpr uint8_t table_id_end = 110;

// Where a table's rows live.
enum class Residence : uint8_t {
  cached,    // in the checkpoint store; in memory what was used lately. Reading may fault
  resident,  // in the checkpoint store and all of it in memory. Reading never faults
  unlogged,  // in memory only, lost at a crash; but undone with its run like any other row
};

}  // namespace perdure::state
