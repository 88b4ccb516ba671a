#include "mirror/member.h"

#include <spdlog/spdlog.h>

#include <algorithm>

#include "base/mark.h"
#include "base/planted_bug.h"

namespace perdure::mirror {

namespace {
constexpr size_t greeting_max = 8;
// A follower that lacks no more than this is asked to keep up.
constexpr uint64_t nearly_bytes = 256U << 10U;
constexpr env::Duration watch_interval = std::chrono::milliseconds(10);
// A follower that is not in sync is given up, so that nothing is kept for one that is dead.
constexpr env::Duration follower_silence_max = std::chrono::seconds(5);
}  // namespace

Member::Member(env::Env& env, Replica& replica, Arbiter& arbiter, Connector& connector, Options options,
               Hooks hooks)
    : env_(env),
      replica_(replica),
      arbiter_(arbiter),
      connector_(connector),
      options_(std::move(options)),
      hooks_(std::move(hooks)),
      began_(env.now()) {
  CHECK(options_.takeover_after >= options_.lease + options_.lease / 16);
}

Member::~Member() = default;

const char* name(Member::Role role) {
  switch (role) {
    case Member::Role::starting:
      return "starting";
    case Member::Role::joining:
      return "joining";
    case Member::Role::mirror:
      return "mirror";
    case Member::Role::primary:
      return "primary";
    case Member::Role::ended:
      return "ended";
  }
  return "?";
}

void Member::end(Error error) {
  if (std::exchange(role_, Role::ended) == Role::ended) return;
  says_ = error.message;
  hooks_.ended(std::move(error));
}

// ------------------------------------------------------------------------------------------ the arbiter

void Member::learn(const Arbiter::Versioned& versioned) {
  configuration_ = versioned.configuration;
  version_ = versioned.version;
}

// Sends the change again until its outcome is known: one that is lost may still arrive, but then it is the
// same, of the same version.
void Member::propose(uint64_t version, const Configuration& next, std::function<void(bool)> then) {
  proposing_ = true;
  arbiter_.replace(version, next,
                   [this, version, next, then = std::move(then)](Result<Arbiter::Replaced> replaced) mutable {
                     if (role_ == Role::ended) return;
                     if (!replaced && planted("an unknown outcome counts as success")) {
                       proposing_ = false;
                       configuration_ = next;
                       return then(true);
                     }
                     if (!replaced) {
                       says_ = "waiting for the arbiter: " + replaced.error().message;
                       env_.after(options_.retry_interval,
                                  [this, version, next, then = std::move(then)]() mutable {
                                    if (role_ != Role::ended) propose(version, next, std::move(then));
                                  });
                       return;
                     }
                     proposing_ = false;
                     learn(replaced->now);
                     then(configuration_ == next);
                   });
}

// This start as the primary, with these in sync.
void Member::propose(std::vector<Start> in_sync, std::function<void(bool)> then) {
  propose(version_, Configuration{configuration_.epoch.next(), options_.self, std::move(in_sync)},
          std::move(then));
}

// --------------------------------------------------------------------------------------------- the start

void Member::start() {
  env_.after(options_.beacon_interval, [this] { tick(); });
  env_.after(watch_interval, [this] { watch(); });
  begin();
}

void Member::begin() {
  arbiter_.read([this](Result<Arbiter::Versioned> read) {
    if (role_ == Role::ended) return;
    if (!read) {
      says_ = "waiting for the arbiter: " + read.error().message;
      env_.after(options_.retry_interval, [this] { begin(); });
      return;
    }
    if (read->version == 0) return end(error(ErrorKind::invalid, "the arbiter knows nothing of this pair"));
    learn(*read);
    // An empty disk has no acknowledged data: whoever has them must go on, not this blade.
    const bool lost = was_primary() && configuration_.primary.number != 0 && replica_.is_new();
    if (was_primary() && (lost || replica_.needs_copy())) {
      if (configuration_.alone())
        return end(
            error(ErrorKind::corrupt,
                  "this blade is the only one that had everything, and its log is {}: nothing is served",
                  lost ? "new" : "not complete"));
      says_ = "waiting for the mirror to take over: this blade was the primary, and has lost its data";
      env_.after(options_.retry_interval, [this] { begin(); });
      return;
    }
    if (may_claim() && !configuration_.alone() && env_.now() - began_ < options_.claim_after) {
      says_ = "leaving it to the mirror to take over";
      env_.after(options_.retry_interval, [this] { begin(); });
      return;
    }
    if (may_claim()) return load(nullptr, [this] { claim(); });
    // The log of one that was in sync has nothing that must be dropped.
    if (both_lost() && !replica_.needs_copy()) return load(nullptr, [this] { join(); });
    join();
  });
}

bool Member::may_follow() const {
  return (role_ == Role::joining || role_ == Role::mirror) && !deciding_;
}

bool Member::was_primary() const {
  return configuration_.primary.blade == options_.self.blade && configuration_.primary != options_.self;
}

// Of what was durable nothing was in memory only.
bool Member::may_claim() const {
  return was_primary() && (options_.level != Level::mirror || configuration_.alone());
}

// With a mirror that had in memory what this blade's disk may lack, and that may be gone as well.
bool Member::both_lost() const {
  return options_.level == Level::mirror && !configuration_.alone() && !configuration_.has(options_.self) &&
         std::ranges::any_of(configuration_.in_sync,
                             [&](const Start& s) { return s.blade == options_.self.blade; });
}

void Member::load(log::LogRing::Wanted wanted, std::function<void()> then) {
  CHECK(!loaded_ && !loading_);
  loading_ = true;
  replica_.load(std::move(wanted), [this, then = std::move(then)](Result<void> loaded) {
    if (role_ == Role::ended) return;
    if (!loaded) return end(std::move(loaded).error());
    loading_ = false;
    loaded_ = true;
    // A follower's checkpoint has only what is durable at the primary, which tells it so.
    if (!planted("a mirror's checkpoint has what may be taken back"))
      replica_.commit().doubt(replica_.ring().tail());
    replica_.commit().require({.ring = true, .mirror = true});
    env_.at_turn_end([this] { end_turn(); });
    then();
  });
}

void Member::claim() {
  propose({options_.self}, [this](bool won) {
    if (won) return become_primary();
    PERDURE_MARK("a restarted primary is too late");
    join();
  });
}

// ---------------------------------------------------------------------------------------------- following

void Member::join() {
  role_ = Role::joining;
  says_ = "looking for the primary";
  hooks_.following();
  connect();
}

void Member::connect_later() {
  if (std::exchange(retry_set_, true)) return;
  env_.after(options_.retry_interval, [this] {
    retry_set_ = false;
    connect();
  });
}

void Member::connect() {
  if (!may_follow() || connecting_ || loading_ || receiver_ != nullptr) return;
  // What came over an earlier channel must not land on what comes over this one.
  if (replica_.blocks().writing()) return connect_later();
  connecting_ = true;
  arbiter_.read([this](Result<Arbiter::Versioned> read) {
    // Meanwhile it may have decided to take over.
    if (!may_follow()) {
      connecting_ = false;
      return;
    }
    if (read) {
      learn(*read);
      role_ = configuration_.has(options_.self) ? Role::mirror : Role::joining;
      // The start before this one became the primary when nobody expected it any more.
      if (may_claim()) {
        PERDURE_MARK("a blade finds that its dead start is the primary");
        connecting_ = false;
        if (!loaded_) return begin();
        return end(
            error(ErrorKind::stopped, "this blade's last start is the primary, and has to be succeeded"));
      }
    } else if (version_ == 0) {
      connecting_ = false;
      return connect_later();
    }
    reach_peer();
  });
}

void Member::reach_peer() {
  connecting_ = true;
  connector_.connect([this](std::unique_ptr<Channel> channel) {
    connecting_ = false;
    if (!may_follow()) return;
    if (channel == nullptr) return connect_later();
    greet(std::move(channel));
  });
}

// Whatever the reason: nothing more comes over the channel.
void Member::channel_ended() {
  retire_receiver();
  // What of a copy is under way may still be written.
  if (copying_ && !loading_ && !loaded_)
    return end(error(ErrorKind::stopped, "the channel broke while all was being copied"));
  connect_later();
}

void Member::greet(std::unique_ptr<Channel> channel) {
  Receiver::Hooks hooks;
  hooks.welcomed = [this](const Welcome& welcome) { welcomed(welcome); };
  hooks.refused = [this](Refused::Why why) { refused(why); };
  hooks.broken = [this] { channel_ended(); };
  hooks.copied = [this](Lsn read_from) {
    PERDURE_MARK("a full copy has been made");
    loading_ = true;
    replica_.end_copy(read_from, [this](Result<void> ended) {
      if (role_ == Role::ended) return;
      if (!ended) return end(std::move(ended).error());
      loading_ = false;
      load_and_follow(nullptr);
    });
  };
  hooks.in_sync = [this] {
    role_ = Role::mirror;
    says_ = "mirror, in sync";
  };
  hooks.handed_over = [this] {
    if (role_ != Role::mirror || deciding_) return;
    PERDURE_MARK("a primary hands over");
    take_over();
  };
  hooks.left = [this](const ByteVector& legacy) { legacy_ = legacy; };
  hooks.failed = [this](Error error) { end(std::move(error)); };
  receiver_ = std::make_unique<Receiver>(env_, replica_, std::move(channel), options_.blocks_on_the_way,
                                         std::move(hooks));
  receiver_->set_fit(fit_);
  Hello hello;
  hello.from = options_.self;
  hello.loaded = loaded_;
  if (loaded_) hello.log_end = replica_.commit().closed_end();
  receiver_->hello(hello);
}

// It may be calling.
void Member::retire_receiver() {
  if (receiver_ == nullptr) return;
  welcomed_ = false;
  heard_ = heard();
  receiver_->retire();
  env_.post([gone = std::move(receiver_)] {});
}

void Member::welcomed(const Welcome& welcome) {
  if (welcome.version < protocol_version_min || welcome.version > protocol_version)
    return refused(Refused::Why::version);
  // As the constructor demands it of one blade.
  const auto lease_max = static_cast<uint64_t>(options_.takeover_after.count()) / 17 * 16;
  if (welcome.level != static_cast<uint8_t>(options_.level) || welcome.lease_ns > lease_max)
    return end(error(
        ErrorKind::invalid,
        "the primary has another durability level, or a lease that is longer than this blade's takeover time "
        "allows: both blades need the same configuration"));
  welcomed_ = true;
  history_ = welcome.history;
  if (welcome.primary != configuration_.primary) {  // one of the two is old
    retire_receiver();
    return connect_later();
  }
  if (loading_) return;
  if (!loaded_ && replica_.needs_copy()) {
    says_ = "copying all from the primary";
    copying_ = true;
    return receiver_->copy();
  }
  if (!loaded_) {
    const auto wanted = [history = welcome.history](const log::LogRing::BatchInfo& batch) {
      if (planted("what the new epoch does not have is not dropped")) return true;
      const bool keep = batch.end <= end_of_epoch(history, batch.epoch);
      if (!keep) PERDURE_MARK("a blade that comes back drops the end of its log");
      return keep;
    };
    return load_and_follow(wanted);
  }
  follow();
}

// Provided that this blade's log is a beginning of the primary's.
void Member::follow() {
  if (receiver_ == nullptr) return connect();
  const log::GroupCommit& commit = replica_.commit();
  const Epoch last = std::max(commit.epoch(), newest_epoch(replica_.history()));
  const Lsn common = end_of_epoch(history_, last);
  if (planted("what the new epoch does not have is not dropped")) return receiver_->follow();
  if (replica_.ring().tail() > common)
    return need_copy("this blade's checkpoint has what the primary does not have");
  if (commit.closed_end() > common)
    return end(
        error(ErrorKind::stopped, "this blade has log that the primary does not have, and must drop it"));
  says_ = "catching up";
  receiver_->follow();
}

void Member::need_copy(const std::string& why) {
  PERDURE_MARK("a blade needs a full copy");
  retire_receiver();
  says_ = "to be started anew, for a full copy";
  deciding_ = true;  // nothing else happens
  replica_.discard([this, why](Result<void> discarded) {
    if (!discarded) return end(std::move(discarded).error());
    end(error(ErrorKind::stopped, "{}: a full copy is to be made", why));
  });
}

void Member::load_and_follow(log::LogRing::Wanted wanted) {
  load(std::move(wanted), [this] { follow(); });
}

void Member::refused(Refused::Why why) {
  retire_receiver();
  switch (why) {
    case Refused::Why::not_primary:
      return connect_later();
    case Refused::Why::version:
      return end(
          error(ErrorKind::unsupported, "the peer's version of Perdure does not understand this one's"));
    case Refused::Why::log_gone:
      if (loading_) return;  // it will connect, and hear it again
      return need_copy("the primary's log no longer has what this blade lacks");
  }
}

env::Instant Member::heard() const {
  return std::max({began_, heard_, receiver_ != nullptr ? receiver_->heard() : env::Instant()});
}

// ---------------------------------------------------------------------------------------------- takeover

void Member::watch() {
  if (role_ == Role::ended) return;
  env_.after(watch_interval, [this] { watch(); });
  if (receiver_ != nullptr && env_.now() - receiver_->alive() >= 2 * options_.takeover_after) {
    channel_ended();
  }
  if (role_ != Role::mirror || deciding_ || env_.now() < not_before_) return;
  const bool early = planted("a mirror does not wait for the lease");
  if (env_.now() - heard() >= (early ? options_.takeover_after / 8 : options_.takeover_after)) take_over();
}

// From here on nothing is acknowledged until it is known who is the primary.
void Member::take_over() {
  PERDURE_MARK("a mirror tries to take over");
  deciding_ = true;
  says_ = "the primary is silent";
  retire_receiver();
  arbiter_.read([this](Result<Arbiter::Versioned> read) {
    if (role_ == Role::ended) return;
    if (read) {
      learn(*read);
      return decide();
    }
    // The primary may be well, and waits for this blade: it is given the time to be heard again, and the
    // arbiter, who does not answer, is not asked for it.
    PERDURE_MARK("a mirror cannot ask the arbiter, and follows on");
    deciding_ = false;
    not_before_ = env_.now() + 3 * options_.takeover_after;
    if (replica_.blocks().writing() || connecting_) return connect_later();
    reach_peer();
  });
}

void Member::decide() {
  if (planted("a takeover without compare-and-swap")) {
    configuration_ = {configuration_.epoch.next(), options_.self, {options_.self}};
    return become_primary();
  }
  if (!configuration_.has(options_.self)) {
    PERDURE_MARK("a mirror was left out before it could take over");
    deciding_ = false;
    return join();
  }
  // What this blade has acknowledged from memory is made stable before it goes on alone. And what is being
  // written to its blocks must not land on what it is about to write itself.
  if (replica_.commit().stable_end() < replica_.commit().closed_end() || replica_.blocks().writing()) {
    env_.after(std::chrono::milliseconds(1), [this] {
      if (role_ != Role::ended) decide();
    });
    return;
  }
  propose({options_.self}, [this](bool won) {
    if (won) return become_primary();
    decide();
  });
}

void Member::become_primary() {
  PERDURE_MARK("a start becomes the primary");
  deciding_ = false;
  role_ = Role::primary;
  says_ = "primary";
  retire_receiver();
  required_ = needs_lease_ = false;
  log::GroupCommit& commit = replica_.commit();
  commit.require({.ring = true, .mirror = false});
  commit.set_gate([this] { return answers(); });
  replica_.blocks().set_observer({.wrote =
                                      [this](BlockNo first, std::span<const PageRef> pages) {
                                        if (sender_ != nullptr) sender_->wrote(first, pages);
                                      },
                                  .full = [this] { return sender_ != nullptr && sender_->full(); }});
  replica_.serve(configuration_.epoch, [this](Result<void> served) {
    if (role_ == Role::ended) return;
    if (!served) return end(std::move(served).error());
    serving_ = true;
    replica_.set_elsewhere([this](BlockNo block, env::Done<PageRef> done) {
      if (sender_ != nullptr && sender_->following()) return sender_->ask_for(block, std::move(done));
      env_.post([done = std::move(done)]() mutable { done(error(ErrorKind::io, "there is no mirror")); });
    });
    hooks_.serving();
  });
}

bool Member::answers() const {
  if (role_ != Role::primary || (handing_over_ && !planted("a primary that hands over goes on answering")))
    return false;
  return !needs_lease_ || env_.now() < lease_until_ || planted("replies need no lease");
}

size_t Member::paths() const {
  if (receiver_ != nullptr) return receiver_->paths();
  return sender_ != nullptr ? sender_->paths() : 0;
}

// ---------------------------------------------------------------------------------------------- the primary

void Member::accept(std::unique_ptr<Channel> channel) {
  if (role_ == Role::ended) return;
  if (greeting_.size() >= greeting_max) greeting_.erase(greeting_.begin());
  Channel* c = channel.get();
  greeting_.push_back(std::move(channel));
  const auto forget = [this, c] {
    const auto it = std::ranges::find_if(greeting_, [&](const auto& g) { return g.get() == c; });
    if (it == greeting_.end()) return;
    env_.post([gone = std::move(*it)] {});
    greeting_.erase(it);
  };
  c->set_handler({.received =
                      [this, c, forget](Bytes bytes) {
                        const Result<Message> message = decode_message(bytes);
                        const Hello* said = message ? std::get_if<Hello>(&*message) : nullptr;
                        if (said == nullptr || said->from.blade != options_.peer) return forget();
                        const Hello copy = *said;
                        hello(*c, copy);
                      },
                  .closed = forget});
}

void Member::hello(Channel& from, const Hello& hello) {
  const auto refuse = [&](Refused::Why why) { from.send(encode_message(Refused{why})); };
  if (hello.version < protocol_version_min) return refuse(Refused::Why::version);
  if (role_ != Role::primary || !serving_) {
    refuse(Refused::Why::not_primary);
    if (deciding_ || proposing_) return;
    // The primary's blade has another start: the primary is dead, and needs what this one has in memory.
    const Start& primary = configuration_.primary;
    if (role_ == Role::mirror && primary.blade == options_.peer && primary != hello.from && hello.loaded)
      return take_over();
    if (role_ == Role::joining && loaded_ && hello.loaded && both_lost() && !configuration_.has(hello.from) &&
        !replica_.blocks().writing()) {
      const Lsn end = replica_.commit().closed_end();
      if (end > hello.log_end || (end == hello.log_end && primary.blade == options_.self.blade)) {
        PERDURE_MARK("both blades were lost: the longer log goes on");
        spdlog::warn(
            "both blades were lost at once, at durability level mirror: what was in memory alone is lost");
        retire_receiver();
        deciding_ = true;
        propose({options_.self}, [this](bool won) {
          if (won) return become_primary();
          deciding_ = false;
          join();
        });
      }
    }
    return;
  }
  const auto it = std::ranges::find_if(greeting_, [&](const auto& g) { return g.get() == &from; });
  std::unique_ptr<Channel> channel = std::move(*it);
  greeting_.erase(it);
  retire_sender();
  // What the one before had acknowledged says nothing of this one.
  if (required_ && configuration_.alone() && !proposing_) require(false);
  Sender::Hooks hooks;
  hooks.acked = [this] { acked(); };
  hooks.broken = [this] {
    retire_sender();
    settle();
  };
  hooks.hand_over_wanted = [this] { hooks_.hand_over_wanted(); };
  sender_ = std::make_unique<Sender>(env_, replica_, std::move(channel), hello.from,
                                     options_.blocks_on_the_way, std::move(hooks));
  sender_->welcome(Welcome{.primary = options_.self,
                           .history = replica_.history(),
                           .lease_ns = static_cast<uint64_t>(options_.lease.count()),
                           .level = static_cast<uint8_t>(options_.level),
                           .version = std::min(hello.version, protocol_version)});
  settle();
}

// It may be calling.
void Member::retire_sender() {
  if (sender_ == nullptr) return;
  sender_->retire();
  env_.post([this, gone = std::move(sender_)] { replica_.blocks().room(); });
}

void Member::acked() {
  const Ack& ack = sender_->ack();
  acked_ = env_.now();
  // Of one that is not in sync nothing counts while another one is, which must be dead.
  if (!configuration_.alone() && !configuration_.has(sender_->follower())) return settle();
  const env::Instant asked{env::Duration(ack.time)};
  if (planted("a lease runs from its acknowledgement")) lease_until_ = env_.now() + options_.lease;
  if (ack.time != 0) lease_until_ = std::max(lease_until_, asked + options_.lease);
  if (required_) {
    replica_.commit().mirrored(options_.level == Level::disk_and_mirror ? ack.stable : ack.received);
    replica_.mirror_applied(ack.applied);
  }
  settle();
}

// What durable means from now on. At level mirror this blade's own ring is not needed while the arbiter names
// a mirror; before and after that it is, so that whoever goes on alone has everything on stable storage.
void Member::require(bool mirror) {
  required_ = mirror;
  ring_required_ = !mirror || options_.level != Level::mirror || configuration_.alone();
  if (mirror && sender_ != nullptr) {
    const Ack& ack = sender_->ack();
    replica_.commit().mirrored(options_.level == Level::disk_and_mirror ? ack.stable : ack.received);
    replica_.mirror_applied(ack.applied);
  }
  if (!mirror) {
    needs_lease_ = false;
    replica_.mirror_applied(Lsn(UINT64_MAX));
  }
  if (planted("the mirror is not waited for")) return;
  replica_.commit().require({.ring = ring_required_, .mirror = mirror});
}

// Everything that may have been called durable is on this blade's stable storage.
bool Member::all_stable() {
  const log::GroupCommit& commit = replica_.commit();
  return commit.stable_end() + Lsn(log::batch_header_bytes) >= commit.durable();
}

bool Member::wants_to_hand_over() const {
  if (sender_ == nullptr) return false;
  const Ack& ack = sender_->ack();
  if (!fit_ && ack.fit) {
    PERDURE_MARK("a primary that clients cannot reach hands over");
    return true;
  }
  const log::GroupCommit& commit = replica_.commit();
  if (commit.write_age() > options_.stall_after && ack.stable > commit.stable_end()) {
    PERDURE_MARK("a primary whose log stands still hands over");
    return true;
  }
  return false;
}

// Brings about that who is in sync is who keeps up.
void Member::settle() {
  if (role_ != Role::primary || !serving_ || proposing_ || handing_over_) return;
  const env::Duration silence = env_.now() - acked_;
  if (!configuration_.alone()) {
    const bool replaced = sender_ != nullptr && !configuration_.has(sender_->follower());
    if (replaced || silence > options_.drop_after) return drop_mirror();
    if (wants_to_hand_over()) hooks_.hand_over_wanted();
    return;
  }
  if (sender_ != nullptr && sender_->silence() > follower_silence_max) {
    PERDURE_MARK("a follower that is not in sync is given up");
    retire_sender();
  }
  if (sender_ == nullptr || !sender_->following()) {
    if (required_) require(false);
    return;
  }
  if (required_ && silence > options_.drop_after) {
    retire_sender();
    return require(false);
  }
  const log::GroupCommit& commit = replica_.commit();
  const Lsn received = sender_->ack().received;
  if (!required_) {
    if (commit.closed_end() - received > Lsn(nearly_bytes)) return;
    // From now on nothing is durable that it does not have. What was durable before, it is to get first.
    joins_at_ = commit.closed_end();
    acked_ = env_.now();
    lease_until_ = env::Instant();
    require(true);
    sender_->beacon();
  }
  const bool has_all =
      options_.level == Level::disk_and_mirror ? sender_->ack().stable >= joins_at_ : received >= joins_at_;
  if ((has_all || planted("a mirror is in sync before it has everything")) && env_.now() < lease_until_)
    add_mirror();
}

void Member::add_mirror() {
  needs_lease_ = true;
  propose({options_.self, sender_->follower()}, [this](bool won) {
    if (!won) return end(error(ErrorKind::stopped, "another blade is the primary now"));
    PERDURE_MARK("a mirror is in sync");
    replica_.commit().set_epoch(configuration_.epoch);
    ring_required_ = options_.level != Level::mirror;
    if (!planted("the mirror is not waited for"))
      replica_.commit().require({.ring = ring_required_, .mirror = true});
    if (sender_ != nullptr && configuration_.has(sender_->follower())) {
      sender_->in_sync(configuration_.epoch);
      sender_->leave(legacy_);
    }
    spdlog::info("{} is in sync, epoch {}", options_.peer, configuration_.epoch);
  });
}

void Member::drop_mirror() {
  if (!ring_required_) {
    ring_required_ = true;
    replica_.commit().require({.ring = true, .mirror = true});
  }
  if (!all_stable()) return;  // settle() comes again
  PERDURE_MARK("a mirror is left out");
  propose({options_.self}, [this](bool won) {
    if (!won) return end(error(ErrorKind::stopped, "another blade is the primary now"));
    replica_.commit().set_epoch(configuration_.epoch);
    spdlog::warn("{} is no longer in sync, epoch {}: this blade goes on alone", options_.peer,
                 configuration_.epoch);
    // It may have come back meanwhile, and has to be told that it joins anew.
    retire_sender();
    require(false);
  });
}

// ------------------------------------------------------------------------------------------- handing over

Result<void> Member::hand_over() {
  if (!mirrored() || sender_ == nullptr || !configuration_.has(sender_->follower()) || handing_over_)
    return error(ErrorKind::invalid, "{} is not in sync, and cannot take over", options_.peer);
  if (fit_ && !sender_->ack().fit)
    return error(ErrorKind::invalid, "{} has, or had until a moment ago, no connection to the clients",
                 options_.peer);
  constexpr env::Duration patience = std::chrono::seconds(2);
  handing_over_ = true;
  says_ = "handing over";
  sender_->hand_over();
  await_successor(env_.now() + patience);
  return {};
}

// A start that ended before would be succeeded by one that finds this blade the primary, and claims.
void Member::await_successor(env::Instant until) {
  env_.after(watch_interval, [this, until] {
    arbiter_.read([this, until](Result<Arbiter::Versioned> read) {
      if (role_ == Role::ended) return;
      const bool succeeded = read && read->configuration.primary != options_.self;
      // What the two have in memory alone must not come to depend on the other one alone.
      if (!succeeded && (env_.now() < until || !all_stable())) return await_successor(until);
      end(error(ErrorKind::stopped, "{} {}", options_.peer,
                succeeded ? "has taken over, as it was asked to" : "did not take over in time"));
    });
  });
}

Result<void> Member::want_hand_over() {
  if (role_ != Role::mirror || receiver_ == nullptr)
    return error(ErrorKind::invalid, "this blade is not a mirror in sync");
  receiver_->want_hand_over();
  return {};
}

void Member::set_fit(bool fit) {
  fit_ = fit;
  if (receiver_ != nullptr) receiver_->set_fit(fit);
}

void Member::set_legacy(ByteVector legacy) {
  legacy_ = std::move(legacy);
  if (mirrored() && sender_ != nullptr && configuration_.has(sender_->follower())) sender_->leave(legacy_);
}

void Member::tick() {
  if (role_ == Role::ended) return;
  env_.after(options_.beacon_interval, [this] { tick(); });
  if (sender_ != nullptr && !handing_over_) sender_->beacon();
  settle();
}

void Member::end_turn() {
  if (receiver_ != nullptr) receiver_->end_turn();
  if (sender_ != nullptr) sender_->pump();
}

}  // namespace perdure::mirror
