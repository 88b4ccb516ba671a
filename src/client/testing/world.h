// World: client state on a simulated disk, for tests: runs, jobs, restarts.
//
// A run is durable when run() returns. restart() is a power cut: what comes back is what the log and the
// checkpoint hold. Expiry jobs are rows, as the processor would keep them, and go on after a restart.
#pragma once

#include <memory>
#include <vector>

#include "client/client_state.h"
#include "client/expire.h"
#include "env/testing/test_env.h"
#include "log/group_commit.h"
#include "log/ring.h"
#include "state/database.h"
#include "store/testing/memory_kv_store.h"

namespace perdure::client::testing {

// What tests that need only one of it use.
constexpr InodeId file(77);
constexpr ChannelAttributes channel{4096, 4096, 1024, 16, 8};

// Stands in for the processor's TransactionRow.
struct JobRow {
  static constexpr TableId table = TableId::transaction;
  static constexpr Residence residence = Residence::resident;
  static constexpr const char* name = "job";
  struct Key {
    ClientId client;
    auto operator<=>(const Key&) const = default;
    template <class Self, class V>
    static void fields(Self& k, V&& v) {
      v("client", k.client);
    }
  };
  ExpireRegisters registers;
  template <class Self, class V>
  static void fields(Self& r, V&& v) {
    v("registers", r.registers);
  }
};

class World {
 public:
  explicit World(ClientState::Options options = {}, uint64_t seed = 1);
  ~World();

  ClientState& cs() { return life_->cs; }
  env::TestEnv& env() { return env_; }
  log::GroupCommit& commit() { return *life_->commit; }
  state::Database& database() { return life_->database; }
  ClientState::Options& options() { return options_; }  // of the next start

  // Executes `body` as a run of transaction `id`. A status takes its changes back, and is given.
  template <class Body>
  auto run(TransactionId id, Body body) {
    Run& run = begin(id);
    const state::Savepoint savepoint = run.savepoint();
    auto outcome = body(run);
    if (!outcome) run.rollback(savepoint);
    end(run);
    return outcome;
  }
  template <class Body>
  auto run(Body body) {
    return run(next_id(), std::move(body));
  }
  // The same, but the run is abandoned.
  template <class Body>
  void abandon(TransactionId id, Body body) {
    Run& run = begin(id);
    (void)body(run);
    run.abandon();
  }
  TransactionId next_id() { return TransactionId(++last_id_); }

  void checkpoint();
  void restart();
  void pass(env::Duration time) { env_.advance(time); }

  // A confirmed client with a session, whose RECLAIM_COMPLETE is done.
  struct Client {
    ClientId id;
    SessionId session{};
    SessionNumber number;
  };
  Client make_client(std::string_view owner, uint64_t verifier = 1);

  // Gives expired clients to jobs. Then executes one run of each job: false if there is none.
  void find_expired();
  bool run_jobs_once();
  void run_jobs() {
    while (run_jobs_once()) {
    }
  }
  size_t jobs() const { return life_->jobs.size(); }

  size_t rows() const;
  // All rows in words, in order, and the derived parts: equal before and after a restart.
  std::string describe_rows() const;
  // The derived parts are those that the rows give, and the rows keep their invariants. As a string: empty,
  // or what is wrong.
  std::string check_twins();
  // What client/check.h finds.
  std::vector<std::string> findings();

  std::vector<TransactionId> resumed;  // by Hooks::resume
  std::vector<InodeId> released;       // by Hooks::released, of committed runs
  bool fault_in_released = false;      // the next call of Hooks::released faults

 private:
  struct Life {
    Life(World& world);
    store::testing::MemoryKvStore store;
    state::Database database;
    std::unique_ptr<log::LogRing> ring;
    std::unique_ptr<log::GroupCommit> commit;
    ClientState cs;
    state::Table<JobRow> jobs;
    Run run;
  };
  Run& begin(TransactionId id);
  void end(Run& run);
  void start();
  ClientState::Hooks hooks();

  env::TestEnv env_;
  std::shared_ptr<store::testing::MemoryKvImage> image_ = std::make_shared<store::testing::MemoryKvImage>();
  ClientState::Options options_;
  Epoch epoch_;
  uint64_t last_id_ = 0;
  std::unique_ptr<Life> life_;
};

}  // namespace perdure::client::testing
