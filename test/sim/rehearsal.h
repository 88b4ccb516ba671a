// Rehearsal: one run of a scenario (scenario.h), with the crashes of a plan, or with every crash there is.
//
// Points. While act() is executed, and until the server has nothing to do any more, each callback of the
// blade is a point, after which it may die; and each I/O request is one: it and those after it never end,
// everything else goes on as far as it can, then the blade dies. Everything is fixed but the crashes (no
// other fault, the same latencies), so that all runs are the same up to the point.
//
// In a rehearsal of everything each crash is tried in a forked process of its own, which goes on with the
// plan of that crash until its verdict.
#pragma once

#include <bitset>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "nfs4/compound.h"
#include "sim/scenario.h"

namespace perdure::sim {

enum class Crash : uint8_t {
  kill,
  keep,
  drop,
  tear
};  // all but the first cut the power, and every connection
constexpr Crash crashes[] = {Crash::kill, Crash::keep, Crash::drop, Crash::tear};
const char* crash_name(Crash crash);

struct CrashPlan {
  uint64_t point = 0;  // callbacks since act() began, or the number of an I/O request; 0: no crash
  bool io = false;     // the latter
  Crash crash{};
  // Callbacks since then, with which it dies again; after as many once more; and as soon as it serves.
  uint64_t then = 0;
  Crash then_crash() const { return crashes[(point + then) % std::size(crashes)]; }
};

// Transactions that were in the log at some point, in the middle of what they do: their kinds, and of
// COMPOUNDs the registers of the operation.
struct Machines {
  std::bitset<256> kinds;
  std::bitset<std::variant_size_v<nfs4::OperationRegisters>> registers;
  Machines& operator|=(const Machines& other) {
    kinds |= other.kinds, registers |= other.registers;
    return *this;
  }
};

// What was found without a crash.
struct Performance {
  std::vector<std::string> outcome;
  std::vector<uint64_t> hashes;  // of the world, at each callback
  uint64_t io_requests = 0;
  Operations operations;
  Machines machines;
  std::string failure;
};

// In memory that is shared with the forked processes.
struct Tally {
  uint64_t callbacks = 0, io_requests = 0;  // points there are
  uint64_t runs[std::size(crashes)] = {};   // with a first crash at one of them
  uint64_t second_runs = 0;                 // with further ones
  uint64_t failures = 0;
  Operations operations;
  Machines machines;
  uint64_t nanoseconds = 0;
};

struct RehearsalOptions {
  const Scenario* scenario = nullptr;
  CrashPlan plan;
  // Everything: every n-th point, of the second crashes as well, which come after every n-th of these.
  Tally* tally = nullptr;
  uint64_t sample = 1, second_sample = 1;
  const Performance* expected = nullptr;
  bool print_trace = false;
};

// With a tally it forks, and its own result is of no interest. Otherwise: compares with what is expected, if
// that is given, and fails with the first difference.
Performance rehearse(const RehearsalOptions& options);

// "--scenario NAME --point K --crash keep --then J"
std::string describe(const Scenario& scenario, const CrashPlan& plan);

}  // namespace perdure::sim
