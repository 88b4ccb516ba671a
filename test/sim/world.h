// World: one simulation. A blade with its disks (blade.h), the network (network.h) and clients (client.h), in
// one thread and in virtual time, where everything that happens follows from the seed.
//
// Time stands still while anything executes; it goes on to the next event, of the world's own (a message
// arrives, a client wakes up, a fault strikes) or of the blade's (a callback, the end of an I/O). What is
// wrong is told to fail(), which ends the simulation; the first failure counts.
#pragma once

#include <fmt/format.h>

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "sim/profile.h"
#include "sim/random.h"

namespace perdure::sim {

constexpr uint32_t block = 4096;        // of a file
constexpr uint64_t never = UINT64_MAX;  // a moment that has not come

class Blade;
class Network;
class PairNet;

class World {
 public:
  World(uint64_t seed, const Profile& profile);
  ~World();

  uint64_t seed() const { return seed_; }
  const Profile& profile() const { return profile_; }
  Random& random() { return random_; }
  // The one that clients reach, or reached last.
  Blade& blade();
  size_t blades() const { return blades_.size(); }
  Blade& blade(size_t i) { return *blades_[i]; }
  PairNet& pair_net() { return *pair_net_; }
  Network& network() { return *network_; }

  env::Instant now() const { return now_; }
  void after(env::Duration delay, env::Task task);
  // Counts what happens: a place in history, finer than time.
  uint64_t moment() { return ++moment_; }

  // Runs until `ended()` or a failure. It fails itself if nothing can happen any more, or if `limit` passes.
  template <class Ended>
  void run(const char* what, env::Duration limit, Ended&& ended) {
    const env::Instant end = now_ + limit;
    while (!failed() && !ended()) {
      if (!step()) return hangs(fmt::format("{}: nothing happens any more", what));
      if (now_ > end)
        return hangs(fmt::format("{}: not over after {} s", what, limit / std::chrono::seconds(1)));
    }
  }

  template <class... Args>
  void fail(fmt::format_string<Args...> format, Args&&... args) {
    set_failure(fmt::format(format, std::forward<Args>(args)...));
  }
  bool failed() const { return !failure_.empty(); }
  const std::string& failure() const { return failure_; }

  // The trace: lines that tell the story, kept where somebody wants to read them.
  template <class... Args>
  void trace(fmt::format_string<Args...> format, Args&&... args) {
    if (keep_trace_) keep_line(fmt::format(format, std::forward<Args>(args)...));
  }
  // Who a server says it is: always the same one.
  void see_server(const std::string& name) {
    if (server_.empty()) server_ = name;
    if (server_ != name) fail("the server was {}, and is {}", server_, name);
  }
  // Something that must be the same for the same seed.
  void note(uint64_t value) { hash_ = (hash_ ^ value) * 0x9e3779b97f4a7c15U + (hash_ >> 29U); }
  void keep_trace(size_t lines_max, bool print) {
    keep_trace_ = true;
    print_trace_ = print;
    lines_max_ = lines_max;
  }
  const std::deque<std::string>& lines() const { return lines_; }
  uint64_t hash() const { return hash_; }
  env::Duration simulated() const { return now_ - began_; }
  uint64_t steps() const { return steps_; }

 private:
  bool step();
  void hangs(const std::string& what);  // fails, with the server's state in the trace
  void set_failure(std::string what);
  void keep_line(std::string line);

  const uint64_t seed_;
  const Profile profile_;
  Random random_;
  env::Instant now_, began_;
  std::map<std::pair<env::Instant, uint64_t>, env::Task> events_;
  uint64_t next_event_ = 0, moment_ = 0, steps_ = 0;
  std::string failure_, server_;
  bool keep_trace_ = false, print_trace_ = false;
  size_t lines_max_ = 0;
  std::deque<std::string> lines_;
  uint64_t hash_ = 0;
  std::unique_ptr<Network> network_;
  std::unique_ptr<PairNet> pair_net_;
  std::vector<std::unique_ptr<Blade>> blades_;
};

}  // namespace perdure::sim
