// Scenarios of what the server does by itself.
#include "fs/data.h"
#include "sim/scenario.h"

namespace perdure::sim {

namespace {

constexpr uint64_t dirty_blocks = 200;

// More opens than one run of an expiry removes, locks, and an unlinked big file.
Task<> hold_much(Stage& s) {
  constexpr int owners = 288, at_once = 12;
  co_await s.make_file("f", 2);
  co_await s.make_fragmented("big", 300);
  co_await s.open_as("f", "owner");
  co_await s.open_as("big", "other");
  s.call().putfh(s.root()).remove("big");
  co_await s.ask();
  for (int i = 0; i < owners; i += at_once) {
    Call& c = s.call().putfh(s.handles["f"]);
    for (int j = i; j < i + at_once; ++j)
      c.lock_new(s.stateids["owner"], s.owner(fmt::format("owner {}", j)), bench::LockType::READ_LT,
                 static_cast<uint64_t>(j % 30), 2);
    co_await s.ask();
  }
}

Task<> hold_much_until_the_lease_ends(Stage& s) {
  co_await hold_much(s);
  s.fall_silent();
  co_await s.let_lease_almost_end();
}

Task<> let_lease_end(Stage& s) {
  co_await s.let_lease_end();
}

Task<> make_dirty(Stage& s) {
  co_await s.make_file("f", 40);
  co_await s.checkpoint();
  co_await s.make_fragmented("g", 30);
  co_await s.write_unstable("f", dirty_blocks);
}

Task<> commit_dirty(Stage& s) {
  co_await s.commit_as_a_client_does("f", dirty_blocks);
}

Task<> checkpoint(Stage& s) {
  co_await s.checkpoint();
}

}  // namespace

std::vector<Scenario> job_scenarios() {
  return {
      {.name = "expiry", .prepare = hold_much_until_the_lease_ends, .act = let_lease_end, .lease_seconds = 5},
      {.name = "write-back",
       .prepare = [](Stage& s) -> Task<> {
         co_await make_dirty(s);
         co_await s.observer().sleep(std::chrono::seconds(9));
       },
       .act = [](Stage& s) -> Task<> {
         while (!s.world().failed()) {
           if (s.blade().serving() && s.blade().vserver().fs().data().dirty_bytes() == 0) break;
           co_await s.observer().sleep(std::chrono::milliseconds(500));
         }
       },
       .follow = commit_dirty},
      {.name = "checkpoint", .prepare = make_dirty, .act = checkpoint, .follow = commit_dirty},
      {.name = "freeing-of-blocks",
       .prepare = [](Stage& s) -> Task<> {
         co_await s.make_fragmented("f", 100);
         co_await s.make_file("g", 300);
         co_await s.checkpoint();
         s.call().putfh(s.root()).remove("f").remove("g");
         co_await s.ask();
       },
       .act = checkpoint,
       .follow = [](Stage& s) -> Task<> {
         co_await s.make_file("h", 300);
         co_await s.checkpoint();
       }},
      {.name = "clean-stop",
       .prepare = make_dirty,
       .act = [](Stage& s) -> Task<> {
         s.blade().restart_cleanly();
         co_await s.observer().sleep(std::chrono::milliseconds(200));
         while (!s.blade().serving() && !s.world().failed())
           co_await s.observer().sleep(std::chrono::milliseconds(1));
       },
       .follow = commit_dirty},
  };
}

}  // namespace perdure::sim
