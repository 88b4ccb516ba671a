// Receiver: a follower's end of a channel. It redoes the batches that come, writes the blocks that come, and
// acknowledges.
//
// It redoes a batch only when this blade has every block that the batch's extents name, on stable storage. A
// block is here if it has come over this channel; otherwise it is read, and compared with its checksum; and
// if it is not what it should be, it is asked for. So it does not matter what was written while nobody
// listened, nor what this blade's disk has lost or kept: what this blade's log names is there.
//
// Thread: the vserver's loop.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "mirror/channel.h"
#include "mirror/messages.h"
#include "mirror/replica.h"

namespace perdure::mirror {

class Receiver {
 public:
  struct Hooks {
    std::function<void(Refused::Why)> refused;
    std::function<void(const Welcome&)> welcomed;
    std::function<void(Lsn read_from)> copied;  // all rows are there
    std::function<void()> in_sync;              // the primary says so
    std::function<void()> handed_over;          // so does it that it is none any more
    std::function<void(const ByteVector& legacy)> left;
    std::function<void()> broken;       // the channel is closed, or what comes from it makes no sense
    std::function<void(Error)> failed;  // this blade cannot redo it: what it has is of no use any more
  };
  Receiver(env::Env& env, Replica& replica, std::unique_ptr<Channel> channel, Hooks hooks);
  ~Receiver();

  // Nothing more is done or called; it is about to be destroyed.
  void retire() { *self_ = nullptr; }
  void hello(const Hello& hello);
  // After the welcome, and once the replica is loaded. The log goes on from its end.
  void follow();
  // After the welcome, where the replica needs a copy; hooks.copied tells that it has it.
  void copy();
  void want_hand_over();
  void set_fit(bool fit) { fit_ = fit; }
  // An Ack, if there is anything new. At the end of each turn.
  void end_turn();
  // When the primary was heard last, by beacons that have been or will be acknowledged. 0: it was not.
  env::Instant heard() const { return heard_; }
  // When anything came.
  env::Instant alive() const { return alive_; }
  size_t paths() const { return channel_->paths(); }

 private:
  // A batch, or rows, that have come and cannot be redone or written yet.
  struct Pending {
    Lsn end;
    Epoch epoch;
    ByteVector payload;
    std::optional<Rows> rows;
    size_t missing = 0;    // blocks
    uint64_t written = 0;  // it needs a flush that began after so many block writes; 0: it names none
  };
  // A block that a batch waits for.
  struct Missing {
    std::vector<uint64_t> batches;  // numbers of Pending
    uint32_t crc = 0;
    bool asked_for = false;
    std::optional<uint32_t> came;  // what was asked for, and is something else
    unsigned came_alike = 0;       // so often in succession
  };
  void received(Bytes message);
  void take(const Batch& batch);
  void take(const Rows& rows);
  void lack(const std::vector<NamedBlocks>& named);
  void write_rows();
  void take(const Blocks& blocks);
  void take(const WantBlocks& want);
  void lack(BlockNo first, std::span<const uint32_t> crcs, uint64_t batch);
  void verify(BlockNo first, uint32_t count, bool live);
  void ask(BlockNo first, uint32_t count);
  void write_next();
  void there(BlockNo block, bool known);
  static bool doubtful(Missing& missing, uint32_t crc);
  void advance();
  void flush();
  bool known(BlockNo block) const { return block.value < known_.size() && known_[block.value]; }
  void broken(const char* why);
  void fail(Error error);

  env::Env& env_;
  Replica& replica_;
  std::unique_ptr<Channel> channel_;
  Hooks hooks_;
  std::shared_ptr<Receiver*> self_;  // for callbacks that come when it may be gone
  env::Instant heard_, alive_;
  uint64_t time_ = 0;  // of the last beacon
  Lsn live_ = Lsn(UINT64_MAX);
  std::optional<Lsn> frozen_;  // told, and not yet come to
  bool following_ = false, copying_ = false;
  bool fit_ = true;

  std::deque<Pending> pending_;
  uint64_t first_pending_ = 0;  // the number of the first one
  std::map<BlockNo, Missing> missing_;
  std::vector<bool> known_;  // of each block: this blade has what the primary wrote last
  struct Write {
    BlockNo first;
    std::vector<PageRef> pages;
  };
  std::deque<Write> writes_;  // the first one is under way
  bool writing_ = false;
  uint64_t written_ = 0, flushed_ = 0;  // block writes that have ended, and that are stable
  bool flushing_ = false;
  Ack told_;
};

}  // namespace perdure::mirror
