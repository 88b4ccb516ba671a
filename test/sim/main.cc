// perdure-sim: simulates seeds or every crash, and proves with deliberate bugs that it would see them.
#include <fmt/format.h>
#include <signal.h>
#include <spdlog/spdlog.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <optional>
#include <string>

#include "base/mark.h"
#include "base/planted_bug.h"
#include "sim/bugs.h"
#include "sim/exhaustive.h"
#include "sim/runner.h"
#include "sim/simulation.h"
#include "sim/workload.h"

namespace perdure::sim {
namespace {

struct Options {
  std::optional<uint64_t> seed;
  RunnerOptions runner;
  size_t tail = 60;
  bool trace = false, marks = false;
  bool exhaustive = false;
  ExhaustiveOptions crashes;
  bool bugs = false;
  std::string bug;
};

Options parse(int argc, char** argv) {
  Options options;
  CLI::App app("Simulates Perdure under faults. What happens in a simulation depends on its seed alone.");
  app.add_option("--seed", options.seed, "only this one; a failure shows the end of its trace");
  app.add_option("--seeds", options.runner.seeds, "how many")->capture_default_str();
  app.add_option("--first", options.runner.first, "the first one")->capture_default_str();
  app.add_option("--seconds", options.runner.seconds_max,
                 "begin no more seeds after this time (0: no limit)");
  std::string names;
  for (const WorkloadType& type : workload_types())
    names += std::string(names.empty() ? "" : ", ") + type.name;
  app.add_option("--workload", options.runner.workload, "only this one: " + names);
  app.add_flag("--pair", options.runner.pair, "two blades, an arbiter, and what can happen between them");
  app.add_option("--jobs", options.runner.jobs, "simulations at the same time")->capture_default_str();
  app.add_option("--tail", options.tail, "lines of the trace to show after a failure")->capture_default_str();
  app.add_flag("--trace", options.trace, "with --seed: print the whole trace");
  app.add_flag("--twice", options.runner.twice, "simulate each seed twice and compare what happened");
  app.add_flag("--marks", options.marks, "print how often each rare branch was taken");
  app.add_flag("--keep-going", options.runner.keep_going, "do not stop at the first failure");
  app.add_flag("--exhaustive", options.exhaustive, "instead: every scenario with every crash (exhaustive.h)");
  app.add_option("--scenario", options.crashes.scenario, "with --exhaustive: only this one");
  app.add_option("--sample", options.crashes.sample, "with --exhaustive: every n-th point")
      ->capture_default_str();
  app.add_option("--second", options.crashes.second_sample,
                 "with --exhaustive: second crashes after every n-th of these")
      ->capture_default_str();
  app.add_option("--point", options.crashes.point, "with --scenario: only this one");
  app.add_option("--crash", options.crashes.crash, "with --point: kill, keep, drop or tear")
      ->capture_default_str();
  app.add_option("--then", options.crashes.then, "with --point: callbacks until the second crash");
  if (kBugsCanBePlanted) {
    app.add_flag("--bugs", options.bugs, "instead: plant each deliberate bug (bugs.cc) until it is found");
    app.add_option("--bug", options.bug, "plant this one");
  }
  try {
    app.parse(argc, argv);
    if (options.bugs && app["--seeds"]->count() == 0) options.runner.seeds = 20'000;
    bool known = options.runner.workload.empty();
    for (const WorkloadType& type : workload_types()) known |= options.runner.workload == type.name;
    if (!known) throw CLI::ValidationError("--workload", "there is none of this name; there are: " + names);
    bool listed = options.bug.empty();
    for (const Bug& bug : bugs()) listed |= options.bug == bug.name;
    if (!listed) throw CLI::ValidationError("--bug", "there is none of this name; they are in bugs.cc");
  } catch (const CLI::ParseError& e) {
    exit(app.exit(e));
  }
  return options;
}

std::string replay_line(const Options& options, uint64_t seed) {
  std::string line = fmt::format("./x sim --seed {}", seed);
  if (options.runner.pair) line += " --pair";
  if (!options.runner.workload.empty()) line += " --workload " + options.runner.workload;
  return line;
}

SimulationResult simulate_one(const Options& options, uint64_t seed, size_t lines, bool print) {
  return simulate({.seed = seed,
                   .workload = options.runner.workload,
                   .pair = options.runner.pair,
                   .trace_lines = lines,
                   .print_trace = print});
}

int show_one(const Options& options) {
  const SimulationResult result = simulate_one(options, *options.seed, options.tail, options.trace);
  fmt::print("seed {}: {}\n{} events, {:.3f} s simulated, {} deaths, hash {:016x}\n", *options.seed,
             result.world, result.steps, std::chrono::duration<double>(result.simulated).count(),
             result.deaths, result.hash);
  if (result.failure.empty()) return 0;
  if (!options.trace)
    for (const std::string& line : result.trace) fmt::print("{}\n", line);
  fmt::print("FAILED: {}\nreplay: {}\n", result.failure, replay_line(options, *options.seed));
  return 1;
}

// ---- many

int show_in_own_process(const Options& options, uint64_t seed) {
  fflush(stdout);
  const pid_t pid = fork();
  if (pid == 0) {
    Options one = options;
    one.seed = seed;
    alarm(options.runner.hang_seconds);
    const int status = show_one(one);
    fflush(stdout);
    _exit(status);
  }
  int status = 0;
  waitpid(pid, &status, 0);
  return status;
}

int run_many(const Options& options) {
  const RunnerResult result = run_seeds(options.runner);
  size_t never = 0;
  for (size_t i = 0; i < marks().size(); ++i) {
    const uint64_t hits = result.mark_hits[i];
    never += hits == 0;
    if (options.marks || (hits == 0 && result.done >= 1000))
      fmt::print("{:>12}  {} ({}:{})\n", hits, marks()[i].name, marks()[i].file, marks()[i].line);
  }
  fmt::print(
      "{} seeds in {:.1f} s ({:.1f} per second), {} failed; {} deaths, {} events, {:.0f} s simulated in each "
      "real second; {} of {} marked branches reached\n",
      result.done, result.seconds, static_cast<double>(result.done) / result.seconds, result.failures.size(),
      result.deaths, result.steps, result.simulated_seconds / result.seconds, marks().size() - never,
      marks().size());
  for (const auto& [seed, what] : result.failures)
    fmt::print("FAILED: seed {}: {}\nreplay: {}\n", seed, what, replay_line(options, seed));
  if (result.failures.empty()) return 0;
  // It may die again.
  show_in_own_process(options, result.failures.begin()->first);
  return 1;
}

// ---- deliberate bugs

// Whether the simulation sees the bug, and would not have failed without it.
bool find_bug(const Options& options, const Bug& bug) {
  RunnerOptions runner = options.runner;
  runner.workload = bug.workload;
  runner.pair = bug.pair;
  runner.hang_seconds = 20;
  plant(bug.name);
  const RunnerResult with = run_seeds(runner);
  std::string seen = "NOT FOUND", seeds = "none";
  bool found = !with.failures.empty();
  if (found) {
    runner.first = with.failures.begin()->first;
    runner.seeds = 1;
    seeds = std::to_string(with.done + 1);
    seen = with.failures.begin()->second;
    plant("");
    found = run_seeds(runner).failures.empty();
    if (!found) seen = fmt::format("NOT FOUND: seed {} fails without it as well", runner.first);
  }
  fmt::print("{:>7}  {:>4}  {:<58}  {:<55}  {}\n", seeds, bug.rule, bug.name, bug.breaks, seen);
  fflush(stdout);
  return found;
}

// Simulates until each is found, and says how many seeds it took. Returns the exit status.
int run_bugs(const Options& options) {
  size_t found = 0;
  fmt::print("{:>7}  {:>4}  {:<58}  {:<55}  {}\n", "seeds", "rule", "bug", "what it breaks", "what was seen");
  for (const Bug& bug : bugs()) found += find_bug(options, bug);
  fmt::print("{} of {} deliberate bugs found\n", found, bugs().size());
  return found == bugs().size() && rules_not_broken() == 0 ? 0 : 1;
}

}  // namespace
}  // namespace perdure::sim

int main(int argc, char** argv) {
  const auto options = perdure::sim::parse(argc, argv);
  spdlog::set_level(options.trace ? spdlog::level::info : spdlog::level::off);
  perdure::plant(options.bug);
  if (options.bugs) return perdure::sim::run_bugs(options);
  if (options.exhaustive) {
    perdure::sim::ExhaustiveOptions crashes = options.crashes;
    crashes.jobs = options.runner.jobs;
    crashes.trace = options.trace;
    return perdure::sim::run_exhaustive(crashes);
  }
  if (options.seed) return perdure::sim::show_one(options);
  return perdure::sim::run_many(options);
}
