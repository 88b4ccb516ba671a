// Checkpointer: decides when a checkpoint is made, and drives it: first write-back moves file data out of the
// log onto blocks, then the tables are frozen and applied, then the log's tail moves, and blocks that were
// waiting for it are free.
//
// It bounds what restoration has to redo: a checkpoint begins when half of `records_max` or `bytes_max` has
// been logged since the last one began, so that with the one under way the whole bound is kept. Thread: the
// vserver's loop.
#pragma once

#include <functional>
#include <vector>

#include "env/env.h"
#include "log/group_commit.h"
#include "log/ring.h"
#include "processor/processor.h"
#include "state/database.h"

namespace perdure::server {

class Checkpointer {
 public:
  struct Options {
    uint64_t records_max = 60'000;
    uint64_t bytes_max = 128U << 20U;
    env::Duration interval = std::chrono::seconds(30);  // at the latest, if anything was logged
  };
  struct Work {
    // Starts moving file data to blocks; calls back when it is there.
    std::function<void(env::Task done)> write_back;
    // A checkpoint is in the store: what it frees can be used.
    std::function<void()> applied;
    std::function<void(Error)> failed;
  };
  // `redone`: records and bytes that the restoration before has redone. They count like those logged since,
  // so that restarts in a row do not have more and more to redo.
  struct Redone {
    uint64_t records = 0, bytes = 0;
  };
  Checkpointer(env::Env& env, state::Database& database, log::LogRing* ring, Options options, Redone redone,
               Work work);

  // At the end of every turn.
  void turn();
  // As soon as possible; `done` when everything logged before this call is in the store.
  void request(env::Task done);
  bool under_way() const { return phase_ != Phase::idle; }
  // A mirror's checkpoints come when it is offered a good moment, or when twice as much has come to pass as
  // for a primary, which it is from lead() on.
  void offer();
  void lead() { leads_ = true; }

 private:
  enum class Phase : uint8_t {
    idle,
    writing_back,  // waits for file data to be on blocks
    applying,      // the tables are frozen; waits for the store
  };
  bool due() const;
  void begin();
  void freeze();

  env::Env& env_;
  state::Database& database_;
  log::LogRing* ring_;
  Options options_;
  const Redone redone_;
  bool leads_ = false, offered_ = false;
  Work work_;
  Phase phase_ = Phase::idle;
  uint64_t records_at_ = 0, bytes_at_ = 0;  // redone and logged when the last one was begun
  env::Instant began_{};
  std::vector<env::Task> requested_, waiting_;
};

}  // namespace perdure::server
