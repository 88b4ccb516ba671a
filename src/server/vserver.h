// Vserver: one file server as its clients see it, assembled from its parts: tables, log, stores, file system,
// client state, processor, NFS. It knows no sockets and no files by name, so the simulator runs it as it is.
//
// Restoration (DESIGN.md §5) is load(), which loads the resident tables and redoes the log behind the
// checkpoint, and serve(), which resumes the transactions that were in flight. Between the two it is a
// standby: on a mirror's blade it stays one, redoes what the primary logs, and is ready to serve at any time.
// An empty store becomes a new vserver with one volume. Thread: the loop of its Env, where everything
// happens.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "client/client_state.h"
#include "client/expire.h"
#include "fs/file_system.h"
#include "fs/reclaim.h"
#include "fs/write_back.h"
#include "log/group_commit.h"
#include "log/ring.h"
#include "mirror/replica.h"
#include "nfs4/service.h"
#include "processor/processor.h"
#include "server/checkpointer.h"
#include "server/rows.h"
#include "state/database.h"
#include "store/block_store.h"
#include "store/kv_store.h"

namespace perdure::server {

struct VserverOptions {
  Epoch epoch;                        // in which start() serves: greater at each start
  bool paired = false;                // keeps EpochRows
  size_t rows_copied_at_once = 2048;  // to a follower that needs all of them
  uint64_t memory_bytes = 1U << 30U;  // for tables, pages and dirty data
  fs::DataOptions data{};             // what of it does not follow from memory and log
  Checkpointer::Options checkpoint;
  client::ClientState::Options clients;
  nfs4::Service::Options nfs;  // owner, scope and verifier are filled in here
};

struct RestorationFigures {
  uint64_t records = 0, bytes = 0, resumed = 0;
  env::Duration load{}, redo{}, total{};
};

class Vserver {
 public:
  struct Parts {
    std::unique_ptr<store::KvStore> store;
    std::unique_ptr<log::LogRing> ring;  // null: durability level memory
    std::unique_ptr<store::BlockStore> blocks;
  };
  // `failed`: it cannot go on (a write of the log or the store failed): nothing more will be answered.
  // `wanted`: what of the log counts (LogRing::read).
  static void load(env::Env& env, Parts parts, VserverOptions options,
                   std::move_only_function<void(Error)> failed, env::Done<std::unique_ptr<Vserver>> done,
                   log::LogRing::Wanted wanted = nullptr);
  // A standby becomes a primary, in an epoch that is higher than all before. Once. It must live until then.
  void serve(Epoch epoch, env::Done<void> done);
  // Both: of a blade that has no peer.
  static void start(env::Env& env, Parts parts, VserverOptions options,
                    std::move_only_function<void(Error)> failed, env::Done<std::unique_ptr<Vserver>> done);
  ~Vserver();

  // A standby's log goes on with this batch of the primary's, which begins where it ends
  // (GroupCommit::closed_end). An error: it is no such batch, and nothing more may be redone.
  Result<void> redo_batch(Bytes payload, Epoch epoch);
  bool serving() const { return open_; }
  // Of a batch that has not been redone: what it changes, in order; and the blocks that its extents name,
  // with their checksums.
  static Result<void> for_each_change(Bytes payload,
                                      const std::function<void(const log::RowChange&)>& change);
  static Result<std::vector<mirror::NamedBlocks>> named_blocks(Bytes payload);
  // The epochs of a pair's primaries, oldest first, its own included.
  mirror::History history() const;
  // What check() needs of a standby: the epoch that its rows are of, and the key of its hashes.
  void prepare_check(Epoch epoch);
  // Called after each checkpoint, with applied().
  void on_checkpoint(env::Task task) { on_checkpoint_ = std::move(task); }
  // The mirror's checkpoint has everything before `lsn`.
  void mirror_applied(Lsn lsn);

  nfs4::Service& nfs() { return *nfs_; }  // once it serves
  // Other exports from now on, while clients work. An error changes nothing.
  void set_exports(std::vector<nfs4::Export> exports, env::Done<void> done);
  // Makes everything stable and a last checkpoint; then nothing has to be redone. No more requests meanwhile.
  void stop(env::Task done);

  // For status.
  const RestorationFigures& restoration() const { return restoration_; }
  processor::Processor& processor() { return *processor_; }
  state::Database& database() { return *database_; }
  fs::FileSystem& fs() { return *fs_; }
  client::ClientState& clients() { return *clients_; }
  Checkpointer& checkpointer() { return *checkpointer_; }
  log::GroupCommit& commit() { return *commit_; }
  log::LogRing* ring() { return parts_.ring.get(); }
  uint64_t blocks() const { return parts_.blocks->capacity(); }
  const std::string& uuid() const { return uuid_; }

 private:
  Vserver(env::Env& env, Parts parts, VserverOptions options, std::move_only_function<void(Error)> failed);
  void fail(Error error);
  void redo(log::LogRing::Wanted wanted, env::Done<void> done);
  void loaded();
  void begin_epoch();
  void make_volume(env::Done<void> done);
  void use_secret();
  void open_service();
  void turn();
  std::unique_ptr<processor::Transaction> reclaim_job(TransactionId id, fs::ReclaimRegisters registers);
  std::unique_ptr<processor::Transaction> expire_job(TransactionId id, client::ExpireRegisters registers,
                                                     std::move_only_function<void(Status)> ended = nullptr);
  std::unique_ptr<processor::Transaction> recall_job(TransactionId id, nfs4::RecallRegisters registers);
  std::unique_ptr<processor::Transaction> async_copy_job(TransactionId id,
                                                         nfs4::AsyncCopyRegisters registers);
  std::unique_ptr<processor::Transaction> lock_wait_job(TransactionId id, nfs4::LockWaitRegisters registers);
  void write_back(fs::WriteBackScope scope, env::Task done = nullptr);
  void begin_write_back();
  void free_blocks();
  void every(env::Duration interval, void (Vserver::*task)());
  void write_back_aged();
  void check_leases();
  void expire_leases();
  uint64_t write_verifier() const;
  void note_clean_stop(state::Run& run);
  void stop_when_clean(int passes, env::Task done);

  env::Env& env_;
  Parts parts_;
  VserverOptions options_;
  std::move_only_function<void(Error)> failed_;
  std::unique_ptr<state::Database> database_;
  std::unique_ptr<state::Table<VserverRow>> vservers_;
  std::unique_ptr<state::Table<EpochRow>> epochs_;
  std::unique_ptr<fs::FileSystem> fs_;
  std::unique_ptr<client::ClientState> clients_;
  std::unique_ptr<processor::Processor> processor_;
  std::unique_ptr<log::GroupCommit> commit_;
  std::unique_ptr<nfs4::Service> nfs_;
  std::unique_ptr<Checkpointer> checkpointer_;
  RestorationFigures restoration_;
  env::Instant began_;
  Lsn served_from_;
  env::Task on_checkpoint_;
  std::string uuid_;
  bool open_ = false, stopping_ = false;
  bool writing_back_ = false, freeing_ = false, free_again_ = false;
  env::Instant leases_checked_{};
  size_t expiring_ = 0;  // clients whose leases have ended, being removed
  // The pass that follows the one under way: one for all who ask meanwhile.
  std::optional<fs::WriteBackScope> next_write_back_;
  std::vector<env::Task> next_write_back_done_;
};

}  // namespace perdure::server
