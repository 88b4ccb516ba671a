// Journal: the crash test's log of what it asked for and what was acknowledged, one line each, written to the
// file before the request is sent and right after its answer was read. So the tree can be checked later by
// another process, even if this one was killed as well. With an empty name nothing is written.
//
//   perdure-crash-log 1
//   directory NAME workers N counters N
//   > WORKER ACTION           asked for
//   < WORKER                  acknowledged
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "bench/crash/action.h"
#include "bench/crash/model.h"

namespace perdure::bench {

class Journal {
 public:
  static Result<Journal> create(const std::string& file_name, const std::string& directory, size_t workers,
                                size_t counters);
  Journal(Journal&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Journal& operator=(Journal&&) = delete;
  ~Journal();

  void asked(size_t worker, const Action& action);
  void acknowledged(size_t worker);

 private:
  explicit Journal(int fd) : fd_(fd) {}
  void write(const std::string& line);

  int fd_;
};

// What a journal says the server must hold.
struct Expectation {
  std::string directory;
  size_t counters = 0;
  std::vector<Model> models;                   // by worker
  std::vector<std::optional<Action>> pending;  // asked for, not acknowledged

  uint64_t acknowledged_increments(uint64_t counter) const;
  uint64_t pending_increments(uint64_t counter) const;
};
// A last line that was cut off is ignored; anything else that is not as above is an error.
Result<Expectation> read_journal(const std::string& file_name);

}  // namespace perdure::bench
