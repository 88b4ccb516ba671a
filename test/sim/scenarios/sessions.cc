// Scenarios of clients and their sessions.
#include "sim/scenario.h"

namespace perdure::sim {

namespace {

constexpr Verifier other_life{std::byte{1}};

Task<> exchange_id(Stage& s) {
  s.call_bare().exchange_id({}, s.bare().name());
  co_await s.ask_bare();
}

Task<> create_session(Stage& s) {
  s.call_bare().create_session(s.client_id, s.client_sequence, bench::create_session_persist, Stage::channel);
  co_await s.ask_bare();
}

Task<> reclaim_complete(Stage& s) {
  s.call_bare().sequence(s.session, 1, 0, 0, true).reclaim_complete();
  co_await s.ask_bare();
}

Task<> make_session(Stage& s) {
  co_await s.make_bare_session();
}

Task<> use_session(Stage& s) {
  s.call_bare().sequence(s.session, 1, 0, 0, true).putrootfh().mkdir("d", 0755);
  co_await s.ask_bare();
}

Task<> destroy_session(Stage& s) {
  s.call_bare().destroy_session(s.session);
  co_await s.ask_bare(NfsStatus::NFS4ERR_BADSESSION);
}

Task<> make_client_without_session(Stage& s) {
  co_await s.make_bare_session();
  co_await destroy_session(s);
}

Task<> destroy_client(Stage& s) {
  s.call_bare().destroy_clientid(s.client_id);
  co_await s.ask_bare(NfsStatus::NFS4ERR_STALE_CLIENTID);
}

// An open, a lock, and an unlinked file that is there as long as it is open.
Task<> hold_and_die(Stage& s) {
  co_await s.make_file("f", 2);
  co_await s.make_file("g", 2);
  co_await s.open_as("f", "owner");
  co_await s.open_as("g", "other");
  s.call()
      .putfh(s.handles["f"])
      .lock_new(s.stateids["owner"], s.owner("locker"), bench::LockType::WRITE_LT, 5, 20)
      .putfh(s.root())
      .remove("g");
  co_await s.ask();
  s.subject().die();
}

}  // namespace

std::vector<Scenario> session_scenarios() {
  return {
      {.name = "exchange-id", .act = exchange_id, .follow = create_session},
      {.name = "exchange-id-again", .prepare = make_session, .act = exchange_id, .follow = use_session},
      {.name = "create-session", .prepare = exchange_id, .act = create_session, .follow = use_session},
      {.name = "create-second-session",
       .prepare = [](Stage& s) -> Task<> {
         co_await s.make_bare_session();
         ++s.client_sequence;
       },
       .act = create_session,
       .follow = use_session},
      {.name = "reclaim-complete", .prepare = make_session, .act = reclaim_complete},
      {.name = "destroy-session", .prepare = make_session, .act = destroy_session},
      {.name = "destroy-client",
       .prepare = make_client_without_session,
       .act = destroy_client,
       .follow = exchange_id},
      {.name = "backchannel-ctl",
       .act = [](Stage& s) -> Task<> {
         s.call().backchannel_ctl(0x40000001);
         co_await s.ask();
       }},
      // A request that changes nothing but its slot, whose answer is kept.
      {.name = "sequence",
       .act = [](Stage& s) -> Task<> {
         s.call().putrootfh().getattr(attr::TYPE);
         co_await s.ask();
       }},
      {.name = "client-reboots",
       .prepare = hold_and_die,
       .act = [](Stage& s) -> Task<> {
         s.call_bare().exchange_id(other_life, s.subject().name());
         co_await s.ask_bare();
         co_await create_session(s);
         co_await reclaim_complete(s);
       }},
  };
}

}  // namespace perdure::sim
