// Byte-range locks. In one file there are counters, which several clients increment under locks: LOCK, READ,
// WRITE, with a COMMIT where it was unstable, LOCKU. In another one owners lock and unlock ranges at random,
// to read and to write.
//
// Judged: each READ under a lock gives exactly the increments that were acknowledged before, and so does the
// end. No two locks that conflict are held at once, and none is denied without a reason (held.h). Locks and
// their stateids survive everything: nothing under them ever fails, their seqids count each operation once,
// and those that are held in the end still keep others out.
#include <array>
#include <map>

#include "sim/held.h"
#include "sim/workload.h"

namespace perdure::sim {
namespace {

constexpr uint64_t counters = 3, units = 12, unit_bytes = 100;

enum class Area : uint8_t { counter, range };

struct Lock {
  size_t owner = 0;
  Area area{};
  uint64_t number = 0;  // of the counter, or of the unit of the file of ranges
  bool write = false;
  bool conflicts(const Lock& other) const {
    return owner != other.owner && area == other.area && number == other.number && (write || other.write);
  }
  std::string words() const {
    return fmt::format("a {} lock of {} {} by owner {}", write ? "write" : "read",
                       area == Area::counter ? "counter" : "unit", number, owner);
  }
};

class CountersWorkload final : public Workload {
 public:
  explicit CountersWorkload(World& world) : Workload(world, "counters"), held_(world) {}

  Task<> setup() override {
    const uint64_t count = random().between(1, 3);
    clients_ = co_await start_clients(count, 1, 3);
    if (world_.failed()) co_return;
    Slot& slot = clients_[0]->slot(0);
    const std::string name = "counters", owner = "setup";
    root_ = co_await make_directory(slot, clients_[0]->root(), name);
    for (const std::string& file : names_) {
      const OpenFile made = co_await create_file(slot, root_, file, owner);
      co_await close_file(slot, made);
    }
    size_t owners = 0;
    for (Client* client : clients_) {
      for (size_t i = 0; i < client->slots() && !world_.failed(); ++i) {
        Worker& worker =
            workers_.emplace_back(Worker{.slot = &client->slot(i), .number = owners++, .states = {}});
        for (size_t f = 0; f < names_.size(); ++f) co_await open(worker, f);
      }
    }
  }

  void start() override {
    operations_ = random().between(20, 100);
    for (Worker& worker : workers_) spawn(work(worker));
  }

  Task<> check() override {
    for (Worker& worker : workers_) co_await try_all(worker);
    for (Worker& worker : workers_) {
      co_await unlock_range(worker, 0, units);
      for (size_t f = 0; f < names_.size() && !world_.failed(); ++f) co_await close(worker, f);
    }
    Slot& slot = clients_[0]->slot(0);
    const Stateid anonymous;
    for (uint64_t i = 0; i < counters && !world_.failed(); ++i) {
      uint64_t value = 0;
      co_await read_counter(slot, anonymous, i, value);
      if (value != counts_[i]) co_return fail("counter {} is {} instead of {}", i, value, counts_[i]);
    }
  }

 private:
  // The lock state of an owner in a file, and its open.
  struct State {
    OpenFile open;
    bool has_lock = false;
    Stateid lock;
    std::string owner;
  };
  struct Worker {
    Slot* slot;
    size_t number;
    State states[2];                    // of the file of counters, and of that of ranges
    std::array<size_t, units> holds{};  // of units, their numbers in held_ plus one
    uint64_t owners = 0;
  };

  Task<> open(Worker& worker, size_t file) {
    State& state = worker.states[file];
    const std::string owner = fmt::format("opener {}", worker.number);
    state.open = co_await open_file(*worker.slot, root_, names_[file], owner);
    state.has_lock = false;
  }
  Task<> close(Worker& worker, size_t file) { co_await close_file(*worker.slot, worker.states[file].open); }

  Task<> work(Worker& worker) {
    while (operations_ > 0 && !world_.failed()) {
      --operations_;
      const uint64_t first = random().below(units), last = random().between(first, units - 1);
      switch (random().below(6)) {
        case 0:
        case 1:
          co_await lock_range(worker, first, last + 1, random().one_in(2));
          break;
        case 2:
          co_await unlock_range(worker, first, last + 1);
          break;
        default:
          co_await increment(worker, random().below(counters));
          break;
      }
      if (random().one_in(12))
        co_await worker.slot->client().sleep(random().exponential(std::chrono::milliseconds(30)));
    }
  }

  // ---- LOCK and LOCKU

  // What the state's stateid must be after an operation that has succeeded.
  void next_seqid(State& state, const Stateid& now, const char* by) {
    const bool same = !state.has_lock || state.lock.other == now.other;
    const uint32_t expected = state.has_lock ? state.lock.seqid + 1 : 1;
    if (!same || now.seqid != expected) fail("{}: seqid {} instead of {}", by, now.seqid, expected);
    state.lock = now;
    state.has_lock = true;
  }

  Task<bool> lock(Worker& worker, size_t file, bool write, uint64_t offset, uint64_t length) {
    State& state = worker.states[file];
    const auto type = write ? bench::LockType::WRITE_LT : bench::LockType::READ_LT;
    if (!state.has_lock) state.owner = fmt::format("owner {} {}", worker.number, ++worker.owners);
    Call& call = worker.slot->begin().putfh(state.open.handle);
    if (state.has_lock)
      call.lock_more(state.lock, type, offset, length);
    else
      call.lock_new(state.open.stateid, {worker.slot->client().id(), state.owner}, type, offset, length);
    Reply& reply = co_await worker.slot->ask();
    Stateid stateid;
    const bool locked = reply.putfh() && reply.lock(stateid);
    world_.trace("owner {} {} {} bytes from {} of {}: {}", worker.number, write ? "write" : "read", length,
                 offset, names_[file], bench::status_name(reply.error()));
    if (locked)
      next_seqid(state, stateid, "LOCK");
    else if (reply.error() != NfsStatus::NFS4ERR_DENIED)
      fail("LOCK by owner {}: {}", worker.number, bench::status_name(reply.error()));
    co_return locked;
  }

  Task<> unlock(Worker& worker, size_t file, uint64_t offset, uint64_t length) {
    State& state = worker.states[file];
    worker.slot->begin().putfh(state.open.handle).locku(state.lock, offset, length);
    Reply& reply = co_await worker.slot->ask();
    Stateid stateid;
    if (!(reply.putfh() && reply.locku(stateid)))
      co_return fail("LOCKU by owner {}: {}", worker.number, bench::status_name(reply.error()));
    next_seqid(state, stateid, "LOCKU");
  }

  // ---- counters

  Task<> increment(Worker& worker, uint64_t counter) {
    constexpr size_t file = 0;
    State& state = worker.states[file];
    for (bool locked = false; !locked && !world_.failed();) {
      const size_t hold = held_.ask({worker.number, Area::counter, counter, true});
      locked = co_await lock(worker, file, true, counter * 8, 8);
      if (locked) {
        held_.granted(hold);
        co_await increment_locked(worker, counter, hold);
      } else {
        if (held_.denied(hold) == nullptr) fail("a lock of counter {} is denied, and nobody has it", counter);
        co_await worker.slot->client().sleep(random().exponential(std::chrono::milliseconds(5)));
      }
    }
    if (state.has_lock && random().one_in(4)) state.has_lock = false;  // from now on by another lock owner
  }

  Task<> increment_locked(Worker& worker, uint64_t counter, size_t hold) {
    constexpr size_t file = 0;
    const State& state = worker.states[file];
    uint64_t value = 0;
    co_await read_counter(*worker.slot, state.lock, counter, value);
    if (world_.failed()) co_return;
    if (value != counts_[counter])
      co_return fail("counter {} is {} instead of {}", counter, value, counts_[counter]);
    co_await write_counter(worker, counter, value + 1);
    if (world_.failed()) co_return;
    ++counts_[counter];
    held_.releasing(hold);
    // CLOSE ends the locks, too.
    if (random().one_in(10)) {
      co_await close(worker, file);
      co_await open(worker, file);
    } else {
      co_await unlock(worker, file, counter * 8, 8);
    }
    held_.released(hold);
  }

  Task<> read_counter(Slot& slot, const Stateid& stateid, uint64_t counter, uint64_t& value) {
    slot.begin().putfh(workers_[0].states[0].open.handle).read(stateid, counter * 8, 8);
    Reply& reply = co_await slot.ask();
    Bytes data;
    bool eof = false;
    if (!(reply.putfh() && reply.read(data, eof)))
      co_return fail("READ of a counter: {}", bench::status_name(reply.error()));
    if (data.size() == 8) std::memcpy(&value, data.data(), 8);
    if (data.size() != 8 && !data.empty()) fail("{} bytes of a counter", data.size());
  }

  Task<> write_counter(Worker& worker, uint64_t counter, uint64_t value) {
    State& state = worker.states[0];
    bool stable = random().one_in(2);
    for (bool safe = false; !safe && !world_.failed();) {
      Call& call = worker.slot->begin().putfh(state.open.handle);
      const auto how = stable ? bench::StableHow::FILE_SYNC4 : bench::StableHow::UNSTABLE4;
      std::memcpy(call.write(state.lock, counter * 8, how, 8).data(), &value, 8);
      Reply& written = co_await worker.slot->ask();
      uint32_t length = 0;
      bench::StableHow level{};
      Verifier verifier, committed;
      if (!(written.putfh() && written.write(length, level, verifier)) || length != 8 || level < how)
        co_return fail("WRITE of a counter: {}", bench::status_name(written.error()));
      safe = level == bench::StableHow::FILE_SYNC4;
      if (safe) break;
      if (random().one_in(3))
        co_await worker.slot->client().sleep(random().exponential(std::chrono::milliseconds(30)));
      worker.slot->begin().putfh(state.open.handle).commit(0, 0);
      Reply& reply = co_await worker.slot->ask();
      if (!(reply.putfh() && reply.commit(committed)))
        co_return fail("COMMIT: {}", bench::status_name(reply.error()));
      safe = committed == verifier;
      if (random().one_in(2)) stable = true;
    }
  }

  // ---- ranges

  // The last unit has no end.
  static uint64_t length_of(uint64_t first, uint64_t end) {
    return end == units ? bench::lock_to_end : (end - first) * unit_bytes;
  }

  Task<> lock_range(Worker& worker, uint64_t first, uint64_t end, bool write) {
    std::vector<size_t> asked;
    for (uint64_t unit = first; unit < end; ++unit) {
      asked.push_back(held_.ask({worker.number, Area::range, unit, write}));
      // What is held to write may be held to read only from now on.
      if (const size_t old = worker.holds[unit]; old != 0 && !write) held_.releasing(old - 1);
    }
    const bool locked = co_await lock(worker, 1, write, first * unit_bytes, length_of(first, end));
    if (world_.failed()) co_return;
    bool explained = false;
    for (uint64_t unit = first; unit < end; ++unit) {
      const size_t number = asked[unit - first], old = worker.holds[unit];
      if (locked) {
        held_.granted(number);
        if (old != 0) held_.releasing(old - 1), held_.released(old - 1);
        worker.holds[unit] = number + 1;
      } else {
        explained |= held_.denied(number) != nullptr;
        if (old != 0 && !write) held_.granted(old - 1);
      }
    }
    if (!locked && !explained)
      co_return fail("a {} lock of units {} to {} is denied to owner {}, and nobody has them",
                     write ? "write" : "read", first, end, worker.number);
    if (locked) co_await touch(worker, first * unit_bytes, write);
  }

  Task<> unlock_range(Worker& worker, uint64_t first, uint64_t end) {
    if (!worker.states[1].has_lock || world_.failed()) co_return;
    for (uint64_t unit = first; unit < end; ++unit)
      if (worker.holds[unit] != 0) held_.releasing(worker.holds[unit] - 1);
    co_await unlock(worker, 1, first * unit_bytes, length_of(first, end));
    for (uint64_t unit = first; unit < end; ++unit)
      if (worker.holds[unit] != 0) held_.released(std::exchange(worker.holds[unit], 0) - 1);
  }

  // READ or WRITE with the stateid of a lock.
  Task<> touch(Worker& worker, uint64_t offset, bool write) {
    const State& state = worker.states[1];
    Call& call = worker.slot->begin().putfh(state.open.handle);
    if (write)
      std::ranges::fill(call.write(state.lock, offset, bench::StableHow::UNSTABLE4, 8), std::byte{1});
    else
      call.read(state.lock, offset, 8);
    Reply& reply = co_await worker.slot->ask();
    uint32_t length = 0;
    bench::StableHow level{};
    Verifier verifier;
    Bytes data;
    bool eof = false;
    const bool there =
        reply.putfh() && (write ? reply.write(length, level, verifier) : reply.read(data, eof));
    if (!there) fail("I/O under a lock: {}", bench::status_name(reply.error()));
  }

  // Every unit, with nothing else going on: what others hold is held.
  Task<> try_all(Worker& worker) {
    for (uint64_t unit = 0; unit < units; ++unit) {
      const bool write = random().one_in(2);
      co_await lock_range(worker, unit, unit + 1, write);
      if (world_.failed()) co_return;
    }
  }

  std::vector<Client*> clients_;
  std::deque<Worker> workers_;
  FileHandle root_;
  const std::array<std::string, 2> names_{"counters", "ranges"};
  Held<Lock> held_;
  std::array<uint64_t, counters> counts_{};
  uint64_t operations_ = 0;
};

}  // namespace

std::unique_ptr<Workload> make_counters(World& world) {
  return std::make_unique<CountersWorkload>(world);
}

}  // namespace perdure::sim
