// One cell of a table of measurements: a workload, run by all slots of a client for a while, with what was
// counted.
//
// A cell's way: prepare_alone (the first worker), prepare (all workers side by side), settle (the first), run
// (all, until the time is over), conclude (all; for what belongs to the work, like a final COMMIT), check
// (all: what was written is read back), then the working directory is removed.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "bench/client.h"
#include "bench/ops.h"
#include "bench/process_stat.h"
#include "bench/result.h"

namespace perdure::bench {

struct CellOptions {
  double seconds = 5;
  double warmup_seconds = 0.5;
  std::string directory = "perdure-bench";  // the working directories' names under the path begin with it
  uint64_t file_bytes = 256 << 20;          // of the random reads and writes
  uint64_t sequential_bytes = 512 << 20;    // of each connection's file
  uint32_t directories = 16;
  uint32_t files_per_directory = 50;  // of those that are there beforehand
  uint32_t commit_every = 64;         // unstable writes of a worker
  CreateMode create_mode = CreateMode::GUARDED4;
  bool keep = false;  // the working directory
  pid_t server_pid = 0;
  uint64_t seed = 1;
};

class Worker;
class Workload;

// What the workers of a cell share.
class Cell {
 public:
  Cell(Client& client, const CellOptions& options, Workload& workload, std::string workload_name);
  ~Cell();
  // Everything; an error if it could not be set up or the client stopped.
  Result<CellResult> run();

  Client& client() { return client_; }
  const CellOptions& options() const { return options_; }
  CellResult& result() { return result_; }
  size_t workers() const;
  const FileHandle& directory() const { return directory_; }
  const std::vector<FileHandle>& directories() const { return directories_; }

  bool over() const { return client_.now() >= until_; }
  bool measuring(Nanoseconds now) const { return now >= from_ && now < counted_until_; }

  // Of each WRITE and COMMIT: what was not stable may be lost if it changes, so the cell ends.
  void note_verifier(const Verifier& verifier);
  // Something without which the cell makes no sense.
  void give_up(const std::string& what, NfsStatus status);

 private:
  struct Usage {
    Nanoseconds time = 0;
    double client = 0;
    double server = 0;
    MachineCpu machine;
  };
  Result<void> alone(Task<> task);
  Result<void> phase(Task<> (Workload::*step)(Worker&));
  Result<void> measure();
  Usage usage() const;
  Task<> make_directories(Slot& slot);

  Client& client_;
  CellOptions options_;
  Workload& workload_;
  CellResult result_;
  std::string directory_name_;
  FileHandle directory_;
  std::vector<FileHandle> directories_;
  std::vector<Worker> workers_;  // of fixed size: tasks hold references
  std::optional<Verifier> verifier_;
  Nanoseconds from_ = 0;
  Nanoseconds until_ = 0;
  Nanoseconds counted_until_ = 0;
  Usage before_;
  Usage after_;
};

}  // namespace perdure::bench
