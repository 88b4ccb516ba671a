#include "bench/workload.h"

namespace perdure::bench {
namespace {

constexpr WorkloadEntry table[] = {
    {"create", "files of 4 KiB: OPEN (create), WRITE (FILE_SYNC), CLOSE; the three are one operation",
     make_create},
    {"meta", "32% LOOKUP, 36% GETATTR, 15% ACCESS, 4% READDIR, 5% create, 5% REMOVE, 3% RENAME", make_meta},
    {"mkdir-rmdir", "CREATE (directory) and REMOVE in turn, each an operation", make_mkdir_rmdir},
    {"getattr", "GETATTR of all that a Linux client asks for", make_getattr},
    {"opens", "OPEN of existing files and CLOSE in turn, each an operation", make_opens},
    {"locks", "LOCK and LOCKU of a byte range of one's own in turn, each an operation", make_locks},
    {"randwrite4k-sync", "4 KiB overwrites at random places of one file, FILE_SYNC", make_random_write_sync},
    {"randwrite4k-unstable", "the same UNSTABLE, with a COMMIT now and then", make_random_write_unstable},
    {"randread4k", "4 KiB reads at random places of one file that was read once before", make_random_read},
    {"seqwrite1m", "1 MiB writes, a file for each connection, UNSTABLE, with a COMMIT at the end",
     make_sequential_write},
    {"seqread1m", "1 MiB reads in order, a file for each connection", make_sequential_read},
};

}  // namespace

std::span<const WorkloadEntry> workloads() {
  return table;
}

const WorkloadEntry* find_workload(std::string_view name) {
  for (const WorkloadEntry& entry : table) {
    if (entry.name == name) return &entry;
  }
  return nullptr;
}

void Worker::failed(Op op, NfsStatus status) {
  if (!cell_.measuring(now())) return;
  ++cell_.result().errors[fmt::format("{}: {}", op_name(op), status_name(status))];
}

void Worker::bad(const std::string& what) {
  CellResult& result = cell_.result();
  if (result.bad_data++ == 0) result.bad_example = what;
}

}  // namespace perdure::bench
