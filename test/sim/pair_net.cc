#include "sim/pair_net.h"

#include "sim/blade.h"
#include "sim/world.h"

namespace perdure::sim {

using std::chrono::milliseconds;

class PairChannel final : public mirror::Channel {
 public:
  PairChannel(PairNet& net, PairNet::PipeRef pipe, size_t end)
      : net_(net), pipe_(std::move(pipe)), end_(end) {}
  ~PairChannel() override { net_.close(pipe_, end_); }

  void set_handler(Handler handler) override {
    PairNet::End& end = pipe_->ends[end_];
    end.handler = std::move(handler);
    for (ByteVector& message : std::exchange(end.early, {})) net_.arrive(pipe_, end_, std::move(message));
    if (end.lost) net_.tell_closed(pipe_, end_);
  }
  void send(Bytes message, std::vector<PageRef> pages) override {
    ByteVector whole(message.begin(), message.end());
    for (const PageRef& page : pages) whole.insert(whole.end(), page.bytes().begin(), page.bytes().end());
    net_.send(pipe_, end_, std::move(whole));
  }
  size_t unsent_bytes() const override { return pipe_->under_way[1 - end_]; }

 private:
  PairNet& net_;
  PairNet::PipeRef pipe_;
  const size_t end_;
};

class PairConnector final : public mirror::Connector {
 public:
  PairConnector(PairNet& net, size_t from, size_t path) : net_(net), from_(from), path_(path) {}
  void connect(std::move_only_function<void(std::unique_ptr<mirror::Channel>)> done) override {
    net_.connect(from_, path_, std::move(done));
  }

 private:
  PairNet& net_;
  const size_t from_, path_;
};

class PairArbiter final : public mirror::Arbiter {
 public:
  PairArbiter(PairNet& net, size_t blade) : net_(net), blade_(blade) {}

  void read(env::Done<Versioned> done) override {
    auto found = std::make_shared<Versioned>();
    net_.ask(
        blade_, [net = &net_, found] { *found = net->stored_; },
        [found, done = std::move(done)](bool answered) mutable {
          if (answered) return done(*found);
          done(error(ErrorKind::io, "no answer"));
        });
  }
  void replace(uint64_t version, const mirror::Configuration& next, env::Done<Replaced> done) override {
    auto result = std::make_shared<Replaced>();
    net_.ask(
        blade_,
        [net = &net_, version, next, result] {
          result->done = net->stored_.version == version;
          if (result->done) {
            net->world_.trace("the arbiter: epoch {}, primary {}, {} in sync", next.epoch, next.primary.blade,
                              next.in_sync.size());
            if (next.epoch != net->stored_.configuration.epoch.next())
              net->world_.fail("epoch {} follows epoch {}", next.epoch, net->stored_.configuration.epoch);
            net->stored_ = {next, version + 1};
          }
          result->now = net->stored_;
        },
        [result, done = std::move(done)](bool answered) mutable {
          if (answered) return done(*result);
          done(error(ErrorKind::io, "no answer"));
        });
  }

 private:
  PairNet& net_;
  const size_t blade_;
};

std::unique_ptr<mirror::Connector> PairNet::connector(size_t from, size_t path) {
  return std::make_unique<PairConnector>(*this, from, path);
}
std::unique_ptr<mirror::Arbiter> PairNet::arbiter(size_t blade) {
  return std::make_unique<PairArbiter>(*this, blade);
}

env::Duration PairNet::delay() {
  const Profile& p = world_.profile();
  return p.net_delay_min + world_.random().exponential(p.net_delay_mean);
}

// ----------------------------------------------------------------------------------------------- channels

void PairNet::connect(size_t from, size_t path,
                      std::move_only_function<void(std::unique_ptr<mirror::Channel>)> done) {
  const size_t to = 1 - from;
  const uint64_t life = world_.blade(from).starts();
  auto answer = [this, from, life, done = std::move(done)](std::unique_ptr<mirror::Channel> channel) mutable {
    Blade& blade = world_.blade(from);
    if (!blade.lives(life)) return;
    blade.post(
        [done = std::move(done), channel = std::move(channel)]() mutable { done(std::move(channel)); });
  };
  if (blocked_[path][from] || blocked_[path][to])
    return world_.after(milliseconds(200), [answer = std::move(answer)]() mutable { answer(nullptr); });
  world_.after(delay(), [this, from, to, path, life, answer = std::move(answer)]() mutable {
    Blade& peer = world_.blade(to);
    if (!peer.accepts() || !world_.blade(from).lives(life))
      return world_.after(delay(), [answer = std::move(answer)]() mutable { answer(nullptr); });
    auto pipe = std::make_shared<Pipe>();
    pipe->path = path;
    pipe->ends[0] = {.blade = from, .life = life, .handler = {}, .early = {}};
    pipe->ends[1] = {.blade = to, .life = peer.starts(), .handler = {}, .early = {}};
    pipes_.push_back(pipe);
    peer.accept(std::make_unique<PairChannel>(*this, pipe, 1));
    world_.after(delay(), [this, pipe, answer = std::move(answer)]() mutable {
      answer(std::make_unique<PairChannel>(*this, pipe, 0));
    });
  });
}

void PairNet::send(const PipeRef& pipe, size_t from, ByteVector message) {
  const size_t to = 1 - from;
  pipe->last[to] = std::max(pipe->last[to], world_.now() + delay());
  pipe->under_way[to] += message.size();
  world_.after(pipe->last[to] - world_.now(), [this, pipe, to, message = std::move(message)]() mutable {
    pipe->under_way[to] -= message.size();
    if (blocked(*pipe, to))
      pipe->waiting[to].push_back(std::move(message));
    else
      arrive(pipe, to, std::move(message));
  });
}

void PairNet::arrive(const PipeRef& pipe, size_t to, ByteVector message) {
  End& end = pipe->ends[to];
  if (!end.open || !world_.blade(end.blade).lives(end.life)) return;
  world_.blade(end.blade).post([this, pipe, to, message = std::move(message)]() mutable {
    if (!pipe->ends[to].open) return;
    const auto received = pipe->ends[to].handler.received;  // it may be exchanged meanwhile
    if (!received) return pipe->ends[to].early.push_back(std::move(message));
    received(message);
  });
}

// This end's process has closed it, and hears nothing more. What it has sent still arrives.
void PairNet::close(const PipeRef& pipe, size_t from) {
  if (!std::exchange(pipe->ends[from].open, false)) return;
  const size_t to = 1 - from;
  pipe->last[to] = std::max(pipe->last[to], world_.now() + delay());
  world_.after(pipe->last[to] - world_.now(), [this, pipe, to] { tell_closed(pipe, to); });
}

void PairNet::tell_closed(const PipeRef& pipe, size_t to) {
  End& end = pipe->ends[to];
  if (!end.open || !world_.blade(end.blade).lives(end.life)) return;
  if (blocked(*pipe, to)) {
    pipe->closing[to] = true;
    return;
  }
  world_.blade(end.blade).post([pipe, to] {
    End& there = pipe->ends[to];
    if (!there.open) return;
    there.lost = true;
    const auto closed = there.handler.closed;  // it may close the channel meanwhile
    if (!closed) return;
    there.open = false;
    closed();
  });
}

void PairNet::process_died(size_t blade, bool silently) {
  std::erase_if(pipes_, [](const auto& pipe) { return pipe.expired(); });
  for (const auto& weak : pipes_) {
    const PipeRef pipe = weak.lock();
    for (size_t end = 0; end < 2; ++end) {
      if (pipe->ends[end].blade != blade || !pipe->ends[end].open) continue;
      if (silently)
        pipe->ends[end].open = false;
      else
        close(pipe, end);
    }
  }
}

// Or others wait that come first.
bool PairNet::blocked(const Pipe& pipe, size_t to) const {
  return blocked_[pipe.path][pipe.ends[1 - to].blade] || !pipe.waiting[to].empty();
}

void PairNet::set_blocked(size_t from, size_t path, bool blocked) {
  if (blocked_[path][from] == blocked) return;
  world_.trace("what {} sends to its peer over path {} {}", world_.blade(from).name(), path,
               blocked ? "is blocked" : "arrives again");
  blocked_[path][from] = blocked;
  if (blocked) return;
  for (const auto& weak : pipes_) {
    const PipeRef pipe = weak.lock();
    if (pipe == nullptr || pipe->path != path) continue;
    for (size_t to = 0; to < 2; ++to) {
      if (pipe->ends[1 - to].blade != from) continue;
      for (ByteVector& message : std::exchange(pipe->waiting[to], {})) arrive(pipe, to, std::move(message));
      if (std::exchange(pipe->closing[to], false)) tell_closed(pipe, to);
    }
  }
}

void PairNet::cut_channels(size_t path) {
  world_.trace("the channels between the blades are cut, of path {}", path);
  for (const auto& weak : pipes_) {
    const PipeRef pipe = weak.lock();
    if (pipe == nullptr || pipe->path != path) continue;
    for (size_t end = 0; end < 2; ++end)
      world_.after(delay() * 3, [this, pipe, end] { tell_closed(pipe, end); });
  }
}

// ------------------------------------------------------------------------------------------------- faults

void PairNet::let_fail() {
  failing_ = true;
  fail_sometimes();
}

void PairNet::calm() {
  failing_ = false;
  for (size_t blade = 0; blade < 2; ++blade) {
    for (size_t path = 0; path < paths_max; ++path) set_blocked(blade, path, false);
    arbiter_blocked_[blade] = false;
  }
}

void PairNet::fail_sometimes() {
  const Profile& p = world_.profile();
  if (p.pair_fault_gap.count() == 0) return;
  Random& random = world_.random();
  world_.after(random.exponential(p.pair_fault_gap), [this, &p, &random] {
    if (!failing_) return;
    const env::Duration time = random.pick<env::Duration>(
        {milliseconds(5), milliseconds(150), milliseconds(500), std::chrono::seconds(3)});
    const env::Duration how_long = random.exponential(time);
    // One path of several, or all.
    std::vector<size_t> paths;
    const size_t first = random.below(p.pair_paths);
    const bool all = p.pair_paths == 1 || random.one_in(2);
    for (size_t path = all ? 0 : first; path < (all ? p.pair_paths : first + 1); ++path)
      paths.push_back(path);
    const auto silence = [&](size_t blade) {
      for (const size_t path : paths) {
        set_blocked(blade, path, true);
        world_.after(how_long, [this, blade, path] { set_blocked(blade, path, false); });
      }
    };
    const auto block_arbiter = [&](size_t blade) {
      world_.trace("{} cannot reach the arbiter", world_.blade(blade).name());
      arbiter_blocked_[blade] = true;
      world_.after(how_long, [this, blade] { arbiter_blocked_[blade] = false; });
    };
    // The primary has more to lose.
    const size_t primary = stored_.configuration.primary.blade == world_.blade(0).name() ? 0 : 1;
    const size_t one = random.one_in(2) ? primary : random.below(2);
    switch (random.below(11)) {
      case 0:
        for (const size_t path : paths) cut_channels(path);
        break;
      case 1:
        silence(one);
        break;
      case 2:
        silence(0), silence(1);
        break;
      case 3:
        block_arbiter(one);
        break;
      case 4:
        block_arbiter(0), block_arbiter(1);
        break;
      case 5:  // one is cut off from all but its clients
      case 6:
      case 7:
        silence(0), silence(1), block_arbiter(one);
        break;
      case 8:
        world_.blade(primary).hand_over();
        break;
      case 9:  // the clients cannot reach it
        world_.blade(one).set_fit(false);
        world_.after(how_long, [this, one] { world_.blade(one).set_fit(true); });
        break;
      default:
        world_.blade(one).pause(how_long);
        break;
    }
    fail_sometimes();
  });
}

// ------------------------------------------------------------------------------------------------ the
// arbiter

void PairNet::ask(size_t blade, std::move_only_function<void()> execute,
                  std::move_only_function<void(bool)> answer) {
  Random& random = world_.random();
  const uint64_t life = world_.blade(blade).starts();
  auto reply = [this, blade, life, answer = std::move(answer)](bool answered) mutable {
    if (!world_.blade(blade).lives(life)) return;
    world_.blade(blade).post([answer = std::move(answer), answered]() mutable { answer(answered); });
  };
  constexpr env::Duration patience = milliseconds(100);
  const bool unreachable = arbiter_blocked_[blade];
  if (unreachable && random.one_in(2))
    return world_.after(patience, [reply = std::move(reply)]() mutable { reply(false); });
  // It gets there, at some time.
  const bool answered = !unreachable && !(failing_ && random.one_in(50));
  const env::Duration there = answered ? delay() : random.exponential(milliseconds(300));
  world_.after(there, [execute = std::move(execute)]() mutable { execute(); });
  world_.after(answered ? there + delay() : patience,
               [reply = std::move(reply), answered]() mutable { reply(answered); });
}

}  // namespace perdure::sim
