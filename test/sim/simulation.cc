#include "sim/simulation.h"

#include "sim/blade.h"
#include "sim/pair_net.h"
#include "sim/workload.h"

namespace perdure::sim {

namespace {

constexpr env::Duration hang_time = std::chrono::hours(10);

std::vector<const WorkloadType*> draw_workloads(Random& random, const std::string& wanted) {
  std::vector<const WorkloadType*> chosen;
  const auto& types = workload_types();
  if (wanted.empty()) {
    const WorkloadType* one = &types[random.below(types.size())];
    const WorkloadType* other = &types[random.below(types.size())];
    chosen.push_back(one);
    if (one != other && !one->alone && !other->alone && random.one_in(3)) chosen.push_back(other);
    return chosen;
  }
  for (const WorkloadType& type : types)
    if (wanted == type.name) chosen.push_back(&type);
  CHECK(!chosen.empty());
  return chosen;
}

Task<> in_turn(std::vector<std::unique_ptr<Workload>>& workloads, World& world, bool check) {
  for (auto& workload : workloads) {
    if (check)
      co_await workload->check();
    else
      co_await workload->setup();
    if (world.failed()) co_return;
  }
}

void for_each_blade(World& world, void (Blade::*what)()) {
  for (size_t i = 0; i < world.blades(); ++i) (world.blade(i).*what)();
}

// One serves, and of a pair the other one is in sync. A primary believes that for a while after its mirror's
// death.
bool all_well(World& world) {
  if (!world.blade().serving()) return false;
  if (world.blades() == 1) return true;
  const mirror::Member& primary = *world.blade().member();
  const auto in_sync = [&](const mirror::Member* member) {
    return member != nullptr && primary.configuration().has(member->self());
  };
  return primary.mirrored() && in_sync(world.blade(0).member()) && in_sync(world.blade(1).member());
}

bool all_at_rest(World& world) {
  if (!world.blade().at_rest()) return false;
  if (world.blades() == 1) return true;
  const mirror::Sender* sender = world.blade().member()->sender();
  return all_well(world) && sender != nullptr &&
         sender->ack().stable == world.blade().vserver().commit().closed_end();
}

void run(World& world, std::vector<std::unique_ptr<Workload>>& workloads) {
  if (world.profile().first_start) for_each_blade(world, &Blade::let_die);
  for_each_blade(world, &Blade::start);
  if (world.profile().first_start) {
    world.run("the first start", hang_time, [&] { return all_well(world); });
    for_each_blade(world, &Blade::spare);
  }
  bench::TaskGroup setup;
  setup.spawn(in_turn(workloads, world, false));
  world.run("setup", hang_time, [&] { return setup.all_done(); });
  if (world.failed()) return;

  for_each_blade(world, &Blade::let_die);
  world.pair_net().let_fail();
  for (auto& workload : workloads) workload->start();
  world.run("the workloads", hang_time,
            [&] { return std::ranges::all_of(workloads, [](const auto& w) { return w->ended(); }); });
  if (world.failed()) return;

  for_each_blade(world, &Blade::spare);
  world.pair_net().calm();
  const auto serving = [&] { return all_well(world); };
  world.run("the last restart", hang_time, serving);
  if (world.failed()) return;
  Blade& blade = world.blade();
  switch (world.random().below(3)) {
    case 0:
      blade.kill();
      break;
    case 1:
      blade.power_cut();
      break;
    default:
      blade.restart_cleanly();
      world.run("a clean stop", hang_time, [&] { return blade.down(); });
      break;
  }
  world.run("the last start", hang_time, serving);
  if (world.failed()) return;
  bench::TaskGroup check;
  check.spawn(in_turn(workloads, world, true));
  world.run("the checks", hang_time, [&] { return check.all_done(); });
  world.run("what the server still does", hang_time, [&] { return all_at_rest(world); });
  if (world.failed()) return;
  world.blade().check();
  if (world.blades() != 1) world.blade().compare(world.blade(0).serving() ? world.blade(1) : world.blade(0));
}

}  // namespace

SimulationResult simulate(const SimulationOptions& options) {
  Random random(options.seed);
  const std::vector<const WorkloadType*> types = draw_workloads(random, options.workload);
  ProfileLimits limits;
  for (const WorkloadType* type : types) limits.io_errors &= type->limits.io_errors;
  Profile profile = draw_profile(random, limits, options.pair);
  for (const WorkloadType* type : types)
    if (type->adjust != nullptr) type->adjust(profile);

  SimulationResult result;
  for (const WorkloadType* type : types) result.world += std::string(type->name) + ", ";
  result.world += describe(profile);
  World world(options.seed, profile);
  if (options.trace_lines != 0 || options.print_trace)
    world.keep_trace(options.trace_lines, options.print_trace);
  world.trace("{}", result.world);
  {
    std::vector<std::unique_ptr<Workload>> workloads;
    for (const WorkloadType* type : types) workloads.push_back(type->make(world));
    run(world, workloads);
  }
  result.failure = world.failure();
  result.hash = world.hash();
  result.steps = world.steps();
  for (size_t i = 0; i < world.blades(); ++i) result.deaths += world.blade(i).deaths();
  result.simulated = world.simulated();
  result.trace = world.lines();
  return result;
}

}  // namespace perdure::sim
