// TestEnv: an Env for unit tests. Everything happens on the caller's thread, in virtual time, and in an order
// that depends on nothing but the seed and the calls.
//
// The loop: a turn takes the callbacks that are ready (posted tasks, due timers, I/O that has ended), runs
// them, and then runs the turn-end hooks; I/O that the turn asked for is submitted after that. With no
// latency set, I/O ends before the next turn that finds nothing else to do.
//
// The disk's fault model. A file is an array of 4 KiB sectors. A sector has a stable content, and contents
// that are newer but not flushed. Reads see the newest completed one.
//   - A durable write is stable when it is done; a cached one when a flush() called after its end is done.
//   - A failed write leaves each of its sectors old, new or torn. After a failed flush what was not stable
//   then never
//     becomes stable by a later flush.
//   - A crash decides for each sector of each write that is not stable, in the order of the writes, whether
//   it is kept,
//     dropped or torn (a new beginning, an old end); a write need not have been submitted.
//   - A write that was under way when its process was killed may end later. Its file is locked until then,
//   and
//     whoever opens it waits for that.
//   - Damage hides from readers what a sector holds, until it is written again, or healed.
// Files outlive the objects that were opened on them: they are kept by path, as long as the TestEnv.
//
// It also checks its callers: alignment, bounds, and that the buffer of a write does not change while it is
// under way.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "env/env.h"

namespace perdure::env {

enum class IoKind : uint8_t { read, write, flush, grow };
enum class SectorFate : uint8_t { keep, drop, tear };
// What a disk does to what it says it has written.
enum class Damage : uint8_t {
  misdirected,  // it stands in another place, over what was there, and not in its own
  rotten,       // a bit of one sector flips
  unreadable,   // one sector cannot be read
};

struct IoFault {
  std::string path;            // empty: any file
  std::optional<IoKind> kind;  // none: any kind
  uint64_t skip = 0;           // so many matching requests go well first
  uint64_t count = 1;          // then so many fail
  ErrorKind error = ErrorKind::io;
};

class TestEnv final : public Env {
 public:
  explicit TestEnv(uint64_t seed = 1);
  ~TestEnv() override;

  Instant now() override { return now_; }
  WallTime wall_time() override { return wall_start_ + now_.time_since_epoch(); }
  uint64_t random() override { return random_(); }
  void post(Task task) override;
  TimerId after(Duration delay, Task task) override;
  void cancel(TimerId timer) override;
  void at_turn_end(Task task) override;
  void offload(Task work, Task done) override;
  Result<std::unique_ptr<File>> open(const std::string& path, bool create) override;

  // One callback, or the end of a turn. False: nothing is left to do now (timers may be set for later).
  bool run_one();
  // Turns, at least one, until nothing is posted and no I/O is under way (or only held I/O). Time goes on
  // only as far as I/O latency needs.
  void run_until_idle();
  // Lets time pass, firing each timer at its time.
  void advance(Duration duration);
  // Turns until `condition` holds. False if all was idle before.
  bool run_until(const std::function<bool()>& condition);
  // For a caller who keeps the time himself (the simulator), with run_one(): when run_one() has something to
  // do next (now, or later), and setting the time.
  std::optional<Instant> next_event() const;
  void set_now(Instant now) { now_ = std::max(now_, now); }

  void jump_wall_clock(Duration by) { wall_start_ += by; }
  // From submission to the end of each later I/O.
  void set_io_latency(Duration latency) { io_latency_ = latency; }
  // The same, asked for each of them.
  using Latency = std::function<Duration(const std::string& path, IoKind)>;
  void set_io_latency(Latency latency) { io_latency_of_ = std::move(latency); }
  // I/O ends in an order drawn from the seed, some in each turn, instead of all in order of submission.
  void set_io_shuffled(bool shuffled) { io_shuffled_ = shuffled; }
  // While held, no I/O ends.
  void hold_io(bool held) { io_held_ = held; }
  // Requests after the next `n` never end: with a crash() after it, one can crash at every I/O in turn.
  void stall_io_after(uint64_t n) { stall_at_ = io_count_ + n; }
  size_t io_under_way() const;
  // Requests made so far.
  uint64_t io_count() const { return io_count_; }

  void inject(IoFault fault) { faults_.push_back(std::move(fault)); }
  // Asked for each request, beside what was injected: the error with which it ends.
  using Fault = std::function<std::optional<ErrorKind>(const std::string& path, IoKind)>;
  void set_fault(Fault fault) { fault_ = std::move(fault); }
  void clear_faults() { faults_.clear(); }
  // Asked for each read that went well: whether what it gives is wrong (a flipped bit, or another place of
  // the file), this one time.
  using Misread = std::function<bool(const std::string& path)>;
  void set_misread(Misread misread) { misread_ = std::move(misread); }
  // Asked for each write that seems to go well: whether it does not.
  using Damaging = std::function<std::optional<Damage>(const std::string& path)>;
  void set_damage(Damaging damage) { damaging_ = std::move(damage); }
  void heal(const std::string& path);
  // Sees each write when it is asked for.
  using WriteObserver = std::function<void(const std::string& path, uint64_t offset, Bytes bytes)>;
  void set_write_observer(WriteObserver observer) { write_observer_ = std::move(observer); }
  // Reads of this range fail until it is written again.
  void make_unreadable(const std::string& path, uint64_t offset, uint64_t length);
  // grow() fails with no_space when all files together would be larger.
  void set_space(uint64_t bytes) { space_ = bytes; }

  // The process dies: posted tasks, timers, turn-end hooks and requests are dropped without being called,
  // locks are released, and what files hold is decided sector by sector. Objects of the dead process must be
  // destroyed after it and before new ones are made; what they still ask of their files is ignored. Not from
  // within a callback.
  using Fate = std::function<SectorFate(const std::string& path, uint64_t offset)>;
  void crash();  // fates drawn from the seed
  void crash(const Fate& fate);
  // The same, but the machine keeps its power: what was not flushed stays readable and may still be lost by a
  // later crash(). Each write under way is done, done but not flushed, not done, or done later.
  void kill();

  // A file's content as a reader sees it, and changes to it from outside (bit rot, a hostile disk).
  bool exists(const std::string& path) const { return disks_.contains(path); }
  ByteVector content(const std::string& path) const;
  void read(const std::string& path, uint64_t offset, MutableBytes into) const;  // whole sectors
  void overwrite(const std::string& path, uint64_t offset, Bytes bytes);
  void remove(const std::string& path);
  // Durable at once. Nobody has it open.
  void rename(const std::string& path, const std::string& to);

 private:
  struct Disk;
  struct Request;
  class TestFile;

  void submit(std::unique_ptr<Request> request);
  void end_turn();
  bool end_io();
  void perform(Request& request);
  void misread(Request& request);
  void write(Request& request, uint64_t bytes, bool failed);
  static void land(Disk& disk);
  bool fire_timers();
  uint64_t free_bytes() const;
  std::optional<ErrorKind> fault_of(const Request& request);
  void drop_callbacks(std::vector<std::unique_ptr<Request>>& requests);
  SectorFate draw_fate();

  std::mt19937_64 random_;  // what the code under test sees
  std::mt19937_64 chance_;  // what happens to it
  Instant now_;
  WallTime wall_start_;
  Duration io_latency_{};
  Latency io_latency_of_;
  Fault fault_;
  Misread misread_;
  Damaging damaging_;
  WriteObserver write_observer_;
  bool io_shuffled_ = false, io_held_ = false;
  uint64_t io_count_ = 0, stall_at_ = UINT64_MAX, space_ = UINT64_MAX;
  uint64_t next_timer_ = 1;
  uint64_t incarnation_ = 0;  // crashes so far
  size_t turn_left_ = 0;      // callbacks of the turn under way
  bool in_turn_ = false;

  std::deque<Task> ready_;
  std::map<std::pair<Instant, uint64_t>, Task> timers_;
  std::deque<Task> turn_end_;                       // a task may add others: references stay valid
  std::vector<std::unique_ptr<Request>> requests_;  // in the order of the calls
  std::vector<IoFault> faults_;
  std::map<std::string, std::shared_ptr<Disk>> disks_;
};

}  // namespace perdure::env
