// Scenarios of opens and locks.
#include "sim/scenario.h"

namespace perdure::sim {

namespace {
using bench::LockType;

Task<> make_file(Stage& s) {
  co_await s.make_file("f", 2);
}

Task<> open_file(Stage& s) {
  co_await s.make_file("f", 2);
  co_await s.open_as("f", "owner");
}

// Locked: 0..9 and 20..29.
Task<> lock_file(Stage& s) {
  co_await open_file(s);
  s.call().putfh(s.handles["f"]).lock_new(s.stateids["owner"], s.owner("locker"), LockType::WRITE_LT, 0, 10);
  co_await s.ask();
  s.call().putfh(s.handles["f"]).lock_more(s.stateid, LockType::WRITE_LT, 20, 10);
  co_await s.ask();
  s.stateids["locker"] = s.stateid;
}

// Both stateids are still those of the file.
Task<> close_file(Stage& s) {
  s.call().putfh(s.handles["f"]).close(s.stateids["owner"]);
  co_await s.ask();
}

template <bench::CreateMode mode>
Task<> create(Stage& s) {
  s.call().putfh(s.root()).open_create(s.owner(), "new", mode, 0644, 4711).getfh().getattr(attr::MODE);
  co_await s.ask();
  s.handles["f"] = s.handle;
  s.stateids["owner"] = s.stateid;
}

Task<> write_and_close(Stage& s) {
  Call& c = s.call().putfh(s.handles["f"]);
  Stage::add_write(c, s.stateids["owner"], 0, bench::StableHow::FILE_SYNC4, 100, 3);
  c.close(s.stateids["owner"]);
  co_await s.ask();
}

template <LockType type, uint64_t offset, uint64_t length>
Task<> lock_more(Stage& s) {
  s.call().putfh(s.handles["f"]).lock_more(s.stateids["locker"], type, offset, length);
  co_await s.ask();
  s.stateids["locker"] = s.stateid;
}
}  // namespace

std::vector<Scenario> open_scenarios() {
  return {
      {.name = "open",
       .prepare = make_file,
       .act = [](Stage& s) -> Task<> {
         s.call().putfh(s.root()).open(s.owner(), {bench::share_access_read, 2}, "f").getfh();
         co_await s.ask();
         s.stateids["owner"] = s.stateid;
       },
       .cold = true},
      {.name = "open-recalls-a-delegation",
       .prepare = [](Stage& s) -> Task<> {
         co_await make_file(s);
         co_await s.delegate("f");
       },
       .act = [](Stage& s) -> Task<> {
         s.call()
             .putfh(s.handles["f"])
             .open_current(s.owner(), {bench::share_access_both, 0})
             .getattr(attr::SIZE);
         co_await s.ask();
         s.stateids["owner"] = s.stateid;
       }},
      {.name = "remove-recalls-a-delegation",
       .prepare = [](Stage& s) -> Task<> {
         co_await make_file(s);
         co_await s.delegate("f");
       },
       .act = [](Stage& s) -> Task<> {
         s.call().putfh(s.root()).remove("f");
         co_await s.ask();
       }},
      {.name = "getattr-asks-a-holder",
       .prepare = [](Stage& s) -> Task<> {
         co_await make_file(s);
         co_await s.delegate("f", bench::share_access_both);
       },
       .act = [](Stage& s) -> Task<> {
         s.call().putfh(s.handles["f"]).getattr(attr::SIZE);
         co_await s.ask();
       }},
      {.name = "lock-waited-for",
       .prepare = [](Stage& s) -> Task<> {
         co_await lock_file(s);
         co_await s.open_as_holder("f");
       },
       .act = [](Stage& s) -> Task<> {
         co_await s.wait_for_lock("f");
         s.call().putfh(s.handles["f"]).locku(s.stateids["locker"], 0, 10);
         co_await s.ask();
         s.stateids["locker"] = s.stateid;
         co_await s.until_holder_has_lock();
       }},
      {.name = "open-denied",
       .prepare = [](Stage& s) -> Task<> {
         co_await make_file(s);
         s.call().putfh(s.root()).open(s.owner(), {bench::share_access_read, 2}, "f");
         co_await s.ask();
         s.stateids["owner"] = s.stateid;
       },
       .act = [](Stage& s) -> Task<> {
         s.call().putfh(s.root()).open(s.owner("other"), bench::share_access_write, "f");
         co_await s.ask();
       }},
      {.name = "open-again-for-more",
       .prepare = [](Stage& s) -> Task<> {
         co_await make_file(s);
         s.call().putfh(s.root()).open(s.owner(), bench::share_access_read, "f").getfh();
         co_await s.ask();
         s.stateids["owner"] = s.stateid;
         s.handles["f"] = s.handle;
       },
       .act = [](Stage& s) -> Task<> {
         s.call().putfh(s.root()).open(s.owner(), {bench::share_access_write, 1}, "f");
         co_await s.ask();
         s.stateids["owner"] = s.stateid;
       }},
      {.name = "create-unchecked", .act = create<bench::CreateMode::UNCHECKED4>, .follow = write_and_close},
      {.name = "create-guarded", .act = create<bench::CreateMode::GUARDED4>, .follow = write_and_close},
      {.name = "create-exclusive", .act = create<bench::CreateMode::EXCLUSIVE4_1>, .follow = write_and_close},
      {.name = "open-downgrade",
       .prepare = [](Stage& s) -> Task<> {
         co_await make_file(s);
         s.call().putfh(s.root()).open(s.owner(), bench::share_access_read, "f").getfh();
         co_await s.ask();
         s.call().putfh(s.root()).open(s.owner(), {bench::share_access_write, 2}, "f").getfh();
         co_await s.ask();
         s.stateids["owner"] = s.stateid;
         s.handles["f"] = s.handle;
       },
       .act = [](Stage& s) -> Task<> {
         s.call().putfh(s.handles["f"]).open_downgrade(s.stateids["owner"], {bench::share_access_read, 0});
         co_await s.ask();
         s.stateids["owner"] = s.stateid;
       },
       .follow = close_file},
      {.name = "close", .prepare = open_file, .act = close_file},
      {.name = "close-unlinked-file",
       .prepare = [](Stage& s) -> Task<> {
         co_await open_file(s);
         s.call().putfh(s.root()).remove("f");
         co_await s.ask();
       },
       .act = close_file},
      {.name = "remove-open-file",
       .prepare = open_file,
       .act = [](Stage& s) -> Task<> {
         s.call().putfh(s.root()).remove("f");
         co_await s.ask();
       },
       .follow = write_and_close},
      {.name = "lock",
       .prepare = open_file,
       .act = [](Stage& s) -> Task<> {
         s.call()
             .putfh(s.handles["f"])
             .lock_new(s.stateids["owner"], s.owner("locker"), LockType::WRITE_LT, 5, 20);
         co_await s.ask();
         s.stateids["locker"] = s.stateid;
       }},
      {.name = "lock-denied",
       .prepare = lock_file,
       .act = [](Stage& s) -> Task<> {
         s.call()
             .putfh(s.handles["f"])
             .lock_new(s.stateids["owner"], s.owner("other"), LockType::READ_LT, 5, 20);
         co_await s.ask();
       }},
      {.name = "lock-merges", .prepare = lock_file, .act = lock_more<LockType::WRITE_LT, 8, 15>},
      {.name = "lock-changes-type", .prepare = lock_file, .act = lock_more<LockType::READ_LT, 5, 20>},
      {.name = "unlock-splits",
       .prepare = lock_file,
       .act = [](Stage& s) -> Task<> {
         s.call().putfh(s.handles["f"]).locku(s.stateids["locker"], 3, 3);
         co_await s.ask();
         s.stateids["locker"] = s.stateid;
       },
       .cold = true},
      {.name = "free-stateid",
       .prepare = [](Stage& s) -> Task<> {
         co_await lock_file(s);
         s.call().putfh(s.handles["f"]).locku(s.stateids["locker"], 0, bench::lock_to_end);
         co_await s.ask();
         s.stateids["locker"] = s.stateid;
       },
       .act = [](Stage& s) -> Task<> {
         s.call().free_stateid(s.stateids["locker"]);
         co_await s.ask();
       },
       .follow = close_file},
      {.name = "close-with-locks", .prepare = lock_file, .act = close_file},
  };
}

}  // namespace perdure::sim
