// Workloads on client state: opens, locks.
#include <string>

#include "bench/standing_files.h"

namespace perdure::bench {
namespace {

// OPEN of what is there and CLOSE: no file is made, only client state.
class Opens final : public Workload {
 public:
  Task<> prepare_alone(Worker& w) override {
    standing_.size_for(w.cell());
    co_return;
  }
  Task<> prepare(Worker& w) override { return standing_.prepare(w); }

  Task<> run(Worker& w) override {
    Slot& slot = w.slot();
    const std::string owner = fmt::format("bench-{}", w.index());
    while (w.more()) {
      const StandingFiles::File& file = standing_.any(w.random());
      Nanoseconds begun = w.now();
      slot.begin(true)
          .putfh(w.cell().directories()[file.directory])
          .open({w.client().clientid(), owner}, share_access_both, file.name)
          .getfh()
          .getattr(attr::usual);
      Reply& opened = co_await slot.exchange();
      OpenFile open;
      ChangeInfo change;
      if (!(opened.putfh() && opened.open(open.stateid, change) && opened.getfh(open.fh) &&
            opened.getattr(open.attributes))) {
        w.failed(opened);
        continue;
      }
      if (open.attributes.fileid != file.fileid) w.bad("OPEN: another file");
      w.done(begun);

      begun = w.now();
      slot.begin(true).putfh(open.fh).close(open.stateid);
      Reply& closed = co_await slot.exchange();
      if (closed.putfh() && closed.close())
        w.done(begun);
      else
        w.failed(closed);
    }
  }

 private:
  StandingFiles standing_;
};

// Each worker locks a range of its own in one file, so nobody is ever refused.
class Locks final : public Workload {
 public:
  Task<> prepare_alone(Worker& w) override {
    NfsStatus status{};
    do {
      status =
          co_await create(w.slot(), w.cell().directory(), "locks", "bench", CreateMode::UNCHECKED4, file_);
    } while (co_await wait_and_repeat(w.slot(), status));
    if (status != NfsStatus::NFS4_OK) w.cell().give_up("creating the file", status);
  }

  Task<> run(Worker& w) override {
    Slot& slot = w.slot();
    const std::string owner = fmt::format("locker-{}", w.index());
    const uint64_t offset = uint64_t{w.index()} * 16;
    Stateid lock;
    bool known = false;
    while (w.more()) {
      Nanoseconds begun = w.now();
      Call& call = slot.begin(true).putfh(file_.fh);
      if (known)
        call.lock_more(lock, LockType::WRITE_LT, offset, 8);
      else
        call.lock_new(file_.stateid, {w.client().clientid(), owner}, LockType::WRITE_LT, offset, 8);
      Reply& locked = co_await slot.exchange();
      if (!(locked.putfh() && locked.lock(lock))) {
        w.failed(locked);
        continue;
      }
      known = true;
      w.done(begun);

      begun = w.now();
      slot.begin(true).putfh(file_.fh).locku(lock, offset, 8);
      Reply& unlocked = co_await slot.exchange();
      if (unlocked.putfh() && unlocked.locku(lock))
        w.done(begun);
      else
        w.failed(unlocked);
    }
  }

  Task<> check(Worker& w) override {
    if (w.index() != 0) co_return;
    const NfsStatus status = co_await close(w.slot(), file_);
    if (status != NfsStatus::NFS4_OK) w.bad("CLOSE: " + status_name(status));
  }

 private:
  OpenFile file_;
};

}  // namespace

std::unique_ptr<Workload> make_opens() {
  return std::make_unique<Opens>();
}
std::unique_ptr<Workload> make_locks() {
  return std::make_unique<Locks>();
}

}  // namespace perdure::bench
