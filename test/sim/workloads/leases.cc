// Leases. Mortal clients hold opens that deny and locks, and die with them, sometimes in the midst of a
// request, sometimes with a connection that stays for long; then they come back as a new incarnation, sooner
// or later. Sleepers are silent, for less than their lease or for more, and go on then. Survivors want the
// same things, hold them for as long as they like, and give them back; they renew their lease in time.
//
// Judged (held.h): what a client holds nobody gets before one lease time has passed since it asked for what
// was answered to it last, unless it comes back as another incarnation. When the lease time has passed,
// counted from its death or the server's last start, and the time that things take here, it is no reason to
// refuse anybody anything; nor is it at once when the new incarnation has its session. Who does not let his
// lease pass loses nothing; a sleeper that did has lost everything or nothing.
#include <array>
#include <deque>
#include <set>

#include "sim/blade.h"
#include "sim/held.h"
#include "sim/workload.h"

namespace perdure::sim {
namespace {

using Share = Call::Share;
using std::chrono::milliseconds;
using std::chrono::seconds;

// What is to be had: some locks of one file, and some files that one client at a time can have open.
constexpr uint64_t locks = 3, doors = 2, thing_count = locks + doors;

struct Possession {
  const Client* client = nullptr;
  uint64_t thing = 0;
  env::Instant silent_since = env::Instant::max();  // it has died, or sleeps
  bool conflicts(const Possession& other) const { return thing == other.thing && client != other.client; }
  std::string words() const {
    return fmt::format("{} {} of {}", thing < locks ? "lock" : "open", thing, client->name());
  }
};

class LeasesWorkload final : public Workload {
 public:
  explicit LeasesWorkload(World& world) : Workload(world, "leases"), held_(world) {}

  Task<> setup() override {
    const uint64_t count = random().between(1, 2);
    for (uint64_t i = 0; i < count; ++i) {
      survivors_.push_back(&add_client({.slots = 2, .renew_percent = random().one_in(2) ? 80U : 40U}));
      co_await survivors_.back()->start();
      if (world_.failed()) co_return;
    }
    Slot& slot = survivors_[0]->slot(0);
    const std::string name = "leases", owner = "setup";
    root_ = co_await make_directory(slot, survivors_[0]->root(), name);
    for (uint64_t i = 0; i <= doors; ++i) {
      const std::string file = fmt::format("{}", i);
      const OpenFile made = co_await create_file(slot, root_, file, owner);
      co_await close_file(slot, made);
    }
  }

  void start() override {
    end_ = world_.now() + lease() * static_cast<int64_t>(random().between(2, 5));
    for (Client* client : survivors_)
      for (size_t i = 0; i < client->slots(); ++i) spawn(survive(client->slot(i)));
    const uint64_t mortals = random().between(1, 3);
    for (uint64_t i = 0; i < mortals; ++i) spawn(be_mortal(i));
    if (random().one_in(2)) spawn(be_sleeper());
  }

  Task<> check() override {
    // Whatever is left of the dead ends after its time.
    Life& life = lives_.emplace_back(Life{.slot = &survivors_[0]->slot(0), .things = {}, .told = {}});
    for (uint64_t number = 0; number < thing_count; ++number) {
      for (bool got = false; !got && !world_.failed();) {
        got = co_await get(life, number);
        if (!got) co_await life.client().sleep(seconds(1));
      }
      if (!world_.failed()) co_await give_back(life, number);
    }
  }

 private:
  struct Thing {
    bool held = false;
    size_t hold = 0;
    OpenFile open;
    Stateid lock;
  };
  // One life of a client, or what a slot of a survivor does.
  struct Life {
    Slot* slot = nullptr;
    std::array<Thing, thing_count> things;
    env::Instant told;  // when what was answered last was asked for
    bool started = false, ended = false;
    Client& client() const { return slot->client(); }
  };

  env::Duration lease() const { return seconds(world_.profile().lease_seconds); }
  // How long the end of a lease may take, here: the server looks every second, late copies of requests renew
  // it, and disks may be slow.
  env::Duration some_time(env::Duration mean) { return random().exponential(mean); }

  Task<Reply*> ask(Life& life) {
    const env::Instant asked = world_.now();
    Reply& reply = co_await life.slot->ask();
    life.told = asked;
    co_return &reply;
  }

  // ---- things

  static bool is_lock(uint64_t thing) { return thing < locks; }
  static uint64_t file_number(uint64_t thing) { return is_lock(thing) ? doors : thing - locks; }

  Task<bool> get(Life& life, uint64_t number) {
    Thing& thing = life.things[number];
    Slot& slot = *life.slot;
    const std::string owner = fmt::format("owner of {}", number);
    const std::string name = fmt::format("{}", file_number(number));
    constexpr Stateid current{.seqid = 1, .other = {}};  // RFC 8881 §16.2.3.1.2
    const Share share{bench::share_access_both, is_lock(number) ? 0 : bench::share_access_both};
    const env::Instant asked = world_.now();
    const size_t hold = held_.ask({&life.client(), number});
    Call& call = slot.begin().putfh(root_).open({life.client().id(), owner}, share, name).getfh();
    if (is_lock(number))
      call.lock_new(current, {life.client().id(), owner}, bench::LockType::WRITE_LT, number * 10, 10);
    Reply& reply = *co_await ask(life);
    bench::ChangeInfo info;
    const bool opened =
        reply.putfh() && reply.open(thing.open.stateid, info) && reply.getfh(thing.open.handle);
    thing.held = opened && (!is_lock(number) || reply.lock(thing.lock));
    if (thing.held) {
      thing.hold = hold;
      held_.granted(hold);
      world_.trace("{}: got it", held_[hold].what.words());
      co_return true;
    }
    judge_refusal(reply.error(), is_lock(number), hold, asked);
    if (opened) co_await close_file(slot, thing.open);
    co_return false;
  }

  void judge_refusal(NfsStatus status, bool is_lock, size_t hold, env::Instant asked) {
    const NfsStatus refusal = is_lock ? NfsStatus::NFS4ERR_DENIED : NfsStatus::NFS4ERR_SHARE_DENIED;
    const std::string words = held_[hold].what.words();
    if (status != refusal) return fail("{}: {}", words, bench::status_name(status));
    // No lease ends while a pair does not know who its primary is.
    const env::Duration doubt = seconds(world_.profile().pair ? 60 : 0);
    const env::Duration time = lease() + patience() + doubt;
    const auto excuses = [&](const Possession& other) {
      return other.silent_since == env::Instant::max() ||
             asked <= std::max(other.silent_since, world_.blade().serving_since()) + time;
    };
    if (held_.denied(hold, excuses) == nullptr) fail("{} is refused, and nobody can have it", words);
  }

  Task<> give_back(Life& life, uint64_t number) {
    Thing& thing = life.things[number];
    held_.releasing(thing.hold);
    thing.held = false;
    Call& call = life.slot->begin().putfh(thing.open.handle);
    if (is_lock(number)) call.locku(thing.lock, number * 10, 10);
    call.close(thing.open.stateid);
    Reply& reply = *co_await ask(life);
    Stateid stateid;
    if (!(reply.putfh() && (!is_lock(number) || reply.locku(stateid)) && reply.close()))
      co_return fail("{} is lost: {}", held_[thing.hold].what.words(), bench::status_name(reply.error()));
    held_.released(thing.hold);
  }

  Task<> use(Life& life, uint64_t number) {
    Thing& thing = life.things[number];
    const Stateid stateid = is_lock(number) ? thing.lock : thing.open.stateid;
    life.slot->begin().putfh(thing.open.handle).read(stateid, 0, 8);
    Reply& reply = *co_await ask(life);
    Bytes data;
    bool eof = false;
    if (!(reply.putfh() && reply.read(data, eof)))
      fail("{} is lost: {}", held_[thing.hold].what.words(), bench::status_name(reply.error()));
  }

  Task<> do_something(Life& life) {
    const uint64_t number = random().below(thing_count);
    if (!life.things[number].held)
      co_await get(life, number);
    else if (random().one_in(3))
      co_await give_back(life, number);
    else
      co_await use(life, number);
  }

  // ---- survivors

  Task<> survive(Slot& slot) {
    Client& client = slot.client();
    Life& life = lives_.emplace_back(Life{.slot = &slot, .things = {}, .told = {}});
    while (world_.now() < end_ && !world_.failed()) {
      // The slots of a client do not compete: what one has the other does not ask for.
      const uint64_t number = random().below(thing_count);
      const std::pair<const Client*, uint64_t> mine(&client, number);
      if (taken_.insert(mine).second) {
        const bool got = co_await get(life, number);
        if (got) {
          co_await client.sleep(some_time(random().one_in(4) ? lease() : milliseconds(500)));
          co_await use(life, number);
          if (!world_.failed()) co_await give_back(life, number);
        }
        taken_.erase(mine);
      }
      co_await client.sleep(some_time(milliseconds(500)));
    }
  }

  // ---- mortals

  // Lives of one client, one after another. Each is a task that is never resumed after its end.
  Task<> be_mortal(uint64_t number) {
    const std::string name = fmt::format("mortal {}", number);
    Client& clock = *survivors_[0];
    Client* before = nullptr;  // the last one that may hold anything
    while (world_.now() < end_ && !world_.failed()) {
      Client& client = add_client({.slots = 1}, name);
      Life& life = lives_.emplace_back(Life{.slot = &client.slot(0), .things = {}, .told = {}});
      living_.spawn(live(life, before));
      co_await clock.sleep(some_time(random().one_in(4) ? milliseconds(20) : milliseconds(4000)));
      client.die(random().one_in(2) ? env::Duration(0) : some_time(lease()));
      world_.trace("{} dies", name);
      be_silent(life);
      if (life.started) before = &client;
      co_await clock.sleep(random().one_in(2) ? lease() + some_time(seconds(10)) : some_time(seconds(2)));
    }
  }

  Task<> live(Life& life, Client* before) {
    Client& client = life.client();
    if (before != nullptr) surely_no_more(*before);
    co_await client.start();
    life.started = true;
    if (before != nullptr) gone(*before);
    while (!client.stopped() && !world_.failed()) {
      co_await do_something(life);
      co_await client.sleep(some_time(milliseconds(200)));
    }
  }

  // From now on it asks for nothing. Until its lease ends what it holds is its own.
  void be_silent(const Life& life) {
    for (auto& hold : held_.all())
      if (hold.what.client == &life.client()) hold.what.silent_since = world_.now();
    const auto end = [this, &life] {
      if (world_.now() - life.told >= lease()) surely_no_more(life.client());
    };
    const env::Instant until = life.told + lease();
    if (until <= world_.now()) return end();
    world_.after(until - world_.now(), end);
  }
  void surely_no_more(const Client& client) {
    for (size_t i = 0; i < held_.all().size(); ++i)
      if (held_[i].what.client == &client && held_[i].surely()) held_.releasing(i);
  }
  void gone(const Client& client) {
    surely_no_more(client);
    for (size_t i = 0; i < held_.all().size(); ++i)
      if (held_[i].what.client == &client && held_[i].maybe()) held_.released(i);
  }

  // ---- sleepers

  Task<> be_sleeper() {
    Client& clock = *survivors_[0];
    while (world_.now() < end_ && !world_.failed()) {
      const Client::Options options{.slots = 1, .renew_percent = 0, .may_expire = true};
      Client& client = add_client(options, "sleeper");
      Life& life = lives_.emplace_back(Life{.slot = &client.slot(0), .things = {}, .told = {}});
      living_.spawn(sleep_and_wake(life));
      while (!life.ended && !client.stopped() && !world_.failed()) co_await clock.sleep(milliseconds(50));
      if (!life.ended) {
        world_.trace("the sleeper has lost its session");
        if (!life.started || world_.now() - life.told <= lease())
          fail("a client loses its session, and was silent for {} ms",
               (world_.now() - life.told) / milliseconds(1));
      }
      gone(client);
      client.die();
    }
  }

  Task<> sleep_and_wake(Life& life) {
    Client& client = life.client();
    co_await client.start();
    life.started = true;
    while (world_.now() < end_ && !world_.failed()) {
      const uint64_t requests = random().between(1, 6);
      for (uint64_t i = 0; i < requests && !world_.failed(); ++i) co_await do_something(life);
      be_silent(life);
      const bool too_long = random().one_in(2);
      const uint64_t percent = too_long ? random().between(95, 250) : random().between(1, 75);
      co_await client.sleep(lease() * static_cast<int64_t>(percent) / 100);
      co_await wake(life);
    }
    for (uint64_t number = 0; number < thing_count && !world_.failed(); ++number)
      if (life.things[number].held) co_await give_back(life, number);
    life.ended = true;
  }

  // It is answered: then it has lost nothing, and nobody has had what it holds.
  Task<> wake(Life& life) {
    for (auto& hold : held_.all())
      if (hold.what.client == &life.client()) hold.what.silent_since = env::Instant::max();
    life.slot->begin().putrootfh();
    co_await ask(life);
    for (uint64_t number = 0; number < thing_count && !world_.failed(); ++number) {
      const Thing& thing = life.things[number];
      if (!thing.held) continue;
      const uint64_t since = held_[thing.hold].granted;
      for (const auto& other : held_.all())
        if (other.granted > since && other.what.conflicts(held_[thing.hold].what))
          fail("{} was granted to {} meanwhile", held_[thing.hold].what.words(), other.what.client->name());
      held_.granted(thing.hold);
      co_await use(life, number);
    }
  }

  std::vector<Client*> survivors_;
  FileHandle root_;
  env::Instant end_;
  std::set<std::pair<const Client*, uint64_t>> taken_;
  Held<Possession> held_;
  std::deque<Life> lives_;
  bench::TaskGroup living_;
};

}  // namespace

std::unique_ptr<Workload> make_leases(World& world) {
  return std::make_unique<LeasesWorkload>(world);
}

void adjust_leases(Profile& profile) {
  profile.lease_seconds = 20;
  profile.restart_delay_max = std::min<env::Duration>(profile.restart_delay_max, milliseconds(100));
}

}  // namespace perdure::sim
