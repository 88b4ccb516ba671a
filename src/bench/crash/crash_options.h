// What a crash test is told.
#pragma once

#include <sys/types.h>

#include <string>

#include "bench/client.h"

namespace perdure::bench {

// When and how the test disturbs its server.
struct DisturbOptions {
  double kill_every_seconds = 0;  // on average; 0: never
  // One of them:
  std::string kill_command;      // run by /bin/sh
  std::string kill_pid_file;     // the process whose id stands there
  pid_t kill_children_of = 0;    // the child processes of this one, like a guardian's server
  double cut_every_seconds = 0;  // on average, a connection of the client's own
};

struct CrashOptions {
  ClientOptions client;
  DisturbOptions disturb;
  double seconds = 30;
  bool stop_on_eof = false;                 // or when standard input has ended
  std::string directory = "perdure-crash";  // the working directory's name begins with it
  std::string journal;                      // file name; empty: none
  uint64_t seed = 1;
  uint32_t counters = 4;
  uint32_t names_max = 60;        // per worker
  uint32_t file_blocks_max = 32;  // of a file
  bool check_change = true;       // compare change attributes: nobody else may have touched anything
  bool keep = false;
  bool json = false;
};

}  // namespace perdure::bench
