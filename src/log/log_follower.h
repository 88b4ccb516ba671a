// LogFollower: reads the log of a stopped or running server, and goes on as more is written, without locking
// or changing anything (`perdure log`).
//
// What it gives is on the disk, whole and in its place in the log. The last batch may be one that its writer
// does not know to be durable yet. The ring wraps: whoever reads more slowly than the server writes is told
// what he missed. Blocks.
#pragma once

#include <memory>
#include <optional>

#include "log/log_scan.h"

namespace perdure::log {

class LogFollower {
 public:
  struct Batch {
    Lsn lsn;
    StartNumber start;  // of the server process that wrote it
    Epoch epoch;
  };
  struct Consumer {
    std::function<Result<void>(const Batch& batch, Bytes record, Lsn lsn)> record;
    // Records from `from` on are gone, overwritten by the server; it goes on at `to`.
    std::function<void(Lsn from, Lsn to)> lost;
  };

  static Result<std::unique_ptr<LogFollower>> open(const std::string& path);
  LogFollower(ReadAt read_at, uint64_t bytes, std::string name);

  // Finds the oldest and the newest batch. Before the first read_more(), or to see how things are.
  struct Extent {
    Lsn begin, end;
    StartNumber last_start;  // that took a number; it may have written nothing
  };
  Result<Extent> find();
  // Records before `from` are not given. Whether they are still there is found out by read_more().
  void begin_at(Lsn from) { from_ = from; }
  // Every record that is there and was not given before. True: there were some.
  Result<bool> read_more(const Consumer& consumer);
  // Behind the last batch that was read.
  Lsn position() const { return last_ ? last_->end() : Lsn(0); }

 private:
  Result<bool> read_all(const Consumer& consumer);
  Result<std::optional<BatchHeader>> header_at(Lsn lsn);
  // False: it is not there, or not whole. `expected` would have been the next one.
  Result<bool> read_batch(const BatchHeader& header, const Consumer& consumer, Lsn expected);

  std::shared_ptr<void> file_;
  uint64_t bytes_;
  Source source_;
  bool opened_ = false, searched_ = false;
  Lsn from_;
  std::optional<BatchHeader> last_;
  AlignedBuffer memory_;
};

}  // namespace perdure::log
