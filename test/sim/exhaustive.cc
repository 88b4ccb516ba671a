#include "sim/exhaustive.h"

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <charconv>
#include <chrono>
#include <cstdio>
#include <map>

#include "nfs4/operations.h"

namespace perdure::sim {
namespace {

using nfs4::Opnum4;

// Operations that change no row, and so need no scenario. Connections and leases are in memory alone.
constexpr Opnum4 without_effect[] = {
    Opnum4::OP_ACCESS,       Opnum4::OP_GETATTR,
    Opnum4::OP_GETFH,        Opnum4::OP_LOCKT,
    Opnum4::OP_LOOKUP,       Opnum4::OP_LOOKUPP,
    Opnum4::OP_NVERIFY,      Opnum4::OP_PUTFH,
    Opnum4::OP_PUTPUBFH,     Opnum4::OP_PUTROOTFH,
    Opnum4::OP_READ,         Opnum4::OP_READDIR,
    Opnum4::OP_READLINK,     Opnum4::OP_RESTOREFH,
    Opnum4::OP_SAVEFH,       Opnum4::OP_SECINFO,
    Opnum4::OP_VERIFY,       Opnum4::OP_BIND_CONN_TO_SESSION,
    Opnum4::OP_TEST_STATEID, Opnum4::OP_SECINFO_NO_NAME,
    Opnum4::OP_READ_PLUS,    Opnum4::OP_IO_ADVISE,
    Opnum4::OP_GETXATTR,     Opnum4::OP_LISTXATTRS,
    Opnum4::OP_RENEW,        Opnum4::OP_OFFLOAD_STATUS,
};

// As some minor version has it.
const nfs4::Operation* find_operation(Opnum4 number) {
  const nfs4::Operation* operation = nfs4::find_operation(number, 2);
  return operation != nullptr ? operation : nfs4::find_operation(number, 0);
}

// How many are not covered; says which.
int check_coverage(const Operations& covered) {
  int missing = 0;
  Operations excused;
  for (const Opnum4 n : without_effect) {
    const nfs4::Operation* operation = find_operation(n);
    CHECK(operation != nullptr && !operation->writes);
    excused.set(static_cast<size_t>(n));
  }
  for (size_t n = 0; n < covered.size(); ++n) {
    if (find_operation(static_cast<Opnum4>(n)) == nullptr || excused[n] || covered[n]) continue;
    fmt::print("FAILED: operation {} ({}) is in no scenario\n", n, bench::op_name(static_cast<Op>(n)));
    ++missing;
  }
  return missing;
}

const char* kind_name(processor::Kind kind) {
  switch (kind) {
    case processor::Kind::compound:
      return "compound";
    case processor::Kind::reclaim:
      return "reclaim";
    case processor::Kind::expire_client:
      return "expire_client";
    case processor::Kind::recall:
      return "recall";
    case processor::Kind::lock_wait:
      return "lock_wait";
    case processor::Kind::async_copy:
      return "async_copy";
    case processor::Kind::unlogged:
      break;
  }
  return nullptr;
}

// The same for what takes several steps.
int check_machines(const Machines& covered) {
  int missing = 0;
  for (size_t n = 0; n < covered.kinds.size(); ++n) {
    const char* name = kind_name(static_cast<processor::Kind>(n));
    if (name == nullptr || covered.kinds[n]) continue;
    fmt::print("FAILED: no {} was in the log at any point\n", name);
    ++missing;
  }
  for (size_t n = 0; n < covered.registers.size(); ++n) {
    if (covered.registers[n]) continue;
    fmt::print("FAILED: no COMPOUND with registers {} (nfs4/compound.h) was in the log at any point\n", n);
    ++missing;
  }
  return missing;
}

// Points and crashes of the scenarios in which each operation succeeds.
void print_operations(std::span<const Tally> tallies) {
  fmt::print("{:32} {:>9} {:>8} {:>8}\n", "operation", "scenarios", "points", "crashes");
  for (size_t n = 0; n < Operations().size(); ++n) {
    uint64_t scenarios = 0, points = 0, deaths = 0;
    for (const Tally& t : tallies) {
      if (!t.operations[n]) continue;
      ++scenarios;
      points += t.callbacks + t.io_requests;
      for (const uint64_t runs : t.runs) deaths += runs;
      deaths += t.second_runs;
    }
    const nfs4::Operation* operation = find_operation(static_cast<Opnum4>(n));
    if (operation == nullptr || scenarios == 0) continue;
    fmt::print("{:32} {:9} {:8} {:8}\n", bench::op_name(static_cast<Op>(n)), scenarios, points, deaths);
  }
}

int print_failure(const Scenario& scenario, const CrashPlan& plan, const std::string& failure) {
  if (failure.empty()) return 0;
  fmt::print("FAILED: {}\nreplay: perdure-sim --exhaustive {}\n", failure, describe(scenario, plan));
  return 1;
}

// ---- one run

int replay(const Scenario& scenario, const ExhaustiveOptions& options) {
  CrashPlan plan{.then = options.then};
  std::string_view point = options.point;
  plan.io = point.starts_with("io");
  if (plan.io) point.remove_prefix(2);
  std::from_chars(point.data(), point.data() + point.size(), plan.point);
  for (const Crash crash : crashes)
    if (options.crash == crash_name(crash)) plan.crash = crash;
  Performance expected;
  if (plan.point != 0) expected = rehearse({.scenario = &scenario});
  const Performance found = rehearse({.scenario = &scenario,
                                      .plan = plan,
                                      .expected = plan.point != 0 ? &expected : nullptr,
                                      .print_trace = options.trace});
  if (!options.trace)
    for (const std::string& line : found.outcome) fmt::print("{}\n", line);
  return print_failure(scenario, plan, found.failure);
}

// ---- all runs

void explore(const Scenario& scenario, const ExhaustiveOptions& options, Tally& tally) {
  const auto began = std::chrono::steady_clock::now();
  const Performance expected = rehearse({.scenario = &scenario});
  tally.callbacks = expected.hashes.size();
  tally.io_requests = expected.io_requests;
  tally.operations = expected.operations;
  tally.machines = expected.machines;
  tally.failures += static_cast<uint64_t>(print_failure(scenario, {}, expected.failure));
  if (expected.failure.empty()) {
    const Performance found = rehearse({.scenario = &scenario,
                                        .tally = &tally,
                                        .sample = options.sample,
                                        .second_sample = options.second_sample,
                                        .expected = &expected});
    tally.failures += static_cast<uint64_t>(print_failure(scenario, {}, found.failure));
  }
  fflush(stdout);
  tally.nanoseconds = static_cast<uint64_t>((std::chrono::steady_clock::now() - began).count());
}

void print(const char* name, const Tally& t) {
  fmt::print("{:32} {:6} {:5} {:6} {:6} {:6} {:6} {:7} {:8} {:7.1f}\n", name, t.callbacks, t.io_requests,
             t.runs[0], t.runs[1], t.runs[2], t.runs[3], t.second_runs, t.failures,
             static_cast<double>(t.nanoseconds) * 1e-9);
  fflush(stdout);
}

void add(Tally& total, const Tally& t) {
  total.callbacks += t.callbacks, total.io_requests += t.io_requests;
  for (size_t i = 0; i < std::size(crashes); ++i) total.runs[i] += t.runs[i];
  total.second_runs += t.second_runs, total.failures += t.failures, total.nanoseconds += t.nanoseconds;
  total.operations |= t.operations;
  total.machines |= t.machines;
}

}  // namespace

int run_exhaustive(const ExhaustiveOptions& options) {
  std::vector<Scenario> scenarios = all_scenarios();
  const bool all = options.scenario.empty();
  if (!all) std::erase_if(scenarios, [&](const Scenario& s) { return s.name != options.scenario; });
  if (scenarios.empty()) {
    fmt::print("there is no scenario of this name; there are:");
    for (const Scenario& s : all_scenarios()) fmt::print(" {}", s.name);
    fmt::print("\n");
    return 2;
  }
  if (!all && (!options.point.empty() || options.trace)) return replay(scenarios[0], options);

  const size_t bytes = sizeof(Tally) * scenarios.size();
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  CHECK(memory != MAP_FAILED);
  const std::span<Tally> tallies(static_cast<Tally*>(memory), scenarios.size());
  std::uninitialized_value_construct(tallies.begin(), tallies.end());

  fmt::print("{:32} {:>6} {:>5} {:>6} {:>6} {:>6} {:>6} {:>7} {:>8} {:>7}\n", "scenario", "calls", "I/O",
             "kill", "keep", "drop", "tear", "again", "failures", "seconds");
  std::map<pid_t, size_t> running;
  for (size_t next = 0; next < scenarios.size() || !running.empty();) {
    if (next < scenarios.size() && running.size() < options.jobs) {
      fflush(stdout);
      const pid_t pid = fork();
      if (pid == 0) {
        explore(scenarios[next], options, tallies[next]);
        _exit(0);
      }
      running[pid] = next++;
      continue;
    }
    int status = 0;
    const pid_t pid = wait(&status);
    const size_t ended = running.at(pid);
    running.erase(pid);
    if (status != 0) ++tallies[ended].failures, fmt::print("FAILED: {} died\n", scenarios[ended].name);
    print(scenarios[ended].name, tallies[ended]);
  }
  Tally total;
  for (const Tally& tally : tallies) add(total, tally);
  print("all", total);
  print_operations(tallies);
  if (all) total.failures += static_cast<uint64_t>(check_coverage(total.operations));
  if (all) total.failures += static_cast<uint64_t>(check_machines(total.machines));
  return total.failures == 0 ? 0 : 1;
}

}  // namespace perdure::sim
