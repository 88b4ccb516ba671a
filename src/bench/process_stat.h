// What a server process and this one have used, from /proc.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <vector>

namespace perdure::bench {

// A process and its descendants: a server under a guardian is more than one process. The CPU time includes
// that of children that have ended and were waited for.
std::vector<pid_t> process_tree(pid_t root);
std::vector<pid_t> child_processes(pid_t parent);
double tree_cpu_seconds(pid_t root);

struct Memory {
  uint64_t resident_bytes = 0;  // now
  uint64_t peak_bytes = 0;      // the sum of each process's highest
};
Memory tree_memory(pid_t root);

double own_cpu_seconds();

// CPU time of the whole machine that was spent, and that could have been.
struct MachineCpu {
  double busy_seconds = 0;
  double all_seconds = 0;
};
MachineCpu machine_cpu();

}  // namespace perdure::bench
