#include "sim/simulation.h"

#include "sim/blade.h"
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

void run(World& world, std::vector<std::unique_ptr<Workload>>& workloads) {
  Blade& blade = world.blade();
  blade.start();
  bench::TaskGroup setup;
  setup.spawn(in_turn(workloads, world, false));
  world.run("setup", hang_time, [&] { return setup.all_done(); });
  if (world.failed()) return;

  blade.let_die();
  for (auto& workload : workloads) workload->start();
  world.run("the workloads", hang_time,
            [&] { return std::ranges::all_of(workloads, [](const auto& w) { return w->ended(); }); });
  if (world.failed()) return;

  blade.spare();
  const auto serving = [&] { return blade.serving(); };
  world.run("the last restart", hang_time, serving);
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
  world.run("what the server still does", hang_time, [&] { return blade.at_rest(); });
  if (!world.failed()) blade.check();
}

}  // namespace

SimulationResult simulate(const SimulationOptions& options) {
  Random random(options.seed);
  const std::vector<const WorkloadType*> types = draw_workloads(random, options.workload);
  ProfileLimits limits;
  for (const WorkloadType* type : types) limits.io_errors &= type->limits.io_errors;
  Profile profile = draw_profile(random, limits);
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
  result.deaths = world.blade().deaths();
  result.simulated = world.simulated();
  result.trace = world.lines();
  return result;
}

}  // namespace perdure::sim
