#include "sim/world.h"

#include <nlohmann/json.hpp>

#include "server/status.h"
#include "sim/blade.h"
#include "sim/network.h"
#include "sim/pair_net.h"

namespace perdure::sim {

World::World(uint64_t seed, const Profile& profile)
    : seed_(seed),
      profile_(profile),
      random_(seed * 0x9e3779b97f4a7c15U + 1),
      now_(std::chrono::seconds(1)),
      began_(now_),
      network_(std::make_unique<Network>(*this)),
      pair_net_(std::make_unique<PairNet>(*this)) {
  for (size_t i = 0; i < (profile_.pair ? 2U : 1U); ++i) blades_.push_back(std::make_unique<Blade>(*this, i));
  if (profile_.pair) pair_net_->set_up({.epoch = Epoch(1), .primary = {"a", 0}, .in_sync = {{"a", 0}}});
}

World::~World() {
  for (const auto& blade : blades_) blade->end();
}

Blade& World::blade() {
  Blade* there = network_->blade();
  return there != nullptr ? *there : *blades_[0];
}

void World::after(env::Duration delay, env::Task task) {
  events_.emplace(std::pair(now_ + delay, ++next_event_), std::move(task));
}

// At the same time either may be first.
bool World::step() {
  std::optional<env::Instant> blades;
  Blade* next = nullptr;
  for (const auto& blade : blades_) {
    const std::optional<env::Instant> at = blade->next_event();
    if (!at || (blades && (*at > *blades || (*at == *blades && random_.one_in(2))))) continue;
    blades = at;
    next = blade.get();
  }
  const std::optional<env::Instant> worlds =
      events_.empty() ? std::nullopt : std::optional(events_.begin()->first.first);
  if (!blades && !worlds) return false;
  ++steps_;
  const bool blade = blades && (!worlds || *blades < *worlds || (*blades == *worlds && random_.one_in(2)));
  now_ = std::max(now_, blade ? *blades : *worlds);
  if (blade) {
    next->step();
    return true;
  }
  env::Task task = std::move(events_.begin()->second);
  events_.erase(events_.begin());
  task();
  return true;
}

void World::hangs(const std::string& what) {
  for (const auto& blade : blades_) {
    trace("blade {}: {}", blade->name(), blade->says());
    if (blade->serving()) trace("the server: {}", server::status_json(blade->vserver()).dump(2));
  }
  fail("{}", what);
}

void World::set_failure(std::string what) {
  trace("FAILURE: {}", what);
  if (failure_.empty()) failure_ = std::move(what);
}

void World::keep_line(std::string line) {
  line = fmt::format("{:12.6f} {}", std::chrono::duration<double>(now_.time_since_epoch()).count(), line);
  if (print_trace_) fmt::print("{}\n", line);
  lines_.push_back(std::move(line));
  if (lines_.size() > lines_max_) lines_.pop_front();
}

}  // namespace perdure::sim
