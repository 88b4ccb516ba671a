// Member: one start of a blade's server process as a part of a pair. It finds out from the arbiter and from
// the peer what it is, and moves between these roles:
//
//   starting -> primary            its blade was the last primary, and its log has all that is durable
//   starting -> joining -> mirror  it follows the primary, and is in sync at last
//   mirror -> primary              the primary is silent: a takeover; or it has handed over
//   mirror -> joining              it was not in time, and has been left out
//   any -> ended                   this start can take no part any more; the process starts anew
//
// What holds, and what is assumed of the clocks, is docs/decisions/pair.md.
//
// Thread: the vserver's loop.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "mirror/arbiter.h"
#include "mirror/channel.h"
#include "mirror/messages.h"
#include "mirror/receiver.h"
#include "mirror/replica.h"
#include "mirror/sender.h"

namespace perdure::mirror {

// What durable means while a mirror is in sync. Without one it is this blade's stable storage.
enum class Level : uint8_t {
  disk,             // stable here, and in the memory of both
  mirror,           // in the memory of both
  disk_and_mirror,  // stable on both
};

class Member {
 public:
  enum class Role : uint8_t { starting, joining, mirror, primary, ended };
  struct Options {
    Start self;
    std::string peer;  // its blade
    Level level = Level::disk;
    env::Duration beacon_interval = std::chrono::milliseconds(25);
    env::Duration lease = std::chrono::milliseconds(300);
    // Of silence: after it the mirror takes over, or is left out.
    env::Duration takeover_after = std::chrono::milliseconds(400);
    env::Duration drop_after = std::chrono::milliseconds(300);
    // A primary whose log is not written for so long hands over, if the mirror's is.
    env::Duration stall_after = std::chrono::seconds(3);
    env::Duration retry_interval = std::chrono::milliseconds(50);
    // Of file data, from blade to blade: as much as keeps both busy, and little enough that what comes behind
    // it comes soon.
    size_t blocks_on_the_way = (8U << 20U) / block_bytes;
    // Of a primary's next start: not zero where the last one found that this blade cannot go on. A mirror
    // then has the time to take over.
    env::Duration claim_after{};
  };
  struct Hooks {
    std::function<void()> serving;     // it has become the primary
    std::function<void(Error)> ended;  // the process must be started anew, and the error says why
    // This blade is not the primary: at each time that it begins to look for the one that is.
    std::function<void()> following = [] {};
    // The mirror is to be the primary, and hand_over() is up to whoever serves clients.
    std::function<void()> hand_over_wanted = [] {};
  };
  // `connector` makes channels to the peer.
  Member(env::Env& env, Replica& replica, Arbiter& arbiter, Connector& connector, Options options,
         Hooks hooks);
  ~Member();

  void start();
  // The peer has made a channel to this blade.
  void accept(std::unique_ptr<Channel> channel);

  // Of a primary with a mirror: this start answers nothing any more, and the mirror takes over at once. It
  // ends when that has happened, or cannot be waited for any longer. An error: there is no mirror that could.
  Result<void> hand_over();
  // Of a mirror: the primary is asked to do so. An error: there is nobody to be asked.
  Result<void> want_hand_over();
  // Whether clients can reach this blade. A primary that they cannot reach wants to hand over to a mirror
  // that they can.
  void set_fit(bool fit);
  // Of a primary: what its successor is to know beside the log. Of that one: what it was told last.
  void set_legacy(ByteVector legacy);
  const ByteVector& legacy() const { return legacy_; }

  Role role() const { return role_; }
  const Start& self() const { return options_.self; }
  const Configuration& configuration() const { return configuration_; }  // the newest that is known
  // It is the primary, and may answer at this moment: it has a lease, or needs none.
  bool answers() const;
  // The primary has a mirror that is in sync.
  bool mirrored() const { return role_ == Role::primary && !configuration_.alone() && !proposing_; }
  const Sender* sender() const { return sender_.get(); }
  // Another blade is the primary, and this one gets its log, or a copy of all it has.
  bool follows() const { return receiver_ != nullptr && welcomed_; }
  // Over so many paths this blade is connected to its peer; 0: it is not.
  size_t paths() const;
  const std::string& says() const { return says_; }  // what it does, in words

 private:
  void begin();
  void load(log::LogRing::Wanted wanted, std::function<void()> then);
  void follow();
  void need_copy(const std::string& why);
  void load_and_follow(log::LogRing::Wanted wanted);
  void join();
  void connect();
  void connect_later();
  void reach_peer();
  void channel_ended();
  void greet(std::unique_ptr<Channel> channel);
  void welcomed(const Welcome& welcome);
  void refused(Refused::Why why);
  void retire_receiver();
  void retire_sender();
  void hello(Channel& from, const Hello& hello);
  bool may_follow() const;
  bool was_primary() const;
  bool wants_to_hand_over() const;
  bool may_claim() const;
  bool both_lost() const;

  void watch();
  void take_over();
  void claim();
  void decide();
  void become_primary();
  void settle();
  void require(bool mirror);
  bool all_stable();
  void drop_mirror();
  void add_mirror();
  void propose(std::vector<Start> in_sync, std::function<void(bool)> then);
  void propose(uint64_t version, const Configuration& next, std::function<void(bool)> then);
  void learn(const Arbiter::Versioned& versioned);
  void acked();
  void tick();
  void end_turn();
  void await_successor(env::Instant until);
  void end(Error error);
  env::Instant heard() const;

  env::Env& env_;
  Replica& replica_;
  Arbiter& arbiter_;
  Connector& connector_;
  const Options options_;
  Hooks hooks_;
  Role role_ = Role::starting;
  std::string says_ = "starting";
  Configuration configuration_;
  uint64_t version_ = 0;
  bool loaded_ = false, loading_ = false;
  bool proposing_ = false;  // a change is on its way, and its outcome is not known
  const env::Instant began_;

  // As a follower.
  std::unique_ptr<Receiver> receiver_;
  env::Instant heard_;
  env::Instant not_before_;  // a takeover
  History history_;          // of the primary
  bool copying_ = false;     // a full copy has begun
  bool welcomed_ = false;    // by the primary, over the channel that there is
  bool connecting_ = false, deciding_ = false, retry_set_ = false;

  // As the primary.
  std::unique_ptr<Sender> sender_;
  bool serving_ = false;
  bool required_ = false;  // the mirror, for durable
  bool ring_required_ = true;
  bool needs_lease_ = false;  // it may be able to take over
  bool handing_over_ = false;
  bool fit_ = true;
  ByteVector legacy_;  // or, as a follower, of the primary
  Lsn joins_at_;       // a follower that has everything before it may be added
  env::Instant lease_until_, acked_;

  // Channels of which no Hello has come, or that have been refused.
  std::vector<std::unique_ptr<Channel>> greeting_;
};

const char* name(Member::Role role);

}  // namespace perdure::mirror
