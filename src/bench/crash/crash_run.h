// The crash test: CrashWorkers on all slots of one client while the server is killed and connections are cut;
// then a client of its own reads everything back and compares it with what was acknowledged.
#pragma once

#include "bench/crash/compare.h"
#include "bench/crash/crash_options.h"

namespace perdure::bench {

// Both run, print, and return the exit status: 0 all is as it must be, 1 it is not, 2 it could not be run.
int run_crash_test(const CrashOptions& options);
// Checks the tree of a journal, once more or after the client of the test has died as well.
int run_crash_verify(const CrashOptions& options);

}  // namespace perdure::bench
