// Sender: the primary's end of a channel to one follower. It sends the log from where the follower's ends,
// first out of the ring and then out of memory; the blocks that are written meanwhile, and those that the
// follower asks for.
//
// Of blocks no more is on its way than the follower has said that it has room for. What is written beyond
// that it is told of, and gets when its log names it and it asks for it.
//
// Thread: the vserver's loop.
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
  // Of written blocks, and of those that were asked for, about so many are on their way at a time.
  Sender(env::Env& env, Replica& replica, std::unique_ptr<Channel> channel, Start follower,
         size_t blocks_on_the_way, Hooks hooks);
  ~Sender();

  // Nothing more is done or called; it is about to be destroyed.
  void retire();
  const Start& follower() const { return follower_; }
  void welcome(const Welcome& welcome);
  void refuse(Refused::Why why);
  // It has said where its log ends, and gets what comes behind. One that still copies does not follow yet.
  bool following() const { return following_; }
  // So long nothing has come from it, though something should.
  env::Duration silence() const;
  void beacon();
  void in_sync(Epoch epoch);
  void hand_over();
  void leave(const ByteVector& legacy);
  // A block write of this blade's: sent, or told of, before the log can name it.
  void wrote(BlockNo first, std::span<const PageRef> pages);
  // The next one would only be told of. When there is room again, the replica's blocks are told.
  bool full() const;
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
  // Blocks that the follower wants, and that are being read.
  enum class Meanwhile : uint8_t { nothing, sent, told_of };
  struct Reading {
    BlockNo first;
    std::vector<PageRef> pages;
    std::vector<Meanwhile> meanwhile;  // what has happened to each of them
  };
  void received(Bytes message);
  void take(const Follow& follow);
  void begin_log(Lsn from);
  void release_log();
  void take(const Ack& ack);
  void take(const Taken& taken);
  void take(const WantBlocks& want);
  void take(const WantRows& want);
  void take(const Blocks& blocks);
  void send_log();
  void send_batch(Lsn start, Epoch epoch, Bytes payload, Lsn end);
  void send_blocks(BlockNo first, std::span<const PageRef> pages, bool wanted);
  void tell_frozen();
  void read_wanted();
  void tell_dead(Bytes payload);
  void read_wanted_singly(const std::shared_ptr<Reading>& reading, size_t index);
  void send_wanted(const std::shared_ptr<Reading>& reading);
  void broken(const char* why);

  env::Env& env_;
  Replica& replica_;
  std::unique_ptr<Channel> channel_;
  const Start follower_;
  const size_t blocks_on_the_way_;
  Hooks hooks_;
  std::shared_ptr<Sender*> self_;  // for callbacks that come when it may be gone
  bool has_flow_ = false;          // its version has Stale, Taken and Dead, and gets the log while it copies
  bool flows_ = false;             // the log is sent, and what is written
  bool following_ = false;         // to one that has all rows
  bool reading_ = false;
  bool copying_ = false, scanning_ = false;
  bool retired_ = false, refused_ = false;
  Lsn sent_, told_frozen_;
  env::Instant heard_;
  Lsn needed_;  // the log from here on, while copying_ or flows_
  Lsn live_;    // where the log ended when the follower began to follow
  Ack ack_;
  std::multimap<BlockNo, env::Done<PageRef>> asked_for_;
  // Blocks that are on their way.
  struct OnTheWay {
    uint64_t end = 0;  // so many have been sent then
    uint32_t count = 0;
    bool wanted = false;
  };
  std::deque<OnTheWay> on_the_way_;
  uint64_t blocks_sent_ = 0, blocks_taken_ = 0;
  size_t written_out_ = 0, wanted_out_ = 0;  // of on_the_way_
  std::deque<WantBlocks> wanted_;
  std::vector<std::shared_ptr<Reading>> readings_;
};

}  // namespace perdure::mirror
