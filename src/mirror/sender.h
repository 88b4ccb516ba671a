// Sender: the primary's end of a channel to one follower. It sends the log from where the follower's ends,
// first out of the ring and then out of memory; the blocks that are written meanwhile, and those that the
// follower asks for. Thread: the vserver's loop.
#pragma once

#include <deque>
#include <map>
#include <memory>

#include "mirror/channel.h"
#include "mirror/messages.h"
#include "mirror/replica.h"

namespace perdure::mirror {

class Sender {
 public:
  struct Hooks {
    std::function<void()> acked;   // something new in ack()
    std::function<void()> broken;  // the channel is closed, or what comes from it makes no sense
    std::function<void()> hand_over_wanted;
  };
  Sender(env::Env& env, Replica& replica, std::unique_ptr<Channel> channel, Start follower, Hooks hooks);
  ~Sender();

  // Nothing more is done or called; it is about to be destroyed.
  void retire();
  const Start& follower() const { return follower_; }
  void welcome(const Welcome& welcome);
  void refuse(Refused::Why why);
  // It has said where its log ends, and gets what comes behind.
  bool following() const { return following_; }
  void beacon();
  void in_sync(Epoch epoch);
  void hand_over();
  void leave(const ByteVector& legacy);
  // A block write of this blade's: sent before the log can name it.
  void wrote(BlockNo first, std::span<const PageRef> pages);
  // The block as the follower has it, right or not. An error: the channel ends first.
  void ask_for(BlockNo block, env::Done<PageRef> done);
  // Sends what there is, as far as the follower keeps up. At the end of each turn.
  void pump();

  // What the follower has said last.
  const Ack& ack() const { return ack_; }
  size_t paths() const { return channel_->paths(); }
  // Where what has been sent of the log ends.
  Lsn sent() const { return sent_; }

 private:
  void received(Bytes message);
  void take(const Follow& follow);
  void take(const Ack& ack);
  void take(const WantBlocks& want);
  void take(const WantRows& want);
  void take(const Blocks& blocks);
  void send_log();
  void send_batch(Lsn start, Epoch epoch, Bytes payload, Lsn end);
  void send_blocks(BlockNo first, std::span<const PageRef> pages);
  void tell_frozen();
  void read_wanted();
  void read_wanted_singly(const std::shared_ptr<std::vector<PageRef>>& pages, size_t index);
  void send_wanted(const std::vector<PageRef>& pages);
  void broken(const char* why);

  env::Env& env_;
  Replica& replica_;
  std::unique_ptr<Channel> channel_;
  const Start follower_;
  Hooks hooks_;
  std::shared_ptr<Sender*> self_;  // for callbacks that come when it may be gone
  bool following_ = false, reading_ = false;
  bool copying_ = false, scanning_ = false;
  bool retired_ = false, refused_ = false;
  Lsn sent_, told_frozen_;
  Ack ack_;
  std::multimap<BlockNo, env::Done<PageRef>> asked_for_;
  std::deque<WantBlocks> wanted_;
  WantBlocks wanted_now_;         // being read
  std::vector<bool> superseded_;  // of those: sent meanwhile
  bool reading_wanted_ = false;
};

}  // namespace perdure::mirror
