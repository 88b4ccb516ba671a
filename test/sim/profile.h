// Profile: what kind of world a seed makes: how fast and how faulty its parts are, and how large the server's
// limits. Drawn once, before anything happens; small limits on purpose, so that what takes days elsewhere
// (the log wraps around, a cache is full) happens within seconds.
#pragma once

#include "env/env.h"
#include "sim/random.h"

namespace perdure::sim {

struct Profile {
  // The network.
  env::Duration net_delay_min{}, net_delay_mean{};
  uint64_t cut_one_in = 0;        // messages after which their connection is cut; 0: never
  uint64_t duplicate_one_in = 0;  // requests that arrive once more, later

  // Disks: the usual latency, and now and then a slow one.
  env::Duration io_min{}, io_mean{}, io_slow{};
  uint64_t io_slow_one_in = 0;
  int log_factor = 1;  // so many times the others' latency has the log
  bool io_shuffled = false;
  uint64_t io_error_one_in = 0;  // requests that fail; 0: none
  unsigned kv_needs_io_percent = 0;
  env::Duration kv_delay_max{};
  uint64_t kv_error_one_in = 0;  // reads and applies of the store that fail; 0: none

  // Deaths of the server process. A gap is counted in the blade's callbacks, so that each of them may be the
  // last.
  uint64_t deaths_max = 0;
  uint64_t death_gap_mean = 0;
  unsigned power_cut_percent = 0;    // of the deaths; the others kill the process alone
  unsigned early_death_percent = 0;  // deaths that come soon after the start, so during restoration
  bool first_start = false;          // faults strike during the first start as well
  env::Duration restart_delay_max{};

  bool disks_fail() const { return io_error_one_in != 0 || damage_one_in != 0; }
  // Nothing is slow or faulty; blades may die.
  bool calm() const {
    return io_slow_one_in == 0 && !disks_fail() && kv_error_one_in == 0 && pair_fault_gap == env::Duration(0);
  }
  uint64_t damage_one_in = 0;      // writes of blocks that are damaged; 0: none
  uint64_t rot_one_in = 0;         // restarts before which a bit of the log's durable part flips
  env::Duration clock_jump_max{};  // of the wall clock, at a restart

  // A pair of blades instead of one.
  bool pair = false;
  int level = 0;          // mirror::Level
  size_t pair_paths = 1;  // between the blades
  size_t blocks_on_the_way = 2048;
  size_t rows_copied_at_once = 2048;
  env::Duration
      pair_fault_gap{};  // between what happens to the links, the arbiter and the processes; 0: nothing

  // The server.
  uint64_t memory_bytes = 64U << 20U;
  bool small_steps = false;  // of writes, COMMITs, write-back and reclaims: a few blocks or rows each
  uint64_t log_bytes = 4U << 20U;
  uint64_t blocks_bytes_max = 64U << 20U;
  uint64_t checkpoint_records_max = 60'000;
  env::Duration checkpoint_interval = std::chrono::seconds(30);
  uint32_t lease_seconds = 90, courtesy_seconds = 0;
  uint32_t owners_per_client_max = 65536;
  uint64_t margin_blocks = 1024;
  bool hashes_collide = false;  // of owners
};

// A workload says what it cannot bear.
struct ProfileLimits {
  bool io_errors = true;
};
// `pair`: of two blades.
Profile draw_profile(Random& random, const ProfileLimits& limits, bool pair);
std::string describe(const Profile& profile);

}  // namespace perdure::sim
