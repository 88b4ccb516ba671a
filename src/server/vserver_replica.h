// VserverReplica: a vserver as a pair sees it (mirror/replica.h). Thread: the loop of its Env.
#pragma once

#include <set>

#include "fs/data.h"
#include "mirror/replica.h"
#include "server/vserver.h"

namespace perdure::server {

class VserverReplica final : public mirror::Replica {
 public:
  // `failed`: as of Vserver::load().
  VserverReplica(env::Env& env, Vserver::Parts parts, VserverOptions options,
                 std::move_only_function<void(Error)> failed);

  // Null until it is loaded.
  Vserver* vserver() { return vserver_.get(); }

  bool needs_copy() override { return needs_copy_; }
  bool is_new() override { return is_new_; }
  void discard(env::Done<void> done) override;
  void copy_rows(const mirror::Rows& rows, env::Done<void> done) override;
  void copy_batches(const std::vector<Bytes>& payloads, env::Done<void> done) override;
  void end_copy(Lsn read_from, env::Done<void> done) override;
  void scan_rows(const mirror::WantRows& want, env::Done<mirror::Rows> done) override;
  void hold_log(std::optional<Lsn> from, bool may_slow) override;
  void load(log::LogRing::Wanted wanted, env::Done<void> done) override;
  log::GroupCommit& commit() override { return vserver_->commit(); }
  log::LogRing& ring() override { return *vserver_->ring(); }
  mirror::MirroredBlocks& blocks() override { return *blocks_; }
  Lsn applied() override { return vserver_->database().applied_lsn(); }
  Lsn frozen() override { return vserver_->database().frozen_lsn(); }
  void offer_checkpoint() override { vserver_->checkpointer().offer(); }
  mirror::History history() override { return vserver_->history(); }
  Result<std::vector<mirror::NamedBlocks>> named_blocks(Bytes payload) override {
    return Vserver::named_blocks(payload);
  }
  Result<std::vector<mirror::NamedBlocks>> named_blocks(const mirror::Rows& rows) override;
  bool is_dead(BlockNo block) override { return !vserver_->fs().data().allocator.used(block); }
  Result<void> redo_batch(Bytes payload, Epoch epoch) override {
    return vserver_->redo_batch(payload, epoch);
  }
  void serve(Epoch epoch, env::Done<void> done) override { vserver_->serve(epoch, std::move(done)); }
  void mirror_applied(Lsn lsn) override { vserver_->mirror_applied(lsn); }
  void set_elsewhere(Elsewhere elsewhere) override {
    vserver_->fs().data().reader.set_elsewhere(std::move(elsewhere));
  }

 private:
  void slow_down();

  env::Env& env_;
  Vserver::Parts parts_;  // until it is loaded
  VserverOptions options_;
  std::move_only_function<void(Error)> failed_;
  mirror::MirroredBlocks* blocks_;
  std::unique_ptr<Vserver> vserver_;
  bool needs_copy_ = false, is_new_ = false;
  bool slow_ = false, slowing_ = false;  // of the primary: its clients
  Lsn copy_from_;  // of the primary: the log behind it belongs to the copy that is being made
  // Of a copy that is being made here: rows behind those that have been copied that the log has changed.
  std::set<ByteVector> changed_;
  ByteVector copied_upto_;
};

}  // namespace perdure::server
