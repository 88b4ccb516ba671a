// What `perdure bench` does, without its command line.
#pragma once

#include <string>
#include <vector>

#include "bench/cell.h"
#include "bench/local_limit.h"

namespace perdure::bench {

// A server under test: "NAME=HOST:PORT/PATH[,pid=N]".
struct Target {
  std::string label;
  std::string server;
  std::string path = "/";
  pid_t pid = 0;
};
Result<Target> parse_target(const std::string& text);

struct BenchOptions {
  std::vector<std::string> workloads;  // "all" stands for those over NFS
  ClientOptions client;
  CellOptions cell;
  LocalOptions local;
  bool json = false;
  // More than one: each workload runs on them in turn, `runs` times.
  std::vector<Target> targets;
  uint32_t runs = 3;
  // Before each run: what the one before has left to the disk of this machine is written first, then all is
  // quiet for a while. Otherwise the second of two servers on one disk pays for the first.
  double settle_seconds = 1;
};

// Runs and prints. The exit status: 0 all is well, 1 errors or bad data, 2 it could not be run.
int run_bench(BenchOptions options);

}  // namespace perdure::bench
