// The disk itself: what a server's durable creates and synchronous writes are done with, without a server.
// Threads call the system directly, since that is what a program on this machine would do.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "bench/result.h"

namespace perdure::bench {

struct LocalOptions {
  std::string directory;  // on the disk in question; a directory is made in it and removed again
  uint32_t threads = 64;
  double seconds = 5;
  double warmup_seconds = 0.5;
  uint64_t file_bytes = 256 << 20;
};

struct LocalWorkloadEntry {
  std::string_view name;
  std::string_view what;
};
std::span<const LocalWorkloadEntry> local_workloads();

Result<CellResult> run_local(std::string_view workload, const LocalOptions& options);

}  // namespace perdure::bench
