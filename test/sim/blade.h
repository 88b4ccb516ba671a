// Blade: a machine with its disks, on which the server process lives and dies.
//
// The process is the real one from the RPC front down (server/rpc_front.h, server/vserver.h), on a simulated
// environment (env/testing/test_env.h: clock, log and block file) and a checkpoint store with the crash
// semantics of the real one (store/testing/memory_kv_store.h).
//
// Fault model. Between any two callbacks the process may be killed (what was written stays readable) or the
// power cut (what was not flushed is kept, lost or torn, sector by sector), also while it starts, the first
// time too. A killed process's writes may end later, but before the next one has opened the file. Reads,
// writes and flushes may be slow, fail, or end in another order than they were asked for; there may be no
// space where a file is to grow, or in the checkpoint store; reads may give wrong bytes once. Blocks may be
// damaged for a while: written to a wrong place over others, with a bit that has flipped, or unreadable (of a
// pair only as long as both are in sync, and of a primary only what it sends to its mirror: a mirror takes
// over what there is when it gets a block later). A bit of the log may
// flip while the process is down: then it must refuse to start, and does start when the bit was put back (no
// power cut strikes in between: it could take away the later batch that proves the damaged one to have been
// durable). The wall clock may jump. Not injected, because one blade alone cannot survive it: durable data
// that is gone for good.
//
// After each start all of perdure check's findings must be none, and the rows must be those that follow from
// everything that was ever logged (history.h).
//
// At durability level mirror, where what was acknowledged may be in the memory of two blades alone, the
// second of them does not die before it has been made the only one, also not of an I/O error. Of a pair
// flushes of blocks do not fail (docs/decisions/pair.md has that among its doubts).
//
// A blade of a pair is a standby before it serves (mirror/member.h), and may stop being a part of the pair:
// then its process starts anew. It may also be stopped for a while, and go on.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "env/testing/test_env.h"
#include "mirror/bundle.h"
#include "mirror/member.h"
#include "server/check.h"
#include "server/rpc_front.h"
#include "server/vserver.h"
#include "server/vserver_replica.h"
#include "sim/history.h"
#include "store/testing/memory_kv_store.h"

namespace perdure::sim {

class World;

class Blade {
 public:
  Blade(World& world, size_t number);
  ~Blade();

  // Starts the process: restoration, then it serves.
  void start();
  bool serving() const { return state_ == State::serving; }
  bool down() const { return state_ == State::down; }
  const char* name() const { return number_ == 0 ? "a" : "b"; }
  std::string says() const;
  // Its process is still the one of this start.
  bool lives(uint64_t start) const { return state_ != State::down && starts_ == start; }
  // Of a pair: its peer can reach it.
  bool accepts() const { return member_ != nullptr; }
  void accept(std::unique_ptr<mirror::Channel> channel);
  const mirror::Member* member() const { return member_.get(); }
  // Of a pair: its administrator wants the other one to be the primary.
  void hand_over();
  // And whether clients can reach it, or so it believes.
  void set_fit(bool fit);
  // The process stands still.
  void pause(env::Duration time);
  // It serves, and does nothing by itself: no transaction, also none that waits to go on, no checkpoint, no
  // I/O.
  bool at_rest() const;
  // From now on it dies as the profile says.
  void let_die() {
    dying_ = true;
    draw_death();
  }
  // No more deaths and disk errors: what remains is to be looked at.
  void spare();
  void kill();
  // The same, but it does not come back: of the world's end, while the other blade is still there.
  void end();
  void power_cut();
  // A power cut in which everything that was not durable is kept, or dropped, or each sector of it is kept,
  // dropped or torn.
  void power_cut(env::SectorFate fate);
  // A clean stop, after which it starts again.
  void restart_cleanly();

  std::optional<env::Instant> next_event() const;
  void step();
  // Called after each step, so between two callbacks, where the blade may die.
  void after_each_step(std::function<void()> task) { after_step_ = std::move(task); }
  void post(env::Task task) { env_.post(std::move(task)); }

  env::TestEnv& env() { return env_; }
  server::Vserver& vserver() { return *vserver_; }  // null before it is restored
  uint64_t deaths() const { return deaths_; }
  uint64_t starts() const { return starts_; }
  // When it began to serve the last time.
  env::Instant serving_since() const { return serving_since_; }

  // Fails the world with what the consistency checkers find in the rows as they are now.
  void check();
  // The same of a mirror that is in sync and at rest, whose rows must be this blade's.
  void compare(Blade& mirror);
  // Of the check at the last start.
  const server::CheckFigures& figures() const { return figures_; }

 private:
  enum class State : uint8_t { down, starting, serving, stopping };
  std::optional<ErrorKind> store_fails();
  std::optional<ErrorKind> disk_fails(const std::string& path, env::IoKind kind);
  std::optional<env::Damage> damages(const std::string& path);
  void heal();
  bool has_twin() const;
  void open_ring();
  void open_blocks();
  void restore();
  void join_pair();
  void serve();
  server::VserverOptions options() const;
  template <class F>
  auto or_exit(F next);
  void exit(const Error& error);
  void die(bool power, std::optional<env::SectorFate> fate = {});
  void crash_disks(env::SectorFate fate);
  void draw_death();
  bool may_die() const;
  void restart_later();
  void flip_a_bit();
  void put_bit_back();

  World& world_;
  const size_t number_;
  env::TestEnv env_;
  const std::shared_ptr<store::testing::MemoryKvImage> image_;
  History history_;
  State state_ = State::down;
  server::Vserver::Parts parts_;
  std::unique_ptr<server::Vserver> alone_;  // of a blade without a peer
  std::unique_ptr<mirror::Arbiter> arbiter_;
  std::unique_ptr<mirror::Connector> connector_;
  std::unique_ptr<mirror::BundleAcceptor> acceptor_;
  std::unique_ptr<server::VserverReplica> replica_;
  std::unique_ptr<mirror::Member> member_;
  server::Vserver* vserver_ = nullptr;
  std::unique_ptr<server::RpcFront> front_;
  std::function<void()> after_step_;
  server::CheckFigures figures_;
  bool fit_ = true;
  bool dying_ = false, exiting_ = false, error_injected_ = false;
  bool failing_ = false;  // the process has met an I/O error, of which it may end any moment
  std::string exit_reason_;
  uint64_t deaths_ = 0, starts_ = 0;
  uint64_t death_in_ = 0;  // callbacks; 0: not drawn
  env::Instant busy_until_, serving_since_, paused_until_;
  std::optional<std::pair<uint64_t, std::byte>> flipped_;  // of the log
};

}  // namespace perdure::sim
