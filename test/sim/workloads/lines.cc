// Waiting for locks. Each slot is a process with a lock-owner of its own: it locks a range of one file, waits
// where it is denied until it is told that it may come (CB_NOTIFY_LOCK) or has had enough of waiting and asks
// of its own accord, adds one to what lies in the range, and unlocks. Some give up before they are told.
//
// Judged: no two locks that conflict are held at once (held.h), no lock is denied where nobody has one or
// waits, and each number is read as it was written. Where nothing goes wrong nobody who is told to wait has
// to ask of his own accord, and nobody is overtaken for long.
#include <array>

#include "sim/held.h"
#include "sim/workload.h"

namespace perdure::sim {
namespace {

constexpr uint64_t units = 3;
constexpr env::Duration patience_until_asking = std::chrono::seconds(30);

struct UnitLock {
  size_t owner = 0;
  uint64_t unit = 0;
  bool write = false;
  bool conflicts(const UnitLock& other) const {
    return owner != other.owner && unit == other.unit && (write || other.write);
  }
  std::string words() const {
    return fmt::format("a {} lock of unit {} by owner {}", write ? "write" : "read", unit, owner);
  }
};

class LinesWorkload final : public Workload {
 public:
  explicit LinesWorkload(World& world) : Workload(world, "lines"), held_(world) {}

  Task<> setup() override {
    const uint64_t count = random().between(1, 3);
    size_t owners = 0;
    for (uint64_t i = 0; i < count && !world_.failed(); ++i) {
      Client& client =
          add_client({.slots = static_cast<uint32_t>(random().between(1, 4)), .back_channel = true});
      client.on_lock_free = [this](std::string_view owner) { told(owner); };
      co_await client.start();
      for (size_t n = 0; n < client.slots(); ++n) {
        const size_t number = owners++;
        workers_.emplace_back(
            Worker{.slot = &client.slot(n), .number = number, .owner = fmt::format("line {}", number)});
      }
    }
    if (world_.failed()) co_return;
    const std::string name = "lines", file = "file";
    const FileHandle root =
        co_await make_directory(*workers_[0].slot, workers_[0].slot->client().root(), name);
    for (Worker& worker : workers_) {
      if (world_.failed()) co_return;
      if (&worker == &workers_[0])
        worker.open = co_await create_file(*worker.slot, root, file, worker.owner);
      else
        worker.open = co_await open_file(*worker.slot, root, file, worker.owner);
    }
  }

  void start() override {
    operations_ = random().between(10, 60);
    for (Worker& worker : workers_) spawn(work(worker));
  }

  Task<> check() override {
    for (Worker& worker : workers_)
      for (uint64_t unit = 0; unit < units && !world_.failed(); ++unit) co_await visit(worker, unit, false);
    for (Worker& worker : workers_) {
      if (world_.failed()) co_return;
      co_await close_file(*worker.slot, worker.open);
    }
  }

 private:
  struct Worker {
    Slot* slot = nullptr;
    size_t number = 0;
    std::string owner;
    OpenFile open = {};
    bool has_lock = false;
    Stateid lock = {};
    bool told = false;     // that it may come
    bool waiting = false;  // it was denied a lock that it waits for, and may still be in a line
  };

  void told(std::string_view owner) {
    for (Worker& worker : workers_)
      if (worker.owner == owner) worker.told = true;
  }

  Task<> work(Worker& worker) {
    while (operations_ > 0 && !world_.failed()) {
      --operations_;
      co_await visit(worker, random().below(units), !random().one_in(4));
      if (random().one_in(6))
        co_await worker.slot->client().sleep(random().exponential(std::chrono::milliseconds(50)));
    }
  }

  // Locks the unit, for as long as it takes, or gives up.
  Task<> visit(Worker& worker, uint64_t unit, bool write) {
    const bool gives_up = dying() && random().one_in(10);
    for (bool asked = false;; asked = true) {
      const bool waits = worker.waiting || !random().one_in(8);
      const size_t hold = held_.ask({worker.number, unit, write});
      const bool was_told = std::exchange(worker.told, false);
      const bool locked = co_await lock(worker, unit, write, waits);
      if (world_.failed()) co_return;
      if (locked) {
        if (asked && !was_told && worker.waiting) overlooked(worker, unit);
        worker.waiting = false;
        held_.granted(hold);
        co_await use(worker, unit, write);
        if (world_.failed()) co_return;
        held_.releasing(hold);
        co_await unlock(worker, unit);
        held_.released(hold);
        freed_[unit] = world_.now();
        co_return;
      }
      const bool explained = held_.denied(hold) != nullptr || (waits && somebody_waits(worker));
      if (!explained)
        co_return fail("a lock of unit {} is denied to owner {}, for nothing", unit, worker.number);
      worker.waiting = waits;
      if (gives_up) {
        waits_in_vain_ = true;
        co_return;
      }
      co_await wait(worker);
    }
  }

  // Until it is told, or has waited long enough.
  Task<> wait(Worker& worker) {
    env::Duration step = std::chrono::milliseconds(1), passed{};
    const env::Duration until = worker.waiting ? patience_until_asking : std::chrono::milliseconds(20);
    while (!worker.told && passed < until && !world_.failed()) {
      co_await worker.slot->client().sleep(step);
      passed += step;
      step = std::min(2 * step, env::Duration(std::chrono::milliseconds(100)));
    }
  }

  // It waited for its turn, and then had the lock for the asking. Where that has only just been free, the
  // call is on its way.
  void overlooked(const Worker& worker, uint64_t unit) {
    const Profile& p = world_.profile();
    const env::Duration ways = 20 * p.log_factor * (p.io_min + p.io_mean);
    const bool just_free = world_.now() - freed_[unit] < patience() + ways;
    world_.trace("lines: owner {} was not told", worker.number);
    if (!dying() && !waits_in_vain_ && !just_free)
      fail("owner {} waited, and was not told that it may come", worker.number);
  }

  // Things go wrong in this world, at times.
  bool dying() const {
    const Profile& p = world_.profile();
    return p.pair || p.deaths_max != 0 || p.cut_one_in != 0 || p.io_slow_one_in != 0 || p.disks_fail() ||
           p.kv_error_one_in != 0;
  }

  bool somebody_waits(const Worker& other) const {
    return waits_in_vain_ || std::ranges::any_of(workers_, [&](const Worker& worker) {
             return &worker != &other && (worker.waiting || worker.told);
           });
  }

  Task<bool> lock(Worker& worker, uint64_t unit, bool write, bool waits) {
    const auto type = write   ? waits ? bench::LockType::WRITEW_LT : bench::LockType::WRITE_LT
                      : waits ? bench::LockType::READW_LT
                              : bench::LockType::READ_LT;
    Call& call = worker.slot->begin().putfh(worker.open.handle);
    if (worker.has_lock)
      call.lock_more(worker.lock, type, unit * 8, 8);
    else
      call.lock_new(worker.open.stateid, {worker.slot->client().id(), worker.owner}, type, unit * 8, 8);
    Reply& reply = co_await worker.slot->ask();
    Stateid stateid;
    const bool locked = reply.putfh() && reply.lock(stateid);
    world_.trace("lines: owner {} {} unit {}{}: {}", worker.number, write ? "writes" : "reads", unit,
                 waits ? ", and would wait" : "", bench::status_name(reply.error()));
    if (locked) {
      worker.lock = stateid;
      worker.has_lock = true;
    } else if (reply.error() != NfsStatus::NFS4ERR_DENIED) {
      fail("LOCK by owner {}: {}", worker.number, bench::status_name(reply.error()));
    }
    co_return locked;
  }

  Task<> unlock(Worker& worker, uint64_t unit) {
    worker.slot->begin().putfh(worker.open.handle).locku(worker.lock, unit * 8, 8);
    Reply& reply = co_await worker.slot->ask();
    if (!(reply.putfh() && reply.locku(worker.lock)))
      fail("LOCKU by owner {}: {}", worker.number, bench::status_name(reply.error()));
  }

  Task<> use(Worker& worker, uint64_t unit, bool write) {
    if (random().one_in(2))
      co_await worker.slot->client().sleep(random().exponential(std::chrono::milliseconds(5)));
    worker.slot->begin().putfh(worker.open.handle).read(worker.lock, unit * 8, 8);
    Reply& reply = co_await worker.slot->ask();
    Bytes data;
    bool eof = false;
    uint64_t value = 0;
    if (!(reply.putfh() && reply.read(data, eof)))
      co_return fail("READ: {}", bench::status_name(reply.error()));
    if (data.size() == 8) std::memcpy(&value, data.data(), 8);
    if (value != values_[unit]) co_return fail("unit {} is {} instead of {}", unit, value, values_[unit]);
    if (!write) co_return;
    ++value;
    Call& call = worker.slot->begin().putfh(worker.open.handle);
    std::memcpy(call.write(worker.lock, unit * 8, bench::StableHow::FILE_SYNC4, 8).data(), &value, 8);
    Reply& written = co_await worker.slot->ask();
    uint32_t length = 0;
    bench::StableHow level{};
    Verifier verifier;
    if (!(written.putfh() && written.write(length, level, verifier)) || length != 8)
      co_return fail("WRITE: {}", bench::status_name(written.error()));
    values_[unit] = value;
  }

  std::deque<Worker> workers_;
  Held<UnitLock> held_;
  std::array<uint64_t, units> values_{};
  std::array<env::Instant, units> freed_{};
  uint64_t operations_ = 0;
  bool waits_in_vain_ = false;  // somebody has given up, and the server does not know it
};

}  // namespace

std::unique_ptr<Workload> make_lines(World& world) {
  return std::make_unique<LinesWorkload>(world);
}

}  // namespace perdure::sim
