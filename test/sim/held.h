// Held: what clients hold of something (locks, share reservations), as it is seen from outside. A hold may be
// there from the moment it was asked for until its end was answered, and is there surely from the moment it
// was granted until its end was asked for. So
//   no two that conflict are surely there at the same time, and
//   a refusal needs one that conflicts and may have been there while it was asked for.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "sim/world.h"

namespace perdure::sim {

// What: `bool conflicts(const What&) const`, symmetric; `std::string words() const`.
template <class What>
class Held {
 public:
  explicit Held(World& world) : world_(world) {}

  struct Hold {
    What what;
    uint64_t asked = 0, granted = 0, releasing = never, released = never;  // moments
    bool surely() const { return granted != 0 && releasing == never; }
    bool maybe() const { return asked != never && released == never; }
  };

  // Somebody asks for it. Gives its number.
  size_t ask(What what) {
    holds_.push_back({.what = std::move(what), .asked = world_.moment()});
    return holds_.size() - 1;
  }
  // It is there. Fails the world if one that conflicts surely is, too.
  void granted(size_t number) {
    Hold& hold = holds_[number];
    hold.granted = world_.moment();
    hold.releasing = hold.released = never;
    for (const Hold& other : holds_)
      if (&other != &hold && other.surely() && other.what.conflicts(hold.what))
        world_.fail("{} is granted, but held by {}", hold.what.words(), other.what.words());
  }
  // It was refused: one that explains it, or nullptr. `excuses` says which of them can.
  const Hold* denied(size_t number) {
    return denied(number, [](const What&) { return true; });
  }
  template <class Excuses>
  const Hold* denied(size_t number, Excuses&& excuses) {
    Hold& hold = holds_[number];
    const uint64_t asked = std::exchange(hold.asked, never);  // it never was there
    for (const Hold& other : holds_)
      if (other.asked != never && other.released > asked && other.what.conflicts(hold.what) &&
          excuses(other.what))
        return &other;
    return nullptr;
  }
  void releasing(size_t number) { holds_[number].releasing = world_.moment(); }
  void released(size_t number) { holds_[number].released = world_.moment(); }

  Hold& operator[](size_t number) { return holds_[number]; }
  std::vector<Hold>& all() { return holds_; }

 private:
  World& world_;
  std::vector<Hold> holds_;
};

}  // namespace perdure::sim
