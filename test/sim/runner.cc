#include "sim/runner.h"

#include <fmt/format.h>
#include <signal.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "base/mark.h"
#include "sim/simulation.h"

namespace perdure::sim {
namespace {

double seconds_since(std::chrono::steady_clock::time_point began) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
}

// Of the processor, so that a busy machine makes nothing hang. 0: no limit.
void limit_time(unsigned seconds) {
  const itimerval limit{.it_interval = {}, .it_value = {.tv_sec = seconds, .tv_usec = 0}};
  setitimer(ITIMER_PROF, &limit, nullptr);
}

SimulationResult simulate_seed(const RunnerOptions& options, uint64_t seed) {
  return simulate({.seed = seed,
                   .workload = options.workload,
                   .pair = options.pair,
                   .trace_lines = 0,
                   .print_trace = false});
}

// What a worker process does: it simulates every n-th seed and reports by lines on a pipe,
//   "begin SEED", "end SEED STEPS NANOSECONDS DEATHS", "fail SEED WHAT", "mark NUMBER HITS"
void work(const RunnerOptions& options, uint64_t first, FILE* out) {
  const auto began = std::chrono::steady_clock::now();
  for (uint64_t seed = first; seed < options.first + options.seeds; seed += options.jobs) {
    if (options.seconds_max > 0 && seconds_since(began) > options.seconds_max) break;
    fmt::print(out, "begin {}\n", seed);
    fflush(out);
    limit_time(options.hang_seconds);
    SimulationResult result = simulate_seed(options, seed);
    if (options.twice && result.failure.empty()) {
      const SimulationResult again = simulate_seed(options, seed);
      if (again.hash != result.hash || again.steps != result.steps)
        result.failure = "the same seed does not do the same again";
    }
    limit_time(0);
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
  uint64_t seed = 0;  // under way; 0: none
  bool ended = false;
};

class Runner {
 public:
  explicit Runner(const RunnerOptions& options) : options_(options), workers_(options.jobs) {
    result_.mark_hits.resize(marks().size());
  }

  RunnerResult run() {
    const auto began = std::chrono::steady_clock::now();
    for (unsigned i = 0; i < options_.jobs; ++i) start(workers_[i], options_.first + i);
    // Reads them in turn; what one says meanwhile waits in its pipe.
    for (bool any = true; any;) {
      any = false;
      for (Worker& worker : workers_)
        if (!worker.ended) read_line(worker), any = true;
      if (!result_.failures.empty() && !options_.keep_going) stop();
    }
    result_.seconds = seconds_since(began);
    return std::move(result_);
  }

 private:
  void start(Worker& worker, uint64_t first) {
    int ends[2];
    if (pipe(ends) != 0) exit(2);
    fflush(stdout);
    worker.pid = fork();
    if (worker.pid < 0) exit(2);
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

  void read_line(Worker& worker) {
    char line[4096];
    if (fgets(line, sizeof line, worker.in) == nullptr) {
      end(worker);
      return;
    }
    unsigned long long seed = 0, a = 0, b = 0, c = 0;
    if (sscanf(line, "begin %llu", &seed) == 1) {
      worker.seed = seed;
    } else if (sscanf(line, "end %llu %llu %llu %llu", &seed, &a, &b, &c) == 4) {
      worker.seed = 0;
      ++result_.done, result_.steps += a, result_.deaths += c;
      result_.simulated_seconds += static_cast<double>(b) * 1e-9;
    } else if (sscanf(line, "fail %llu", &seed) == 1) {
      worker.seed = 0;
      std::string what(strchr(strchr(line, ' ') + 1, ' ') + 1);
      while (what.ends_with('\n')) what.pop_back();
      result_.failures[seed] = what;
    } else if (sscanf(line, "mark %llu %llu", &a, &b) == 2 && a < result_.mark_hits.size()) {
      result_.mark_hits[a] += b;
    }
  }

  // The process is gone. A seed that was under way has made it go.
  void end(Worker& worker) {
    fclose(worker.in);
    int status = 0;
    waitpid(worker.pid, &status, 0);
    worker.ended = true;
    if (worker.seed == 0) return;
    const bool hangs = WIFSIGNALED(status) && WTERMSIG(status) == SIGPROF;
    result_.failures[worker.seed] =
        hangs ? std::string("it hangs")
              : fmt::format("the simulation died ({})",
                            WIFSIGNALED(status) ? strsignal(WTERMSIG(status)) : "exit");
    const uint64_t next = std::exchange(worker.seed, 0) + options_.jobs;
    if (!options_.keep_going || next >= options_.first + options_.seeds) return;
    worker.ended = false;
    start(worker, next);
  }

  void stop() {
    for (Worker& worker : workers_) {
      if (worker.ended) continue;
      kill(worker.pid, SIGKILL);
      worker.seed = 0;  // it is not to blame
      // Its marks have come if it was done.
      end(worker);
    }
  }

  const RunnerOptions& options_;
  std::vector<Worker> workers_;
  RunnerResult result_;
};

}  // namespace

RunnerResult run_seeds(const RunnerOptions& options) {
  return Runner(options).run();
}

}  // namespace perdure::sim
