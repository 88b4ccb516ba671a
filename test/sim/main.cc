// perdure-sim: simulates seeds, many at once, each in a process that may die of it.
#include <fmt/format.h>
#include <signal.h>
#include <spdlog/spdlog.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <map>
#include <string>

#include "base/mark.h"
#include "sim/exhaustive.h"
#include "sim/simulation.h"
#include "sim/workload.h"

namespace perdure::sim {
namespace {

struct Options {
  std::optional<uint64_t> seed;
  uint64_t first = 1, seeds = 100;
  double seconds_max = 0;
  std::string workload;
  unsigned jobs = 2;
  size_t tail = 60;
  bool trace = false, twice = false, marks = false, keep_going = false;
  unsigned hang_seconds = 120;
  bool exhaustive = false;
  ExhaustiveOptions crashes;
};

Options parse(int argc, char** argv) {
  Options options;
  CLI::App app("Simulates Perdure under faults. What happens in a simulation depends on its seed alone.");
  app.add_option("--seed", options.seed, "only this one; a failure shows the end of its trace");
  app.add_option("--seeds", options.seeds, "how many")->capture_default_str();
  app.add_option("--first", options.first, "the first one")->capture_default_str();
  app.add_option("--seconds", options.seconds_max, "begin no more seeds after this time (0: no limit)");
  std::string names;
  for (const WorkloadType& type : workload_types())
    names += std::string(names.empty() ? "" : ", ") + type.name;
  app.add_option("--workload", options.workload, "only this one: " + names);
  app.add_option("--jobs", options.jobs, "simulations at the same time")->capture_default_str();
  app.add_option("--tail", options.tail, "lines of the trace to show after a failure")->capture_default_str();
  app.add_flag("--trace", options.trace, "with --seed: print the whole trace");
  app.add_flag("--twice", options.twice, "simulate each seed twice and compare what happened");
  app.add_flag("--marks", options.marks, "print how often each rare branch was taken");
  app.add_flag("--keep-going", options.keep_going, "do not stop at the first failure");
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
  try {
    app.parse(argc, argv);
    bool known = options.workload.empty();
    for (const WorkloadType& type : workload_types()) known |= options.workload == type.name;
    if (!known) throw CLI::ValidationError("--workload", "there is none of this name; there are: " + names);
  } catch (const CLI::ParseError& e) {
    exit(app.exit(e));
  }
  return options;
}

std::string replay_line(const Options& options, uint64_t seed) {
  std::string line = fmt::format("./x sim --seed {}", seed);
  if (!options.workload.empty()) line += " --workload " + options.workload;
  return line;
}

SimulationResult simulate_one(const Options& options, uint64_t seed, size_t lines, bool print) {
  return simulate({.seed = seed, .workload = options.workload, .trace_lines = lines, .print_trace = print});
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

// ---- many: each worker process simulates every n-th seed and reports by lines on a pipe:
//   "begin SEED", "end SEED STEPS NANOSECONDS DEATHS", "fail SEED WHAT", "mark NUMBER HITS"

void work(const Options& options, uint64_t first, FILE* out) {
  const auto began = std::chrono::steady_clock::now();
  for (uint64_t seed = first; seed < options.first + options.seeds; seed += options.jobs) {
    const double elapsed = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
    if (options.seconds_max > 0 && elapsed > options.seconds_max) break;
    fmt::print(out, "begin {}\n", seed);
    fflush(out);
    alarm(options.hang_seconds);
    SimulationResult result = simulate_one(options, seed, 0, false);
    if (options.twice && result.failure.empty()) {
      const SimulationResult again = simulate_one(options, seed, 0, false);
      if (again.hash != result.hash || again.steps != result.steps)
        result.failure = "the same seed does not do the same again";
    }
    alarm(0);
    if (result.failure.empty())
      fmt::print(out, "end {} {} {} {}\n", seed, result.steps, result.simulated.count(), result.deaths);
    else
      fmt::print(out, "fail {} {}\n", seed, result.failure);
    fflush(out);
    if (!result.failure.empty() && !options.keep_going) break;
  }
  for (size_t i = 0; i < marks().size(); ++i)
    fmt::print(out, "mark {} {}\n", i, marks()[i].hits.load(std::memory_order_relaxed));
  fflush(out);
}

struct Worker {
  pid_t pid = 0;
  FILE* in = nullptr;
  uint64_t seed = 0;  // under way
  bool ended = false;
};

class Runner {
 public:
  explicit Runner(const Options& options) : options_(options), mark_hits_(marks().size()) {}

  int run() {
    const auto began = std::chrono::steady_clock::now();
    std::vector<Worker> workers(options_.jobs);
    for (unsigned i = 0; i < options_.jobs; ++i) start(workers[i], options_.first + i);
    // Reads them in turn; what one says meanwhile waits in its pipe.
    for (bool any = true; any;) {
      any = false;
      for (Worker& worker : workers)
        if (!worker.ended) any |= read_line(worker), any |= !worker.ended;
    }
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
    report(seconds);
    for (const auto& [seed, what] : failures_)
      fmt::print("FAILED: seed {}: {}\nreplay: {}\n", seed, what, replay_line(options_, seed));
    if (!failures_.empty()) fflush(stdout), show_tail(failures_.begin()->first);
    return failures_.empty() ? 0 : 1;
  }

 private:
  void start(Worker& worker, uint64_t first) {
    int ends[2];
    if (pipe(ends) != 0) exit(2);
    fflush(stdout);
    worker.pid = fork();
    if (worker.pid == 0) {
      close(ends[0]);
      FILE* out = fdopen(ends[1], "w");
      work(options_, first, out);
      fclose(out);
      _exit(0);
    }
    close(ends[1]);
    worker.in = fdopen(ends[0], "r");
  }

  bool read_line(Worker& worker) {
    char line[4096];
    if (fgets(line, sizeof line, worker.in) == nullptr) {
      end(worker);
      return false;
    }
    unsigned long long seed = 0, a = 0, b = 0, c = 0;
    if (sscanf(line, "begin %llu", &seed) == 1) {
      worker.seed = seed;
    } else if (sscanf(line, "end %llu %llu %llu %llu", &seed, &a, &b, &c) == 4) {
      worker.seed = 0;
      ++done_, steps_ += a, simulated_ += static_cast<double>(b) * 1e-9, deaths_ += c;
    } else if (sscanf(line, "fail %llu", &seed) == 1) {
      worker.seed = 0;
      std::string what(strchr(strchr(line, ' ') + 1, ' ') + 1);
      what.pop_back();
      failures_[seed] = what;
    } else if (sscanf(line, "mark %llu %llu", &a, &b) == 2 && a < mark_hits_.size()) {
      mark_hits_[a] += b;
    }
    return true;
  }

  void end(Worker& worker) {
    fclose(worker.in);
    int status = 0;
    waitpid(worker.pid, &status, 0);
    worker.ended = true;
    if (worker.seed == 0) return;
    failures_[worker.seed] = WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM
                                 ? std::string("it hangs")
                                 : fmt::format("the simulation died ({})",
                                               WIFSIGNALED(status) ? strsignal(WTERMSIG(status)) : "exit");
    const uint64_t next = std::exchange(worker.seed, 0) + options_.jobs;
    if (!options_.keep_going || next >= options_.first + options_.seeds) return;
    worker.ended = false;
    start(worker, next);
  }

  void report(double seconds) const {
    size_t never = 0;
    for (size_t i = 0; i < mark_hits_.size(); ++i) {
      never += mark_hits_[i] == 0;
      if (options_.marks || (mark_hits_[i] == 0 && done_ >= 1000))
        fmt::print("{:>12}  {} ({}:{})\n", mark_hits_[i], marks()[i].name, marks()[i].file, marks()[i].line);
    }
    fmt::print(
        "{} seeds in {:.1f} s ({:.1f} per second), {} failed; {} deaths, {} events, {:.0f} s simulated in "
        "each real "
        "second; {} of {} marked branches reached\n",
        done_, seconds, static_cast<double>(done_) / seconds, failures_.size(), deaths_, steps_,
        simulated_ / seconds, mark_hits_.size() - never, mark_hits_.size());
  }

  // In a process of its own, because it may die again.
  void show_tail(uint64_t seed) const {
    const pid_t pid = fork();
    if (pid == 0) {
      Options one = options_;
      one.seed = seed;
      alarm(options_.hang_seconds);
      const int status = show_one(one);
      fflush(stdout);
      _exit(status);
    }
    int status = 0;
    waitpid(pid, &status, 0);
  }

  const Options& options_;
  std::vector<uint64_t> mark_hits_;
  std::map<uint64_t, std::string> failures_;
  uint64_t done_ = 0, steps_ = 0, deaths_ = 0;
  double simulated_ = 0;
};

}  // namespace
}  // namespace perdure::sim

int main(int argc, char** argv) {
  const auto options = perdure::sim::parse(argc, argv);
  spdlog::set_level(options.trace ? spdlog::level::warn : spdlog::level::off);
  if (options.exhaustive) {
    perdure::sim::ExhaustiveOptions crashes = options.crashes;
    crashes.jobs = options.jobs;
    crashes.trace = options.trace;
    return perdure::sim::run_exhaustive(crashes);
  }
  if (options.seed) return perdure::sim::show_one(options);
  return perdure::sim::Runner(options).run();
}
