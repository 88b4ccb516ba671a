// NFSv4.0 clients, beside one of a later version. Each worker makes, renames and removes names of its own,
// creates files that must not be there yet, and increments shared counters: OPEN, OPEN_CONFIRM when its owner
// is new, LOCK, READ, WRITE, LOCKU, CLOSE. The client of the later version increments them, too.
//
// Judged: whatever is sent again, after whatever crash, has one effect. So no name is there already, or there
// no more; no owner's sequence id is wrong; no stateid is lost; every seqid of a stateid counts by one; and
// each counter is what was written to it under the last lock.
#include <array>

#include "sim/workload.h"

namespace perdure::sim {
namespace {

constexpr uint64_t counters = 2;

class Version40Workload final : public Workload {
 public:
  explicit Version40Workload(World& world) : Workload(world, "version40") {}

  Task<> setup() override {
    Client& later = add_client({.slots = 1});
    co_await later.start();
    if (world_.failed()) co_return;
    root_ = co_await make_directory(later.slot(0), later.root(), name());
    const std::string file = "counters", owner = "setup";
    const OpenFile made = co_await create_file(later.slot(0), root_, file, owner);
    file_ = made.handle;
    co_await close_file(later.slot(0), made);
    workers_.push_back({.slot = &later.slot(0), .name = "later"});
    for (uint64_t n = random().between(1, 3); n > 0 && !world_.failed(); --n) {
      Client& client =
          add_client({.slots = static_cast<uint32_t>(random().between(1, 3)), .version40 = true});
      co_await client.start();
      for (size_t i = 0; i < client.slots(); ++i)
        workers_.push_back({.slot = &client.slot(i), .name = fmt::format("{} {}", client.name(), i)});
    }
  }

  void start() override {
    operations_ = random().between(20, 100);
    for (Worker& worker : workers_) spawn(work(worker));
  }

  Task<> check() override {
    for (uint64_t i = 0; i < counters && !world_.failed(); ++i) {
      uint64_t value = 0;
      co_await read_counter(workers_[0], {}, i, value);
      if (value != counts_[i]) co_return fail("counter {} is {} instead of {}", i, value, counts_[i]);
    }
    const Names left = co_await list(*workers_[0].slot, root_);
    if (left.size() != 1 + made_) fail("{} names are left instead of {}", left.size(), 1 + made_);
  }

 private:
  struct Worker {
    Slot* slot;
    std::string name;
    // Of its open-owner and its lock-owner: which they are, and their last sequence ids (NFSv4.0).
    uint32_t owner = 0, lock_owner = 0;
    uint32_t seqid = 0, lock_seqid = 0;
    bool confirmed = false;
    uint64_t names = 0;
    std::string owner_name() const { return fmt::format("opener {} {}", name, owner); }
    std::string lock_owner_name() const { return fmt::format("locker {} {}", name, lock_owner); }
    bool version40() const { return name != "later"; }
  };

  Task<> work(Worker& worker) {
    while (operations_ > 0 && !world_.failed()) {
      --operations_;
      switch (random().below(5)) {
        case 0:
          co_await names(worker);
          break;
        case 1:
          co_await create(worker);
          break;
        default:
          co_await increment(worker, random().below(counters));
          break;
      }
      if (random().one_in(12))
        co_await worker.slot->client().sleep(random().exponential(std::chrono::milliseconds(30)));
    }
  }

  Task<> names(Worker& worker) {
    const std::string name = fmt::format("{} {}", worker.name, ++worker.names), renamed = name + " renamed";
    Slot& slot = *worker.slot;
    bench::ChangeInfo change, other;
    slot.begin().putfh(root_).mkdir(name, 0777);
    Reply& made = co_await slot.ask();
    if (!(made.putfh() && made.create(change)))
      co_return fail("mkdir {}: {}", name, bench::status_name(made.error()));
    slot.begin().putfh(root_).savefh().putfh(root_).rename(name, renamed);
    Reply& moved = co_await slot.ask();
    if (!(moved.putfh() && moved.plain(Op::SAVEFH) && moved.putfh() && moved.rename(change, other)))
      co_return fail("rename {}: {}", name, bench::status_name(moved.error()));
    slot.begin().putfh(root_).remove(renamed);
    Reply& removed = co_await slot.ask();
    if (!(removed.putfh() && removed.remove(change)))
      co_return fail("remove {}: {}", renamed, bench::status_name(removed.error()));
  }

  // With a stateid of this owner's; the next one is `worker.seqid`.
  Task<> opened(Worker& worker, OpenFile& file) {
    if (!worker.version40() || worker.confirmed) co_return;
    worker.slot->begin().putfh(file.handle).in_order(++worker.seqid).open_confirm(file.stateid);
    Reply& reply = co_await worker.slot->ask();
    const uint32_t seqid = file.stateid.seqid;
    if (!(reply.putfh() && reply.open_confirm(file.stateid)))
      co_return fail("OPEN_CONFIRM {}: {}", worker.name, bench::status_name(reply.error()));
    if (file.stateid.seqid != seqid + 1) fail("OPEN_CONFIRM: seqid {} after {}", file.stateid.seqid, seqid);
    worker.confirmed = true;
  }

  void new_owner(Worker& worker) {
    ++worker.owner;
    worker.confirmed = false;
    worker.seqid = static_cast<uint32_t>(random().below(1000));
  }

  Task<> create(Worker& worker) {
    if (random().one_in(3)) new_owner(worker);
    const std::string name = fmt::format("file {} {}", worker.name, ++worker.names),
                      owner = worker.owner_name();
    Slot& slot = *worker.slot;
    OpenFile file;
    bench::ChangeInfo change;
    slot.begin()
        .putfh(root_)
        .in_order(++worker.seqid)
        .open_create({slot.client().id(), owner}, name, bench::CreateMode::GUARDED4, 0666, 0)
        .getfh();
    Reply& reply = co_await slot.ask();
    if (!(reply.putfh() && reply.open(file.stateid, change) && reply.getfh(file.handle)))
      co_return fail("create {}: {}", name, bench::status_name(reply.error()));
    ++made_;
    world_.trace("{}: made by {}, {}{}", worker.name, owner, worker.seqid,
                 reply.must_confirm() ? ", to be confirmed" : "");
    if (reply.must_confirm()) worker.confirmed = false;
    co_await opened(worker, file);
    co_await close(worker, file);
  }

  Task<> close(Worker& worker, OpenFile file) {
    if (world_.failed()) co_return;
    ++worker.seqid;
    // Perhaps more than once, as other requests: it is the owner's last one.
    for (bool again = true; again && !world_.failed(); again = worker.version40() && random().one_in(6)) {
      worker.slot->begin().putfh(file.handle).in_order(worker.seqid).close(file.stateid);
      Reply& reply = co_await worker.slot->ask();
      if (!(reply.putfh() && reply.close()))
        fail("close by {}: {}", worker.name, bench::status_name(reply.error()));
    }
  }

  Task<> increment(Worker& worker, uint64_t counter) {
    if (random().one_in(4)) new_owner(worker);
    const std::string owner = worker.owner_name();
    Slot& slot = *worker.slot;
    OpenFile file{.handle = file_, .stateid = {}};
    // An owner that is not confirmed may begin anew (RFC 7530 §9.1.11), if no old request of it can come
    // late.
    const bool begins_anew = worker.version40() && !worker.confirmed &&
                             world_.profile().duplicate_one_in == 0 && world_.profile().cut_one_in == 0;
    for (bool again = true; again && !world_.failed();) {
      bench::ChangeInfo change;
      slot.begin()
          .putfh(root_)
          .in_order(++worker.seqid)
          .open({slot.client().id(), owner}, bench::share_access_both, "counters");
      Reply& reply = co_await slot.ask();
      if (!(reply.putfh() && reply.open(file.stateid, change)))
        co_return fail("open by {}: {}", worker.name, bench::status_name(reply.error()));
      world_.trace("{}: open by {}, {}{}", worker.name, owner, worker.seqid,
                   reply.must_confirm() ? ", to be confirmed" : "");
      if (reply.must_confirm()) worker.confirmed = false;
      again = begins_anew && random().one_in(5);
      if (again) worker.seqid += static_cast<uint32_t>(random().below(100));
    }
    co_await opened(worker, file);
    Stateid lock;
    for (bool locked = false; !locked && !world_.failed();) {
      co_await take_lock(worker, file, counter, lock, locked);
      if (!locked) co_await slot.client().sleep(random().exponential(std::chrono::milliseconds(5)));
    }
    if (world_.failed()) co_return;
    uint64_t value = 0;
    co_await read_counter(worker, lock, counter, value);
    if (world_.failed()) co_return;
    if (value != counts_[counter])
      co_return fail("counter {} is {} instead of {}", counter, value, counts_[counter]);
    co_await write_counter(worker, lock, counter, value + 1);
    if (world_.failed()) co_return;
    counts_[counter] = value + 1;
    if (!random().one_in(4)) co_await unlock(worker, lock);
    co_await close(worker, file);
    if (worker.version40() && random().one_in(3) && !world_.failed()) co_await release(worker);
  }

  Task<> take_lock(Worker& worker, const OpenFile& file, uint64_t counter, Stateid& lock, bool& locked) {
    const std::string owner = worker.lock_owner_name();
    Slot& slot = *worker.slot;
    slot.begin()
        .putfh(file.handle)
        .in_order(++worker.seqid, worker.lock_seqid + 1)
        .lock_new(file.stateid, {slot.client().id(), owner}, bench::LockType::WRITE_LT, counter * 8, 8);
    Reply& reply = co_await slot.ask();
    locked = reply.putfh() && reply.lock(lock);
    if (locked)
      ++worker.lock_seqid;
    else if (reply.error() != NfsStatus::NFS4ERR_DENIED)
      fail("LOCK by {}: {}", worker.name, bench::status_name(reply.error()));
  }

  Task<> unlock(Worker& worker, const Stateid& lock) {
    worker.slot->begin().putfh(file_).in_order(++worker.lock_seqid).locku(lock, 0, bench::lock_to_end);
    Reply& reply = co_await worker.slot->ask();
    Stateid stateid;
    if (!(reply.putfh() && reply.locku(stateid)))
      co_return fail("LOCKU by {}: {}", worker.name, bench::status_name(reply.error()));
    if (stateid.other != lock.other || stateid.seqid != lock.seqid + 1)
      fail("LOCKU: seqid {} after {}", stateid.seqid, lock.seqid);
  }

  Task<> release(Worker& worker) {
    const std::string owner = worker.lock_owner_name();
    Slot& slot = *worker.slot;
    slot.begin().release_lockowner({slot.client().id(), owner});
    Reply& reply = co_await slot.ask();
    if (!reply.plain(Op::RELEASE_LOCKOWNER))
      co_return fail("RELEASE_LOCKOWNER by {}: {}", worker.name, bench::status_name(reply.error()));
    worker.lock_seqid = static_cast<uint32_t>(random().below(1000));
  }

  Task<> read_counter(Worker& worker, Stateid stateid, uint64_t counter, uint64_t& value) {
    worker.slot->begin().putfh(file_).read(stateid, counter * 8, 8);
    Reply& reply = co_await worker.slot->ask();
    Bytes data;
    bool eof = false;
    if (!(reply.putfh() && reply.read(data, eof)))
      co_return fail("READ by {}: {}", worker.name, bench::status_name(reply.error()));
    if (data.size() == 8) std::memcpy(&value, data.data(), 8);
    if (data.size() != 8 && !data.empty()) fail("{} bytes of a counter", data.size());
  }

  Task<> write_counter(Worker& worker, Stateid stateid, uint64_t counter, uint64_t value) {
    for (;;) {
      const auto how = random().one_in(2) ? bench::StableHow::FILE_SYNC4 : bench::StableHow::UNSTABLE4;
      Call& call = worker.slot->begin().putfh(file_);
      std::memcpy(call.write(stateid, counter * 8, how, 8).data(), &value, 8);
      Reply& written = co_await worker.slot->ask();
      uint32_t length = 0;
      bench::StableHow level{};
      Verifier verifier, committed;
      if (!(written.putfh() && written.write(length, level, verifier)) || length != 8 || level < how)
        co_return fail("WRITE by {}: {}", worker.name, bench::status_name(written.error()));
      if (level == bench::StableHow::FILE_SYNC4) co_return;
      worker.slot->begin().putfh(file_).commit(0, 0);
      Reply& reply = co_await worker.slot->ask();
      if (!(reply.putfh() && reply.commit(committed)))
        co_return fail("COMMIT by {}: {}", worker.name, bench::status_name(reply.error()));
      if (committed == verifier) co_return;
    }
  }

  FileHandle root_, file_;
  std::deque<Worker> workers_;
  std::array<uint64_t, counters> counts_{};
  uint64_t operations_ = 0, made_ = 0;
};

}  // namespace

std::unique_ptr<Workload> make_version40(World& world) {
  return std::make_unique<Version40Workload>(world);
}

}  // namespace perdure::sim
