// The arbiter: keeps a vserver's configuration where both blades can reach it, and changes it for whoever
// knows the newest one. etcd in the field (server/etcd_arbiter.h), a few lines of memory in the simulator.
#pragma once

#include "env/env.h"
#include "mirror/configuration.h"

namespace perdure::mirror {

class Arbiter {
 public:
  struct Versioned {
    Configuration configuration;
    uint64_t version = 0;  // of the arbiter's; 0: there is no configuration
  };
  struct Replaced {
    bool done = false;
    Versioned now;  // what is there, whoever put it
  };

  virtual ~Arbiter() = default;
  // An error: it cannot be reached.
  virtual void read(env::Done<Versioned> done) = 0;
  // If `version` is the newest one, `next` takes its place. An error: it is not known whether it did, or
  // will.
  virtual void replace(uint64_t version, const Configuration& next, env::Done<Replaced> done) = 0;
};

}  // namespace perdure::mirror
