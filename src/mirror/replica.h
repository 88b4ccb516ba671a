// What mirror/ works with: this blade's copy of the vserver. It is loaded, redoes what the primary logs, and
// can be told to serve. server/ implements it.
#pragma once

#include <vector>

#include "env/env.h"
#include "log/group_commit.h"
#include "log/ring.h"
#include "mirror/configuration.h"
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
  // Restoration, up to a standby. Once. What follows may only be called afterwards.
  virtual void load(log::LogRing::Wanted wanted, env::Done<void> done) = 0;
  virtual log::GroupCommit& commit() = 0;
  virtual log::LogRing& ring() = 0;
  virtual MirroredBlocks& blocks() = 0;
  virtual Lsn applied() = 0;  // of its last checkpoint
  virtual History history() = 0;
  // Of a batch that has not been redone.
  virtual Result<std::vector<NamedBlocks>> named_blocks(Bytes payload) = 0;
  // See Vserver::redo_batch().
  virtual Result<void> redo_batch(Bytes payload, Epoch epoch) = 0;
  // It is the primary from now on, and answers clients.
  virtual void serve(Epoch epoch, env::Done<void> done) = 0;
  virtual void mirror_applied(Lsn lsn) = 0;
};

}  // namespace perdure::mirror
