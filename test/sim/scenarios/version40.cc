// Scenarios of an NFSv4.0 client: its client id, its owners, and requests that only the duplicate request
// cache protects.
#include "sim/scenario.h"

namespace perdure::sim {

namespace {
using bench::LockType;

Task<> start(Stage& s) {
  co_await s.old().start();
}

Call::Owner owner(Stage& s, std::string_view name = "owner") {
  return {s.old().id(), name};
}

Task<> set_client_id(Stage& s) {
  s.call_old().setclientid({}, "unconfirmed");
  co_await s.ask_old();
}

Task<> confirm(Stage& s) {
  s.call_old().setclientid_confirm(s.client_id, s.confirm);
  co_await s.ask_old();
}

// Its first OPEN.
Task<> open_first(Stage& s) {
  s.call_old().putfh(s.root()).in_order(1).open(owner(s), bench::share_access_both, "f").getfh();
  co_await s.ask_old();
  s.handles["f"] = s.handle;
}

Task<> open_confirm(Stage& s) {
  s.call_old().putfh(s.handles["f"]).in_order(2).open_confirm(s.stateid);
  co_await s.ask_old();
}

Task<> prepare_file(Stage& s) {
  co_await start(s);
  co_await s.make_file("f", 2);
}

Task<> prepare_unconfirmed(Stage& s) {
  co_await prepare_file(s);
  co_await open_first(s);
}

Task<> prepare_open(Stage& s) {
  co_await prepare_unconfirmed(s);
  co_await open_confirm(s);
}

Task<> lock_new(Stage& s) {
  s.kept = s.stateid;
  s.call_old()
      .putfh(s.handles["f"])
      .in_order(3, 1)
      .lock_new(s.stateid, owner(s, "locker"), LockType::WRITE_LT, 0, 10);
  co_await s.ask_old();
}

Task<> prepare_locked(Stage& s) {
  co_await prepare_open(s);
  co_await lock_new(s);
}

Task<> unlock(Stage& s) {
  s.call_old().putfh(s.handles["f"]).in_order(2).locku(s.stateid, 0, bench::lock_to_end);
  co_await s.ask_old();
}

Task<> prepare_unlocked(Stage& s) {
  co_await prepare_locked(s);
  co_await unlock(s);
}

template <uint32_t seqid>
Task<> close(Stage& s) {
  s.call_old().putfh(s.handles["f"]).in_order(seqid).close(s.stateid);
  co_await s.ask_old();
}
}  // namespace

std::vector<Scenario> version40_scenarios() {
  return {
      {.name = "40-setclientid", .prepare = start, .act = set_client_id, .follow = confirm},
      {.name = "40-setclientid-confirm",
       .prepare = [](Stage& s) -> Task<> {
         co_await start(s);
         co_await set_client_id(s);
       },
       .act = confirm},
      {.name = "40-setclientid-confirm-reborn",
       .prepare = [](Stage& s) -> Task<> {
         co_await prepare_locked(s);
         s.call_old().setclientid(Verifier{std::byte{1}}, s.old().name());
         co_await s.ask_old();
       },
       .act = confirm},
      {.name = "40-open", .prepare = prepare_file, .act = open_first, .follow = open_confirm, .cold = true},
      {.name = "40-create",
       .prepare = prepare_open,
       .act = [](Stage& s) -> Task<> {
         s.call_old()
             .putfh(s.root())
             .in_order(3)
             .open_create(owner(s), "new", bench::CreateMode::GUARDED4, 0644, 0)
             .getfh()
             .getattr(attr::MODE);
         co_await s.ask_old();
         s.handles["f"] = s.handle;
       },
       .follow = close<4>},
      {.name = "40-open-denied",
       .prepare = prepare_open,
       .act = [](Stage& s) -> Task<> {
         s.call_old().putfh(s.root()).in_order(3).open(owner(s), {bench::share_access_read, 2}, "f");
         co_await s.ask_old();
       }},
      {.name = "40-open-discards-the-unconfirmed",
       .prepare = prepare_unconfirmed,
       .act = [](Stage& s) -> Task<> {
         s.call_old().putfh(s.root()).in_order(90).open(owner(s), {bench::share_access_read, 0}, "f");
         co_await s.ask_old();
       },
       .follow = [](Stage& s) -> Task<> {
         s.call_old().putfh(s.handles["f"]).in_order(91).open_confirm(s.stateid);
         co_await s.ask_old();
       }},
      {.name = "40-open-recalls-a-delegation",
       .prepare = [](Stage& s) -> Task<> {
         co_await prepare_file(s);
         co_await s.delegate("f");
       },
       .act = open_first,
       .follow = open_confirm},
      {.name = "40-delegation-recalled",
       .prepare = [](Stage& s) -> Task<> {
         co_await prepare_file(s);
         co_await s.delegate40("f");
       },
       .act = open_first,
       .follow = open_confirm},
      {.name = "40-getattr-asks-a-holder",
       .prepare = [](Stage& s) -> Task<> {
         co_await prepare_file(s);
         co_await s.delegate40("f", bench::share_access_both);
       },
       .act = [](Stage& s) -> Task<> {
         s.call().putfh(s.handles["f"]).getattr(attr::SIZE);
         co_await s.ask();
       }},
      {.name = "40-open-confirm", .prepare = prepare_unconfirmed, .act = open_confirm, .follow = close<3>},
      {.name = "40-open-downgrade",
       .prepare = [](Stage& s) -> Task<> {
         co_await prepare_open(s);
         s.call_old().putfh(s.root()).in_order(3).open(owner(s), bench::share_access_read, "f");
         co_await s.ask_old();
       },
       .act = [](Stage& s) -> Task<> {
         s.call_old()
             .putfh(s.handles["f"])
             .in_order(4)
             .open_downgrade(s.stateid, {bench::share_access_read, 0});
         co_await s.ask_old();
       },
       .follow = close<5>},
      {.name = "40-close", .prepare = prepare_open, .act = close<3>},
      {.name = "40-close-with-locks",
       .prepare = [](Stage& s) -> Task<> {
         co_await prepare_locked(s);
         s.stateid = s.kept;
       },
       .act = close<4>},
      {.name = "40-lock-new", .prepare = prepare_open, .act = lock_new, .follow = unlock},
      {.name = "40-lock-more",
       .prepare = prepare_locked,
       .act = [](Stage& s) -> Task<> {
         s.call_old().putfh(s.handles["f"]).in_order(2).lock_more(s.stateid, LockType::READ_LT, 5, 10);
         co_await s.ask_old();
       }},
      {.name = "40-unlock", .prepare = prepare_locked, .act = unlock},
      {.name = "40-release-lockowner",
       .prepare = prepare_unlocked,
       .act = [](Stage& s) -> Task<> {
         s.call_old().release_lockowner(owner(s, "locker"));
         co_await s.ask_old();
       }},
      {.name = "40-write",
       .prepare = prepare_open,
       .act = [](Stage& s) -> Task<> {
         Call& c = s.call_old().putfh(s.handles["f"]);
         Stage::add_write(c, s.stateid, 0, bench::StableHow::FILE_SYNC4, 2 * block, 5);
         c.getattr(attr::SIZE);
         co_await s.ask_old();
       }},
      {.name = "40-names",
       .prepare = start,
       .act = [](Stage& s) -> Task<> {
         s.call_old().putfh(s.root()).mkdir("d", 0755).putfh(s.root()).savefh().rename("d", "e").mkdir("d",
                                                                                                       0755);
         co_await s.ask_old();
       }},
      {.name = "40-remove",
       .prepare = [](Stage& s) -> Task<> {
         co_await start(s);
         co_await s.make_fragmented("f", extents);
       },
       .act = [](Stage& s) -> Task<> {
         s.call_old().putfh(s.root()).remove("f");
         co_await s.ask_old();
       }},
  };
}

}  // namespace perdure::sim
