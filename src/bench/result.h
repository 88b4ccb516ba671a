// CellResult: what one measurement gave, over NFS or on the local disk.
#pragma once

#include <map>
#include <string>

#include "bench/client.h"
#include "bench/histogram.h"

namespace perdure::bench {

struct CellResult {
  std::string server;
  std::string workload;
  uint32_t connections = 0;
  uint32_t depth = 0;
  double seconds = 0;
  uint64_t ops = 0;
  uint64_t bytes = 0;
  Histogram latency;
  double client_cpu_seconds = 0;
  double server_cpu_seconds = 0;  // 0: not known
  double other_cpu_share = 0;     // of the whole machine, spent by neither client nor server
  uint64_t server_resident_bytes = 0;
  uint64_t server_peak_bytes = 0;
  std::map<std::string, uint64_t> errors;  // "operation: status" -> how often
  uint64_t bad_data = 0;
  std::string bad_example;
  ClientCounters counters;
  bool persistent = false;

  double ops_per_second() const { return seconds > 0 ? static_cast<double>(ops) / seconds : 0; }
  double ops_per_server_cpu_second() const {
    return server_cpu_seconds > 0 ? static_cast<double>(ops) / server_cpu_seconds : 0;
  }
  uint64_t error_count() const;
};

}  // namespace perdure::bench
