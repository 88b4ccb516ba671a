// Files that are there before the measurement, evenly in all directories.
#pragma once

#include <string>
#include <vector>

#include "bench/workload.h"

namespace perdure::bench {

class StandingFiles {
 public:
  struct File {
    uint32_t directory;
    std::string name;
    FileHandle fh;
    uint64_t fileid;
  };

  void size_for(Cell& cell) {
    files_.resize(size_t{cell.options().directories} * cell.options().files_per_directory);
  }
  // This worker's share.
  Task<> prepare(Worker& w);
  const File& any(Random& random) const { return files_[random.below(files_.size())]; }

 private:
  std::vector<File> files_;
};

}  // namespace perdure::bench
