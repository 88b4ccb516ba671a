// Receiver: a follower's end of a channel. It redoes the batches that come, writes the blocks that come, and
// acknowledges.
//
// It redoes a batch only when this blade has every block that the batch's extents name, on stable storage. A
// block is here if it has come over this channel; otherwise it is read, and compared with its checksum; and
// if it is not what it should be, it is asked for. So it does not matter what was written while nobody
// listened, nor what this blade's disk has lost or kept: what this blade's log names is there. What is
// compared or asked for at a time is bounded, and so is what is on its way (Taken).
//
// Thread: the vserver's loop.
#pragma once

#include <absl/container/flat_hash_map.h>
#include <absl/container/flat_hash_set.h>

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
  // No more than about so many blocks are being read or asked for at a time.
  Receiver(env::Env& env, Replica& replica, std::unique_ptr<Channel> channel, size_t blocks_on_the_way,
           Hooks hooks);
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
    std::deque<Dead::Range> dead;  // what it names, and nobody needs
    size_t missing = 0;            // blocks
    uint64_t written = 0;          // it needs a flush that began after so many block writes; 0: it names none
  };
  // A block that a batch waits for. It is on its way by itself, or it is to be compared, or asked for.
  struct Missing {
    std::vector<uint64_t> batches;  // numbers of Pending
    uint32_t crc = 0;
    bool live = false;     // the primary has sent, or told of, what it has written to it since
    uint64_t reading = 0;  // the number of the read that it is compared with
    bool queued = false;   // in comparisons_
    bool counted = false;  // in under_way_: it is being read or was asked for
    bool asked_for = false;
    std::optional<uint32_t> came;  // what was asked for, and is something else
    unsigned came_alike = 0;       // so often in succession
  };
  struct Range {
    BlockNo first;
    uint32_t count = 0;
  };
  struct Write {
    BlockNo first;
    std::vector<PageRef> pages;
  };
  void received(Bytes bytes);
  void received_following(const Message& message);
  void take(const Batch& batch);
  void take(const Rows& rows);
  void take(Dead dead);
  void take(const Blocks& blocks);
  void take(const Stale& stale);
  void take(const WantBlocks& want);
  void lack_next();
  static bool is_dead(Pending& batch, BlockNo block);
  void lack(const NamedBlocks& named, Pending& batch, uint64_t number);
  void queue(BlockNo block, Missing& missing);
  void compare_next();
  void compare(const Range& range);
  void compared(BlockNo first, std::span<const PageRef> pages, uint64_t reading);
  bool stale(BlockNo block) const { return stale_.contains(block); }
  void ask(const Range& range);
  void write_next();
  void written(const Write& write);
  void there(BlockNo block, bool known);
  static bool doubtful(Missing& missing, uint32_t crc);
  void write_rows();
  void copy_batches();
  void send_copied();
  void advance();
  void pop_pending();
  void flush();
  bool known(BlockNo block) const { return block.value < known_.size() && known_[block.value]; }
  void now_old(BlockNo block);
  void broken(const char* why);
  void fail(Error error);

  env::Env& env_;
  Replica& replica_;
  std::unique_ptr<Channel> channel_;
  const size_t blocks_on_the_way_;
  Hooks hooks_;
  std::shared_ptr<Receiver*> self_;  // for callbacks that come when it may be gone
  env::Instant heard_, alive_;
  uint64_t time_ = 0;  // of the last beacon
  Lsn live_ = Lsn(UINT64_MAX);
  std::optional<Lsn> frozen_;  // told, and not yet come to
  bool has_flow_ = false;      // the primary's version, see Sender
  bool copying_ = false;
  bool rows_asked_for_ = false;
  bool flows_ = false;      // the log comes, and what is written
  bool following_ = false;  // all rows are there, and the replica is loaded
  Lsn end_;                 // of what has come of the log
  Epoch epoch_;
  Lsn copied_end_;  // of what is in the copy
  bool fit_ = true;

  std::deque<Pending> pending_;
  std::deque<Dead::Range> dead_;  // of the next one
  uint64_t first_pending_ = 0;    // the number of the first one
  size_t looked_at_ = 0;          // so many of them, for what they lack
  std::map<BlockNo, Missing> missing_;
  std::deque<Range> comparisons_;  // to be made
  size_t under_way_ = 0;           // blocks
  std::vector<bool> known_;        // of each block: this blade has what the primary wrote last

  std::deque<Write> writes_;  // that have not begun
  std::vector<Range> being_written_;
  absl::flat_hash_map<BlockNo, uint32_t> arriving_;  // blocks of both: so many times. Never iterated over
  // Blocks of which the primary has written something newer, which has not come. Never iterated over.
  absl::flat_hash_set<BlockNo> stale_;
  bool growing_ = false;
  // Block writes that have ended, and that are stable; counted from 1, so that a batch of which everything is
  // there waits for a flush as well.
  uint64_t written_ = 1, flushed_ = 0;
  uint64_t readings_ = 0;
  bool flushing_ = false;
  bool copying_some_ = false;            // of pending_, from the first one on
  uint64_t taken_ = 0, told_taken_ = 0;  // blocks
  Ack told_;
};

}  // namespace perdure::mirror
