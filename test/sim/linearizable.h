// Linearizability (Herlihy and Wing, 1990) of a history of operations against a sequential model: is there an
// order of all operations, each somewhere between its call and its answer, in which the model gives every
// answer that was seen?
//
// The search goes along the history (Wing and Gong, 1993; with Lowe's cache, 2017): it keeps each state in
// which the model may be, together with the operations that have taken effect but are not answered yet.
#pragma once

#include <algorithm>
#include <set>
#include <string>
#include <vector>

namespace perdure::sim {

template <class Op>
struct Timed {
  uint64_t asked = 0, answered = 0;  // moments; all different
  Op op;
};

// Model: copyable, ordered (in whatever way); `bool apply(const Op&)` executes an operation and says whether
// the answer that was seen is the model's (if not, the model is of no use any more). Op: `bool changes()
// const`, false if it surely changes nothing; `std::string words() const`. Returns what is wrong, or nothing.
template <class Model, class Op>
std::string check_linearizable(const Model& initial, const std::vector<Timed<Op>>& history) {
  struct Event {
    uint64_t moment;
    size_t op;
    bool answer;
  };
  struct State {
    std::set<size_t> early;  // have taken effect, but are not answered
    Model model;
    auto operator<=>(const State&) const = default;
  };
  std::vector<Event> events;
  for (size_t i = 0; i < history.size(); ++i) {
    events.push_back({history[i].asked, i, false});
    events.push_back({history[i].answered, i, true});
  }
  std::ranges::sort(events, {}, &Event::moment);

  std::set<State> states{{{}, initial}};
  std::set<size_t> open;
  for (const Event& event : events) {
    if (!event.answer) {
      open.insert(event.op);
      continue;
    }
    std::set<State> next, seen;
    const auto keep = [&](State&& state) {
      state.early.erase(event.op);
      next.insert(std::move(state));
    };
    std::vector<State> todo(states.begin(), states.end());
    while (!todo.empty()) {
      State state = std::move(todo.back());
      todo.pop_back();
      if (state.early.contains(event.op)) {
        keep(std::move(state));
        continue;
      }
      // What changes nothing may as well take effect as soon as its answer is right.
      for (const size_t other : open)
        if (!state.early.contains(other) && !history[other].op.changes() &&
            Model(state.model).apply(history[other].op))
          state.early.insert(other);
      if (state.early.contains(event.op)) {
        keep(std::move(state));
        continue;
      }
      if (!seen.insert(state).second) continue;
      for (const size_t other : open) {
        if (other == event.op || state.early.contains(other) || !history[other].op.changes()) continue;
        State with = state;
        if (!with.model.apply(history[other].op)) continue;
        with.early.insert(other);
        todo.push_back(std::move(with));
      }
      if (state.model.apply(history[event.op].op)) keep(std::move(state));
    }
    open.erase(event.op);
    if (next.empty()) {
      std::string words = "no order explains the answer of " + history[event.op].op.words();
      for (const size_t other : open) words += "; still open: " + history[other].op.words();
      return words;
    }
    states = std::move(next);
  }
  return {};
}

}  // namespace perdure::sim
