#include "sim/profile.h"

#include <fmt/format.h>

namespace perdure::sim {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::seconds;

namespace {

void draw_network(Random& random, Profile& p) {
  p.net_delay_min = random.pick<env::Duration>({microseconds(5), microseconds(50), milliseconds(1)});
  p.net_delay_mean = p.net_delay_min * static_cast<int64_t>(random.pick({1, 2, 10}));
  p.cut_one_in = random.pick({0, 0, 1000, 100, 20});
  p.duplicate_one_in = random.pick({0, 100, 10});
}

void draw_disks(Random& random, Profile& p, const ProfileLimits& limits) {
  p.io_min = random.pick<env::Duration>({microseconds(10), microseconds(60), milliseconds(4)});
  p.io_mean = p.io_min * static_cast<int64_t>(random.pick({1, 2, 5}));
  p.io_slow_one_in = random.pick({0, 0, 200, 20});
  p.io_slow = random.pick<env::Duration>({milliseconds(20), milliseconds(300), seconds(3), seconds(40)});
  p.log_factor = random.pick({1, 1, 1, 30});
  p.io_shuffled = random.one_in(2);
  const uint64_t errors = random.pick({0, 0, 0, 2000, 200});
  p.io_error_one_in = limits.io_errors ? errors : 0;
  p.kv_needs_io_percent = random.pick({0U, 0U, 30U, 100U});
  p.kv_delay_max = random.pick<env::Duration>({microseconds(0), microseconds(200), milliseconds(20)});
  const uint64_t damage = random.pick({0, 0, 0, 500, 50});
  p.damage_one_in = limits.io_errors ? damage : 0;
  const uint64_t kv_errors = random.pick({0, 0, 0, 2000, 200});
  p.kv_error_one_in = limits.io_errors ? kv_errors : 0;
}

void draw_deaths(Random& random, Profile& p) {
  p.deaths_max = random.pick({0, 1, 2, 3, 5, 10});
  p.death_gap_mean = random.pick({30, 300, 1500, 5000});
  p.power_cut_percent = random.pick({0U, 50U, 50U, 100U});
  p.early_death_percent = random.pick({0U, 30U, 60U});
  p.first_start = random.one_in(4);
  p.restart_delay_max = random.pick<env::Duration>({milliseconds(1), milliseconds(100), seconds(5)});
  p.rot_one_in = random.pick({0, 0, 0, 3});
  p.clock_jump_max = random.pick<env::Duration>({seconds(0), seconds(0), seconds(1), seconds(100'000)});
}

void draw_server(Random& random, Profile& p) {
  p.memory_bytes = random.pick<uint64_t>({1U << 20U, 8U << 20U, 64U << 20U});
  p.small_steps = random.one_in(2);
  p.log_bytes = random.pick<uint64_t>({1U << 20U, 2U << 20U, 16U << 20U});
  p.checkpoint_records_max = random.pick<uint64_t>({10, 50, 300, 60'000});
  p.checkpoint_interval = random.pick<env::Duration>({milliseconds(5), milliseconds(200), seconds(30)});
  p.lease_seconds = random.pick({20U, 90U});
  p.courtesy_seconds = random.pick({0U, 86400U});
  p.owners_per_client_max = random.pick({16U, 65536U});
  p.hashes_collide = random.one_in(3);
  p.margin_blocks = random.pick<uint64_t>({64, 1024});
}

// Disks that take longer than a lease are another matter: a blade whose log is so slow is to be replaced.
void draw_pair(Random& random, Profile& p) {
  p.pair = true;
  p.level = static_cast<int>(random.below(3));
  p.pair_fault_gap =
      random.pick<env::Duration>({seconds(0), milliseconds(40), milliseconds(300), seconds(3)});
  p.rot_one_in = 0;
  p.log_bytes = random.pick<uint64_t>({16U << 20U, 64U << 20U});
  p.pair_paths = 1 + random.below(2);
  p.blocks_on_the_way = size_t{1} << random.below(12);
  p.rows_copied_at_once = size_t{1} << (2 + random.below(10));
}

}  // namespace

Profile draw_profile(Random& random, const ProfileLimits& limits, bool pair) {
  Profile p;
  draw_network(random, p);
  draw_disks(random, p, limits);
  draw_deaths(random, p);
  draw_server(random, p);
  if (pair) draw_pair(random, p);
  return p;
}

std::string describe(const Profile& p) {
  const auto us = [](env::Duration d) { return d / std::chrono::microseconds(1); };
  return fmt::format(
      "network {}+{} us, cut 1/{}, twice 1/{}; disk {}+{} us (log x {}), slow 1/{} {} us, errors 1/{}, "
      "damage 1/{}{}; "
      "store needs_io {} %, {} us, errors 1/{}; deaths {} gap {} power {} % early {} % restart {} us, rot "
      "1/{}, "
      "clock {} us; {}memory {}{} log {} checkpoint {} records {} us, lease {} s",
      us(p.net_delay_min), us(p.net_delay_mean), p.cut_one_in, p.duplicate_one_in, us(p.io_min),
      us(p.io_mean), p.log_factor, p.io_slow_one_in, us(p.io_slow), p.io_error_one_in, p.damage_one_in,
      p.io_shuffled ? ", shuffled" : "", p.kv_needs_io_percent, us(p.kv_delay_max), p.kv_error_one_in,
      p.deaths_max, p.death_gap_mean, p.power_cut_percent, p.early_death_percent, us(p.restart_delay_max),
      p.rot_one_in, us(p.clock_jump_max),
      p.pair ? fmt::format("pair at level {}, {} paths, {} blocks on the way, faults {} us; ", p.level,
                           p.pair_paths, p.blocks_on_the_way, us(p.pair_fault_gap))
             : "",
      p.memory_bytes, p.small_steps ? ", small steps," : "", p.log_bytes, p.checkpoint_records_max,
      us(p.checkpoint_interval), p.lease_seconds);
}

}  // namespace perdure::sim
