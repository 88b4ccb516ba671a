#include "mirror/bundle.h"

#include <algorithm>
#include <cstring>
#include <deque>
#include <map>
#include <optional>

#include "base/check.h"
#include "base/mark.h"
#include "base/planted_bug.h"

namespace perdure::mirror {

namespace {

constexpr size_t paths_max = 16;
// After so many bytes the peer is told at once that they have come.
constexpr size_t taken_bytes = 256U << 10U;
// What may come before what lies between: all that a peer sends without an answer.
constexpr size_t early_bytes_max = 256U << 20U;
constexpr size_t early_overhead = 128;  // of each message
// What the peer has not said that it has taken: more than a sender sends to one that does not.
constexpr size_t kept_bytes_max = 1U << 30U;
// Channels of which nothing has come yet.
constexpr size_t strangers_max = 32;

enum class Frame : uint8_t { join = 0xb1, data = 0xb2, taken = 0xb3 };

constexpr size_t number_frame_bytes = 1 + sizeof(uint64_t);
constexpr size_t join_frame_bytes = 3 + sizeof(uint64_t);
static_assert(number_frame_bytes <= frame_bytes_max);

// data (the message follows) and taken.
ByteVector encode(Frame frame, uint64_t number) {
  ByteVector bytes(number_frame_bytes);
  bytes[0] = static_cast<std::byte>(frame);
  std::memcpy(&bytes[1], &number, sizeof number);
  return bytes;
}

struct Join {
  bool first = false;
  uint8_t path = 0;
  uint64_t bundle = 0;
};

ByteVector encode(const Join& join) {
  ByteVector bytes(join_frame_bytes);
  bytes[0] = static_cast<std::byte>(Frame::join);
  bytes[1] = static_cast<std::byte>(join.first);
  bytes[2] = static_cast<std::byte>(join.path);
  std::memcpy(&bytes[3], &join.bundle, sizeof join.bundle);
  return bytes;
}

std::optional<Join> decode_join(Bytes bytes) {
  if (bytes.size() != join_frame_bytes || bytes[0] != static_cast<std::byte>(Frame::join)) return {};
  Join join{.first = bytes[1] != std::byte{0}, .path = static_cast<uint8_t>(bytes[2])};
  std::memcpy(&join.bundle, &bytes[3], sizeof join.bundle);
  if (join.path >= paths_max) return {};
  return join;
}

}  // namespace

// Lives as long as the channel that is given out, and what is being called.
class BundleCore : public std::enable_shared_from_this<BundleCore> {
 public:
  // `answered`: set when anything comes.
  BundleCore(env::Env& env, const BundleOptions& options, uint64_t id, std::shared_ptr<bool> answered)
      : env_(env), options_(options), id_(id), answered_(std::move(answered)), last_beat_(env.now()) {}

  uint64_t id() const { return id_; }
  bool closed() const { return closed_; }
  bool has(size_t path) const { return path < paths_.size() && paths_[path].channel != nullptr; }

  void begin() {
    timer_ = env_.after(options_.beat_interval, [weak = weak_from_this()] {
      if (const auto self = weak.lock()) self->beat();
    });
  }

  // Called by the owner's end: nothing is called any more.
  void close() {
    if (std::exchange(closed_, true)) return;
    env_.cancel(timer_);
    handler_ = nullptr;
    kept_.clear();
    early_.clear();
    drop_paths();
  }

  void set_handler(Channel::Handler handler) {
    handler_ = std::make_shared<Channel::Handler>(std::move(handler));
    if (early_.empty() && !failed_) return;
    env_.post([weak = weak_from_this()] {
      const auto self = weak.lock();
      if (self == nullptr || self->closed_) return;
      self->deliver_early();
      if (self->failed_) self->tell_closed();
    });
  }

  // Instead of the one that was there: of its end the peer knows more.
  void add(size_t number, std::unique_ptr<Channel> channel) {
    if (closed_ || failed_) return;
    if (paths_.size() <= number) paths_.resize(number + 1);
    Path& path = paths_[number];
    const std::unique_ptr<Channel> before = std::exchange(path.channel, std::move(channel));
    if (before != nullptr) send_again(number);
    path.heard = env_.now();
    ++path.generation;
    path.channel->set_handler(
        {.received =
             [weak = weak_from_this(), number, generation = path.generation](Bytes bytes) {
               if (const auto self = weak.lock(); self != nullptr && self->is(number, generation))
                 self->received(number, bytes);
             },
         .closed =
             [weak = weak_from_this(), number, generation = path.generation] {
               if (const auto self = weak.lock(); self != nullptr && self->is(number, generation))
                 self->lose(number);
             }});
  }
  void join(size_t path, std::unique_ptr<Channel> channel) {
    channel->send(encode(Join{.first = !*answered_, .path = static_cast<uint8_t>(path), .bundle = id_}));
    add(path, std::move(channel));
  }

  void send(Bytes message, std::vector<PageRef> pages) {
    if (closed_ || failed_) return;
    Kept kept{.head = encode(Frame::data, first_kept_ + kept_.size()), .pages = std::move(pages)};
    kept.head.insert(kept.head.end(), message.begin(), message.end());
    kept_bytes_ += kept.bytes();
    kept_.push_back(std::move(kept));
    send(kept_.back());
    if (kept_bytes_ <= kept_bytes_max) return;
    env_.post([weak = weak_from_this()] {  // a peer that takes everything, and does not say so
      if (const auto self = weak.lock(); self != nullptr && !self->closed_) self->fail();
    });
  }

  size_t unsent_bytes() const {
    size_t bytes = 0;
    for (const Path& path : paths_)
      if (path.channel != nullptr) bytes += path.channel->unsent_bytes();
    return bytes;
  }
  size_t paths() const {
    return static_cast<size_t>(
        std::ranges::count_if(paths_, [](const Path& p) { return p.channel != nullptr; }));
  }

 private:
  struct Path {
    std::unique_ptr<Channel> channel;  // null: it is not there
    env::Instant heard;
    uint64_t generation = 0;
  };
  // A message that the peer may not have.
  struct Kept {
    ByteVector head;  // and its number
    std::vector<PageRef> pages;
    size_t path = 0;  // over which it went last
    size_t bytes() const { return head.size() + pages.size() * block_bytes; }
  };

  bool is(size_t number, uint64_t generation) const {
    return !closed_ && has(number) && paths_[number].generation == generation;
  }

  // ---- sending

  void send(Kept& kept) {
    const std::optional<size_t> best = best_path();
    CHECK(best);
    kept.path = *best;
    paths_[*best].channel->send(kept.head, kept.pages);
  }
  std::optional<size_t> best_path() const {
    std::optional<size_t> best;
    size_t least = 0;
    for (size_t i = 0; i < paths_.size(); ++i) {
      if (!has(i)) continue;
      const size_t unsent = paths_[i].channel->unsent_bytes();
      if (unsent < options_.busy_bytes) return i;
      if (best && unsent >= least) continue;
      best = i, least = unsent;
    }
    return best;
  }

  void lose(size_t number);
  void send_again(size_t number);
  void beat();
  void drop_paths() {
    for (Path& path : paths_)
      if (path.channel != nullptr) env_.post([gone = std::move(path.channel)] {});
  }
  void fail() {
    failed_ = true;
    tell_closed();
  }
  void tell_closed() {
    if (handler_ == nullptr) return;  // as soon as there is one
    const std::shared_ptr<Channel::Handler> last = handler_;
    close();
    last->closed();
  }

  // ---- receiving

  void received(size_t number, Bytes bytes) {
    const auto self = shared_from_this();
    paths_[number].heard = env_.now();
    *answered_ = true;
    uint64_t n = 0;
    if (bytes.size() < number_frame_bytes) return lose(number);
    std::memcpy(&n, &bytes[1], sizeof n);
    if (bytes[0] == static_cast<std::byte>(Frame::taken) && bytes.size() == number_frame_bytes &&
        n <= first_kept_ + kept_.size()) {
      for (; first_kept_ < n; ++first_kept_) {
        kept_bytes_ -= kept_.front().bytes();
        kept_.pop_front();
      }
    } else if (bytes[0] == static_cast<std::byte>(Frame::data) && bytes.size() > number_frame_bytes) {
      take(number, n, bytes.subspan(number_frame_bytes));
    } else {
      lose(number);
    }
  }

  void take(size_t path, uint64_t number, Bytes message);
  void deliver(Bytes message) {
    const std::shared_ptr<Channel::Handler> now = handler_;  // it may be exchanged by the call
    now->received(message);
  }
  void deliver_early() {
    while (!closed_ && handler_ != nullptr && !early_.empty() && early_.begin()->first == expected_) {
      const ByteVector message = std::move(early_.begin()->second);
      early_.erase(early_.begin());
      early_bytes_ -= message.size() + early_overhead;
      ++expected_;
      deliver(message);
    }
  }
  // Over all paths: a beat. Otherwise over the best one.
  void tell_taken(bool over_all) {
    untold_bytes_ = 0;
    const ByteVector taken = encode(Frame::taken, expected_);
    if (const auto best = best_path(); best && !over_all) paths_[*best].channel->send(taken);
    for (size_t i = 0; i < paths_.size() && over_all; ++i)
      if (has(i)) paths_[i].channel->send(taken);
  }

  env::Env& env_;
  const BundleOptions options_;
  const uint64_t id_;
  std::shared_ptr<Channel::Handler> handler_;
  std::vector<Path> paths_;
  std::deque<Kept> kept_;  // the first one has the number first_kept_
  uint64_t first_kept_ = 0;
  size_t kept_bytes_ = 0;
  std::map<uint64_t, ByteVector> early_;
  size_t early_bytes_ = 0;
  uint64_t expected_ = 0;    // the number of the message that is to be given out next
  size_t untold_bytes_ = 0;  // have come, and the peer was not told
  const std::shared_ptr<bool> answered_;
  bool failed_ = false;  // no path is left
  bool closed_ = false;
  env::Instant last_beat_;
  env::TimerId timer_{};
};

// It may be calling.
void BundleCore::lose(size_t number) {
  const auto self = shared_from_this();
  env_.post([gone = std::move(paths_[number].channel)] {});
  if (paths() == 0) return fail();
  send_again(number);
}

// What went over this path, and the peer may not have.
void BundleCore::send_again(size_t number) {
  for (Kept& kept : kept_) {
    if (kept.path != number) continue;
    PERDURE_MARK("a message goes once more, over another path between the blades");
    send(kept);
  }
}

void BundleCore::beat() {
  // If this blade stood still itself, it knows nothing of who is silent.
  const env::Instant now = env_.now();
  const bool awake = now - last_beat_ < 2 * options_.beat_interval;
  last_beat_ = now;
  env::Instant newest;
  for (const Path& path : paths_)
    if (path.channel != nullptr) newest = std::max(newest, path.heard);
  for (size_t i = 0; i < paths_.size() && awake && !closed_; ++i) {
    if (!has(i) || newest - paths_[i].heard <= options_.silence_max) continue;
    PERDURE_MARK("a path between the blades is silent, and another one is not");
    lose(i);
  }
  if (closed_ || failed_) return;
  tell_taken(true);
  begin();
}

void BundleCore::take(size_t path, uint64_t number, Bytes message) {
  untold_bytes_ += message.size();
  if (planted("messages of several paths are taken as they come") && handler_ != nullptr) {
    deliver(message);
  } else if (number < expected_ || early_.contains(number)) {
    PERDURE_MARK("a message came over two paths between the blades");
  } else if (number == expected_ && handler_ != nullptr && early_.empty()) {
    ++expected_;
    deliver(message);
  } else if (early_bytes_ + message.size() > early_bytes_max) {
    return lose(path);
  } else {
    early_bytes_ += message.size() + early_overhead;
    early_.emplace(number, ByteVector(message.begin(), message.end()));
    deliver_early();
  }
  if (!closed_ && !failed_ && untold_bytes_ >= taken_bytes) tell_taken(false);
}

namespace {

class Bundle final : public Channel {
 public:
  explicit Bundle(std::shared_ptr<BundleCore> core) : core_(std::move(core)) {}
  ~Bundle() override { core_->close(); }
  void set_handler(Handler handler) override { core_->set_handler(std::move(handler)); }
  void send(Bytes message, std::vector<PageRef> pages) override { core_->send(message, std::move(pages)); }
  size_t unsent_bytes() const override { return core_->unsent_bytes(); }
  size_t paths() const override { return core_->paths(); }

 private:
  const std::shared_ptr<BundleCore> core_;
};

// A channel of which the first message has come already.
class BegunChannel final : public Channel {
 public:
  BegunChannel(env::Env& env, std::unique_ptr<Channel> channel, Bytes first)
      : env_(env), state_(std::make_shared<State>()), channel_(std::move(channel)) {
    state_->early.emplace_back(first.begin(), first.end());
    channel_->set_handler({.received = [state = state_](Bytes bytes) { state->received(bytes); },
                           .closed = [state = state_] { state->close(); }});
  }
  ~BegunChannel() override { state_->handler = nullptr, state_->gone = true; }

  void set_handler(Handler handler) override {
    state_->handler = std::make_shared<Handler>(std::move(handler));
    env_.post([state = state_] { state->deliver(); });
  }
  void send(Bytes message, std::vector<PageRef> pages) override { channel_->send(message, std::move(pages)); }
  size_t unsent_bytes() const override { return channel_->unsent_bytes(); }

 private:
  struct State {
    void received(Bytes bytes) {
      if (gone) return;
      if (handler == nullptr || !early.empty()) {
        early.emplace_back(bytes.begin(), bytes.end());
        return deliver();
      }
      const std::shared_ptr<Handler> now = handler;
      now->received(bytes);
    }
    void close() {
      closed = true;
      deliver();
    }
    void deliver() {
      while (!gone && handler != nullptr && !early.empty()) {
        const ByteVector message = std::move(early.front());
        early.pop_front();
        const std::shared_ptr<Handler> now = handler;
        now->received(message);
      }
      if (gone || handler == nullptr || !closed) return;
      const std::shared_ptr<Handler> last = std::exchange(handler, nullptr);
      last->closed();
    }
    std::shared_ptr<Handler> handler;
    std::deque<ByteVector> early;
    bool closed = false, gone = false;
  };
  env::Env& env_;
  const std::shared_ptr<State> state_;
  const std::unique_ptr<Channel> channel_;
};

}  // namespace

// ----------------------------------------------------------------------------------------------- connecting

BundleConnector::BundleConnector(env::Env& env, std::vector<std::unique_ptr<Connector>> paths,
                                 BundleOptions options)
    : env_(env), options_(options) {
  CHECK(!paths.empty() && paths.size() <= paths_max);
  for (auto& connector : paths) paths_.push_back({.connector = std::move(connector)});
  retry();
}

BundleConnector::~BundleConnector() {
  env_.cancel(timer_);
}

void BundleConnector::connect(std::move_only_function<void(std::unique_ptr<Channel>)> done) {
  CHECK(done_ == nullptr);
  done_ = std::move(done);
  plain_ = answered_ != nullptr && !*answered_;
  core_.reset();
  answered_.reset();
  for (Path& path : paths_) path.failed = false;
  attempt_missing();
}

void BundleConnector::attempt_missing() {
  const auto core = core_.lock();
  if (done_ == nullptr && (core == nullptr || core->closed())) return;
  for (size_t i = 0; i < paths_.size(); ++i) {
    if (paths_[i].connecting || (core != nullptr && core->has(i))) continue;
    paths_[i].connecting = true;
    paths_[i].connector->connect(
        [this, i](std::unique_ptr<Channel> channel) { attempted(i, std::move(channel)); });
  }
}

void BundleConnector::attempted(size_t path, std::unique_ptr<Channel> channel) {
  paths_[path].connecting = false;
  if (channel == nullptr) {
    paths_[path].failed = true;
    if (done_ != nullptr && std::ranges::all_of(paths_, &Path::failed))
      std::exchange(done_, nullptr)(nullptr);
    return;
  }
  if (done_ == nullptr) {
    if (const auto core = core_.lock(); core != nullptr && !core->closed())
      core->join(path, std::move(channel));
    return;
  }
  if (plain_) {
    PERDURE_MARK("a peer that does not know of bundles gets one path");
    return std::exchange(done_, nullptr)(std::move(channel));
  }
  answered_ = std::make_shared<bool>(false);
  auto core = std::make_shared<BundleCore>(env_, options_, env_.random(), answered_);
  core_ = core;
  core->begin();
  core->join(path, std::move(channel));
  std::exchange(done_, nullptr)(std::make_unique<Bundle>(std::move(core)));
}

void BundleConnector::retry() {
  attempt_missing();
  timer_ = env_.after(options_.retry_interval, [this] { retry(); });
}

std::unique_ptr<Connector> connector_over(env::Env& env, std::vector<std::unique_ptr<Connector>> paths,
                                          BundleOptions options) {
  if (paths.size() == 1) return std::move(paths.front());
  return std::make_unique<BundleConnector>(env, std::move(paths), options);
}

// ------------------------------------------------------------------------------------------------ accepting

struct BundleAcceptor::State : std::enable_shared_from_this<State> {
  State(env::Env& e, Accepted a, BundleOptions o) : env(e), accepted(std::move(a)), options(o) {}

  std::unique_ptr<Channel> take(Channel* stranger) {
    const auto it =
        std::ranges::find_if(strangers, [stranger](const auto& c) { return c.get() == stranger; });
    if (it == strangers.end()) return nullptr;
    std::unique_ptr<Channel> channel = std::move(*it);
    strangers.erase(it);
    return channel;
  }
  void first_message(Channel* stranger, Bytes message) {
    std::unique_ptr<Channel> channel = take(stranger);
    if (channel == nullptr) return;
    const std::optional<Join> join = decode_join(message);
    if (!join) return accepted(std::make_unique<BegunChannel>(env, std::move(channel), message));
    const auto self = shared_from_this();
    if (const auto core = newest.lock(); core != nullptr && !core->closed() && core->id() == join->bundle)
      return core->add(join->path, std::move(channel));
    if (!join->first) {  // of a bundle that is not here any more, or not yet
      env.post([gone = std::move(channel)] {});
      return;
    }
    auto core = std::make_shared<BundleCore>(env, options, join->bundle, std::make_shared<bool>(false));
    newest = core;
    core->begin();
    core->add(join->path, std::move(channel));
    accepted(std::make_unique<Bundle>(std::move(core)));
  }
  void forget(Channel* stranger) {
    if (auto channel = take(stranger)) env.post([gone = std::move(channel)] {});
  }

  env::Env& env;
  const Accepted accepted;
  const BundleOptions options;
  std::deque<std::unique_ptr<Channel>> strangers;
  std::weak_ptr<BundleCore> newest;
};

BundleAcceptor::BundleAcceptor(env::Env& env, Accepted accepted, BundleOptions options)
    : state_(std::make_shared<State>(env, std::move(accepted), options)) {}

BundleAcceptor::~BundleAcceptor() {
  state_->strangers.clear();
}

void BundleAcceptor::accept(std::unique_ptr<Channel> channel) {
  if (state_->strangers.size() >= strangers_max) state_->strangers.pop_front();
  Channel* stranger = channel.get();
  state_->strangers.push_back(std::move(channel));
  stranger->set_handler({.received =
                             [weak = std::weak_ptr(state_), stranger](Bytes message) {
                               if (const auto state = weak.lock()) state->first_message(stranger, message);
                             },
                         .closed =
                             [weak = std::weak_ptr(state_), stranger] {
                               if (const auto state = weak.lock()) state->forget(stranger);
                             }});
}

}  // namespace perdure::mirror
