// What mirror/ works with: this blade's copy of the vserver. It is loaded, redoes what the primary logs, and
// can be told to serve. server/ implements it.
#pragma once

#include <functional>
#include <optional>
#include <vector>

#include "env/env.h"
#include "log/group_commit.h"
#include "log/ring.h"
#include "mirror/messages.h"
#include "mirror/mirrored_blocks.h"

namespace perdure::mirror {

// Blocks that a record's extents name, with the checksums that they must have.
struct NamedBlocks {
  BlockNo first;
  std::vector<uint32_t> crcs;
};

class Replica {
 public:
  virtual ~Replica() = default;

  // This blade has nothing that the log could go on from. It is not loaded before a copy has been made.
  virtual bool needs_copy() = 0;
  // Its log was made by this start.
  virtual bool is_new() = 0;
  // What it has is of no use any more: durably, so that the next start needs a copy.
  virtual void discard(env::Done<void> done) = 0;
  // Makes the rows behind `behind` up to `upto` (empty: to the end) these, but for those that copy_batch()
  // has made what they are.
  virtual void copy_rows(const Rows& rows, env::Done<void> done) = 0;
  // While rows are copied: what batches of the log change, wherever it lies.
  virtual void copy_batches(const std::vector<Bytes>& payloads, env::Done<void> done) = 0;
  // All are there; the log goes on at `read_from`, where it is empty now.
  virtual void end_copy(Lsn read_from, env::Done<void> done) = 0;
  // Of the primary: the next rows of its checkpoint. From `first` on, its log is kept, see hold_log().
  virtual void scan_rows(const WantRows& want, env::Done<Rows> done) = 0;
  // The log from here on is kept, unless it gets too much; none: no more than for this blade itself. If it is
  // much, and `may_slow`, clients are held to half their speed. Cheap.
  virtual void hold_log(std::optional<Lsn> from, bool may_slow) = 0;

  // Restoration, up to a standby. Once. What follows may only be called afterwards.
  virtual void load(log::LogRing::Wanted wanted, env::Done<void> done) = 0;
  virtual log::GroupCommit& commit() = 0;
  virtual log::LogRing& ring() = 0;
  virtual MirroredBlocks& blocks() = 0;
  virtual Lsn applied() = 0;  // of its last checkpoint
  virtual Lsn frozen() = 0;   // of the one that was begun last
  // A good moment for one: file data is on blocks, not in the log.
  virtual void offer_checkpoint() = 0;
  virtual History history() = 0;
  // Of a batch that has not been redone; of rows that have not been copied.
  virtual Result<std::vector<NamedBlocks>> named_blocks(Bytes payload) = 0;
  virtual Result<std::vector<NamedBlocks>> named_blocks(const Rows& rows) = 0;
  // Of the primary: no row names it, and that is durable.
  virtual bool is_dead(BlockNo block) = 0;
  // See Vserver::redo_batch().
  virtual Result<void> redo_batch(Bytes payload, Epoch epoch) = 0;
  // It is the primary from now on, and answers clients.
  virtual void serve(Epoch epoch, env::Done<void> done) = 0;
  virtual void mirror_applied(Lsn lsn) = 0;
  // Of a primary: who has blocks that are damaged here (fs/block_reader.h).
  using Elsewhere = std::function<void(BlockNo block, env::Done<PageRef> done)>;
  virtual void set_elsewhere(Elsewhere elsewhere) = 0;
};

}  // namespace perdure::mirror
