// Workload: what the workers of a cell do. A new one is a class in a workload_*.cc and a line in the table of
// workload.cc.
#pragma once

#include <span>

#include "bench/cell.h"
#include "bench/pattern.h"

namespace perdure::bench {

// The owner of one slot.
class Worker {
 public:
  Worker(Cell& cell, Slot& slot) : cell_(cell), slot_(slot), random_(cell.options().seed + slot.index()) {}

  Cell& cell() { return cell_; }
  Slot& slot() { return slot_; }
  Client& client() { return cell_.client(); }
  const CellOptions& options() const { return cell_.options(); }
  Random& random() { return random_; }
  uint32_t index() const { return slot_.index(); }
  uint32_t connection() const { return index() % cell_.client().options().connections; }

  // An operation begins at now() and is over with done(), failed() or bad(); the first alone counts it.
  bool more() const { return !cell_.over(); }
  Nanoseconds now() { return cell_.client().now(); }
  void done(Nanoseconds begun, uint64_t bytes = 0) {
    const Nanoseconds end = now();
    if (!cell_.measuring(end)) return;
    CellResult& result = cell_.result();
    result.latency.add(end - begun);
    ++result.ops;
    result.bytes += bytes;
  }
  void failed(const Reply& reply) { failed(reply.error_op(), reply.error()); }
  void failed(Op op, NfsStatus status);
  // The server said yes, but what it gave is not what it should be.
  void bad(const std::string& what);

 private:
  Cell& cell_;
  Slot& slot_;
  Random random_;
};

class Workload {
 public:
  virtual ~Workload() = default;
  virtual Task<> prepare_alone(Worker&) { co_return; }
  virtual Task<> prepare(Worker&) { co_return; }
  virtual Task<> settle(Worker&) { co_return; }
  virtual Task<> run(Worker& worker) = 0;
  virtual Task<> conclude(Worker&) { co_return; }
  virtual Task<> check(Worker&) { co_return; }
  // conclude() belongs to the measured work: the clock runs until it is over.
  virtual bool concludes() const { return false; }
};

struct WorkloadEntry {
  std::string_view name;
  std::string_view what;
  std::unique_ptr<Workload> (*make)();
};
std::span<const WorkloadEntry> workloads();
const WorkloadEntry* find_workload(std::string_view name);

// By file; each is described in workload.cc.
std::unique_ptr<Workload> make_create();
std::unique_ptr<Workload> make_mkdir_rmdir();
std::unique_ptr<Workload> make_getattr();
std::unique_ptr<Workload> make_meta();
std::unique_ptr<Workload> make_opens();
std::unique_ptr<Workload> make_locks();
std::unique_ptr<Workload> make_random_write_sync();
std::unique_ptr<Workload> make_random_write_unstable();
std::unique_ptr<Workload> make_random_read();
std::unique_ptr<Workload> make_sequential_write();
std::unique_ptr<Workload> make_sequential_read();

}  // namespace perdure::bench
