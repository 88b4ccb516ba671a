#include "env/testing/test_env.h"

#include <algorithm>
#include <array>
#include <set>

#include "base/planted_bug.h"

namespace perdure::env {

namespace {

constexpr uint64_t sector = 4096;
constexpr uint64_t tear_unit = 512;

using Sector = std::array<std::byte, sector>;

}  // namespace

struct TestEnv::Disk {
  struct Version {
    uint64_t sequence;  // of the write's end
    bool lost;          // a flush failed: no later flush makes this stable
    std::unique_ptr<Sector> bytes;
  };
  struct Cell {
    std::unique_ptr<Sector> stable;  // null: zeros
    std::vector<Version> unstable;   // oldest first
    bool unreadable = false;
  };

  std::string path;
  struct Late {
    uint64_t at;
    bool stable;
    Sector bytes;
  };

  bool locked = false;
  std::vector<Late> late;  // of a dead process, and not over yet
  uint64_t sequence = 0;
  std::vector<Cell> cells;
  std::set<uint64_t> unstable;                          // the cells with anything unstable
  std::map<uint64_t, std::unique_ptr<Sector>> damaged;  // what readers get instead; null: an error

  uint64_t size() const { return cells.size() * sector; }

  const Sector* newest(const Cell& cell) const {
    return cell.unstable.empty() ? cell.stable.get() : cell.unstable.back().bytes.get();
  }

  void load(uint64_t at, std::byte* into) const {
    if (const Sector* from = newest(cells[at]))
      std::copy(from->begin(), from->end(), into);
    else
      std::fill_n(into, sector, std::byte{0});
  }

  // Writes one sector, or of a torn one the first `bytes`.
  void store(uint64_t at, const std::byte* from, bool stable, uint64_t bytes = sector) {
    Cell& cell = cells[at];
    auto content = std::make_unique<Sector>();
    load(at, content->data());
    std::copy_n(from, bytes, content->data());
    if (stable) {
      cell.stable = std::move(content);
      cell.unstable.clear();
      unstable.erase(at);
    } else {
      cell.unstable.push_back({++sequence, false, std::move(content)});
      unstable.insert(at);
    }
    cell.unreadable = false;
    damaged.erase(at);
  }

  // False: it cannot be read.
  bool load_for_reader(uint64_t at, std::byte* into) const {
    const auto instead = damaged.find(at);
    if (cells[at].unreadable || (instead != damaged.end() && instead->second == nullptr)) return false;
    if (instead != damaged.end())
      std::ranges::copy(*instead->second, into);
    else
      load(at, into);
    return true;
  }

  // Everything that was complete at `until` is now stable.
  void flush(uint64_t until) {
    for (auto it = unstable.begin(); it != unstable.end();) {
      Cell& cell = cells[*it];
      const auto at = it++;
      auto end =
          std::ranges::find_if(cell.unstable, [until](const Version& v) { return v.sequence > until; });
      auto last = end;
      while (last != cell.unstable.begin() && std::prev(last)->lost) --last;
      if (last == cell.unstable.begin()) continue;
      cell.stable = std::move(std::prev(last)->bytes);
      cell.unstable.erase(cell.unstable.begin(), last);
      if (cell.unstable.empty()) unstable.erase(at);
    }
  }
};

struct TestEnv::Request {
  IoKind kind;
  std::shared_ptr<Disk> disk;
  uint64_t offset = 0;  // grow: the new size; flush: the disk's sequence at the call
  std::vector<MutableBytes> into;
  std::vector<Bytes> from;
  ByteVector copy;  // of `from`, at the time of the call
  File::Write mode = File::Write::cached;
  Done<void> done;
  uint64_t number = 0;
  bool submitted = false;
  Instant ends;  // once submitted
};

class TestEnv::TestFile final : public File {
 public:
  TestFile(TestEnv& env, std::shared_ptr<Disk> disk)
      : env_(env), disk_(std::move(disk)), incarnation_(env.incarnation_) {}

  ~TestFile() override {
    if (incarnation_ != env_.incarnation_) return;
    for (const auto& request : env_.requests_) CHECK(request->disk != disk_);
    disk_->locked = false;
  }

  void read(uint64_t offset, std::span<const MutableBytes> into, Done<void> done) override {
    auto request = make(IoKind::read, offset, std::move(done));
    request->into.assign(into.begin(), into.end());
    for (MutableBytes piece : into) check_aligned(piece);
    env_.submit(std::move(request));
  }

  void write(uint64_t offset, std::span<const Bytes> from, Write mode, Done<void> done) override {
    auto request = make(IoKind::write, offset, std::move(done));
    request->from.assign(from.begin(), from.end());
    request->mode = mode;
    for (Bytes piece : from) {
      check_aligned(piece);
      request->copy.insert(request->copy.end(), piece.begin(), piece.end());
    }
    env_.submit(std::move(request));
  }

  void flush(Done<void> done) override { env_.submit(make(IoKind::flush, disk_->sequence, std::move(done))); }

  void grow(uint64_t size, Fill /*fill*/, Done<void> done) override {
    CHECK(size % sector == 0 && size >= disk_->size());
    env_.submit(make(IoKind::grow, size, std::move(done)));
  }

  uint64_t size() const override { return disk_->size(); }
  uint64_t free_bytes() const override { return env_.free_bytes(); }

  void discard(uint64_t offset, uint64_t length) override {
    CHECK(offset % sector == 0 && length % sector == 0 && offset + length <= disk_->size());
    if (incarnation_ != env_.incarnation_) return;
    const Sector garbage = [] {
      Sector s;
      s.fill(std::byte{0xdd});
      return s;
    }();
    for (uint64_t at = offset; at < offset + length; at += sector)
      disk_->store(at / sector, garbage.data(), false);
  }

 private:
  static void check_aligned(Bytes piece) {
    CHECK(piece.size() % sector == 0 && reinterpret_cast<uintptr_t>(piece.data()) % sector == 0);
  }

  std::unique_ptr<Request> make(IoKind kind, uint64_t offset, Done<void> done) {
    CHECK(kind == IoKind::flush || offset % sector == 0);
    auto request = std::make_unique<Request>();
    request->kind = kind;
    request->offset = offset;
    request->done = std::move(done);
    request->disk = incarnation_ == env_.incarnation_ ? disk_ : nullptr;
    return request;
  }

  TestEnv& env_;
  std::shared_ptr<Disk> disk_;
  uint64_t incarnation_;
};

Result<std::unique_ptr<File>> TestEnv::open(const std::string& path, bool create) {
  auto it = disks_.find(path);
  if (it == disks_.end()) {
    if (!create) return error(ErrorKind::not_found, "{} does not exist", path);
    it = disks_.emplace(path, std::make_shared<Disk>()).first;
    it->second->path = path;
  }
  if (it->second->locked) return error(ErrorKind::busy, "{} is in use by another process", path);
  it->second->locked = true;
  if (planted("a start does not wait for the writes of the dead process"))
    after(std::chrono::microseconds(chance_() % 50'000), [disk = it->second] { land(*disk); });
  else
    land(*it->second);
  return std::make_unique<TestFile>(*this, it->second);
}

ByteVector TestEnv::content(const std::string& path) const {
  ByteVector bytes(disks_.at(path)->size());
  read(path, 0, bytes);
  return bytes;
}

void TestEnv::read(const std::string& path, uint64_t offset, MutableBytes into) const {
  const Disk& disk = *disks_.at(path);
  CHECK(offset % sector == 0 && into.size() % sector == 0 && offset + into.size() <= disk.size());
  for (uint64_t i = 0; i < into.size(); i += sector) disk.load((offset + i) / sector, into.data() + i);
}

void TestEnv::overwrite(const std::string& path, uint64_t offset, Bytes bytes) {
  Disk& disk = *disks_.at(path);
  CHECK(offset + bytes.size() <= disk.size());
  while (!bytes.empty()) {
    Sector content;
    const uint64_t within = offset % sector;
    const uint64_t n = std::min<uint64_t>(sector - within, bytes.size());
    disk.load(offset / sector, content.data());
    std::copy_n(bytes.data(), n, content.data() + within);
    disk.store(offset / sector, content.data(), true);
    bytes = bytes.subspan(n);
    offset += n;
  }
}

void TestEnv::remove(const std::string& path) {
  CHECK(disks_.contains(path) && !disks_.at(path)->locked);
  disks_.erase(path);
}

void TestEnv::rename(const std::string& path, const std::string& to) {
  CHECK(disks_.contains(path) && !disks_.at(path)->locked && !disks_.contains(to));
  auto disk = disks_.extract(path);
  disk.key() = disk.mapped()->path = to;
  disks_.insert(std::move(disk));
}

void TestEnv::make_unreadable(const std::string& path, uint64_t offset, uint64_t length) {
  Disk& disk = *disks_.at(path);
  for (uint64_t i = offset / sector; i * sector < offset + length; ++i) disk.cells.at(i).unreadable = true;
}

TestEnv::TestEnv(uint64_t seed)
    : random_(seed),
      chance_(seed ^ 0x9e3779b97f4a7c15U),
      now_(std::chrono::seconds(1)),
      wall_start_(std::chrono::seconds(1'700'000'000)) {}

TestEnv::~TestEnv() {
  // Whatever the callbacks own may still call us while it is destroyed.
  ++incarnation_;
  auto ready = std::exchange(ready_, {});
  auto timers = std::exchange(timers_, {});
  auto hooks = std::exchange(turn_end_, {});
  auto requests = std::exchange(requests_, {});
}

void TestEnv::post(Task task) {
  ready_.push_back(std::move(task));
}

TimerId TestEnv::after(Duration delay, Task task) {
  const uint64_t id = next_timer_++;
  timers_.emplace(std::pair(now_ + std::max(delay, Duration(0)), id), std::move(task));
  return TimerId{id};
}

void TestEnv::cancel(TimerId timer) {
  const auto it =
      std::ranges::find_if(timers_, [timer](const auto& t) { return TimerId{t.first.second} == timer; });
  if (it == timers_.end()) return;
  Task dropped = std::move(it->second);  // its destructor may call us
  timers_.erase(it);
}

void TestEnv::at_turn_end(Task task) {
  turn_end_.push_back(std::move(task));
}

void TestEnv::offload(Task work, Task done) {
  post([this, work = std::move(work), done = std::move(done)]() mutable {
    work();
    post(std::move(done));
  });
}

uint64_t TestEnv::free_bytes() const {
  uint64_t used = 0;
  for (const auto& [path, disk] : disks_) used += disk->size();
  return space_ > used ? space_ - used : 0;
}

bool TestEnv::fire_timers() {
  bool any = false;
  while (!timers_.empty() && timers_.begin()->first.first <= now_) {
    ready_.push_back(std::move(timers_.begin()->second));
    timers_.erase(timers_.begin());
    any = true;
  }
  return any;
}

std::optional<Instant> TestEnv::next_event() const {
  if (in_turn_ || !ready_.empty()) return now_;
  std::optional<Instant> next;
  if (!timers_.empty()) next = timers_.begin()->first.first;
  if (io_held_) return next;
  for (const auto& request : requests_)
    if (request->submitted && request->number < stall_at_ && (!next || request->ends < *next))
      next = request->ends;
  return next;
}

bool TestEnv::run_one() {
  if (!in_turn_) {
    fire_timers();
    if (ready_.empty() && !end_io()) return false;
    turn_left_ = ready_.size();
    in_turn_ = true;
  }
  if (turn_left_ == 0) {
    end_turn();
    return true;
  }
  --turn_left_;
  Task task = std::move(ready_.front());
  ready_.pop_front();
  task();
  return true;
}

void TestEnv::end_turn() {
  in_turn_ = false;
  for (size_t i = 0; i < turn_end_.size(); ++i) turn_end_[i]();
  for (auto& request : requests_) {
    if (request->submitted) continue;
    request->submitted = true;
    request->ends =
        now_ + (io_latency_of_ ? io_latency_of_(request->disk->path, request->kind) : io_latency_);
  }
}

void TestEnv::run_until_idle() {
  if (!in_turn_) in_turn_ = true;  // what was called from outside the loop gets its turn end as well
  for (;;) {
    while (run_one()) {
    }
    if (io_held_) return;
    std::optional<Instant> next;
    for (const auto& request : requests_)
      if (request->number < stall_at_ && (!next || request->ends < *next)) next = request->ends;
    if (!next) return;
    if (!timers_.empty()) next = std::min(*next, timers_.begin()->first.first);
    now_ = std::max(now_, *next);
  }
}

bool TestEnv::run_until(const std::function<bool()>& condition) {
  if (!in_turn_) in_turn_ = true;
  while (!condition()) {
    if (!run_one()) {
      run_until_idle();
      return condition();
    }
  }
  return true;
}

void TestEnv::advance(Duration duration) {
  const Instant until = now_ + duration;
  run_until_idle();
  while (!timers_.empty() && timers_.begin()->first.first <= until) {
    now_ = std::max(now_, timers_.begin()->first.first);
    run_until_idle();
  }
  now_ = std::max(now_, until);
  run_until_idle();
}

size_t TestEnv::io_under_way() const {
  return requests_.size();
}

void TestEnv::submit(std::unique_ptr<Request> request) {
  if (request->disk == nullptr) return;  // of a dead process
  request->number = io_count_++;
  if (write_observer_ && request->kind == IoKind::write)
    write_observer_(request->disk->path, request->offset, request->copy);
  requests_.push_back(std::move(request));
}

// Ends I/O whose time has come: its effect happens now, its callback is ready. False if there was none.
bool TestEnv::end_io() {
  if (io_held_) return false;
  std::vector<size_t> due;
  for (size_t i = 0; i < requests_.size(); ++i) {
    const Request& r = *requests_[i];
    if (r.submitted && r.ends <= now_ && r.number < stall_at_) due.push_back(i);
  }
  if (due.empty()) return false;
  if (io_shuffled_) {
    std::ranges::shuffle(due, chance_);
    due.resize(1 + chance_() % due.size());
  }
  std::vector<std::unique_ptr<Request>> ended;
  ended.reserve(due.size());
  for (size_t i : due) ended.push_back(std::move(requests_[i]));
  std::erase(requests_, nullptr);
  for (auto& request : ended) perform(*request);
  return true;
}

std::optional<ErrorKind> TestEnv::fault_of(const Request& request) {
  for (IoFault& fault : faults_) {
    if (fault.count == 0 || (!fault.path.empty() && fault.path != request.disk->path)) continue;
    if (fault.kind && *fault.kind != request.kind) continue;
    if (fault.skip > 0) {
      --fault.skip;
      continue;
    }
    --fault.count;
    return fault.error;
  }
  return fault_ ? fault_(request.disk->path, request.kind) : std::nullopt;
}

void TestEnv::perform(Request& request) {
  Disk& disk = *request.disk;
  const std::optional<ErrorKind> fault = fault_of(request);
  Result<void> result;
  if (fault) result = error(*fault, "{}: injected fault", disk.path);

  switch (request.kind) {
    case IoKind::read: {
      uint64_t at = request.offset / sector;
      for (MutableBytes piece : request.into) {
        for (uint64_t i = 0; i < piece.size(); i += sector, ++at) {
          if (!result) break;
          if (at >= disk.cells.size())
            result = error(ErrorKind::io, "{}: read behind the end", disk.path);
          else if (!disk.load_for_reader(at, piece.data() + i))
            result = error(ErrorKind::io, "{}: unreadable sector at {}", disk.path, at * sector);
        }
      }
      if (result && misread_ && misread_(disk.path)) misread(request);
      break;
    }
    case IoKind::write: {
      size_t done = 0;
      for (Bytes piece : request.from) {
        CHECK(std::ranges::equal(piece, Bytes(request.copy).subspan(done, piece.size())));
        done += piece.size();
      }
      if (request.offset + done > disk.size()) {
        result = error(ErrorKind::io, "{}: write behind the end", disk.path);
        break;
      }
      write(request, done, fault.has_value());
      break;
    }
    case IoKind::flush:
      if (!fault) {
        disk.flush(request.offset);
      } else {
        for (const uint64_t at : disk.unstable)
          for (Disk::Version& version : disk.cells[at].unstable) version.lost = true;
      }
      break;
    case IoKind::grow: {
      if (!result) break;
      if (request.offset > disk.size() && request.offset - disk.size() > free_bytes())
        result = error(ErrorKind::no_space, "{}: no space left", disk.path);
      else
        disk.cells.resize(std::max<size_t>(disk.cells.size(), request.offset / sector));
      break;
    }
  }
  ready_.push_back(
      [done = std::move(request.done), result = std::move(result)]() mutable { done(std::move(result)); });
}

void TestEnv::write(Request& request, uint64_t bytes, bool failed) {
  Disk& disk = *request.disk;
  const std::optional<Damage> damage = !failed && damaging_ ? damaging_(disk.path) : std::nullopt;
  const uint64_t first = request.offset / sector, sectors = bytes / sector;
  std::vector<std::unique_ptr<Sector>> before;
  for (uint64_t i = 0; damage == Damage::misdirected && i < sectors; ++i) {
    before.push_back(std::make_unique<Sector>());
    disk.load(first + i, before[i]->data());
  }
  for (uint64_t i = 0; i < sectors; ++i) {
    const SectorFate fate = failed ? draw_fate() : SectorFate::keep;
    if (fate == SectorFate::drop) continue;
    disk.store(first + i, request.copy.data() + i * sector, !failed && request.mode == File::Write::durable,
               fate == SectorFate::tear ? tear_unit * (1 + chance_() % 7) : sector);
  }
  if (!damage) return;
  const uint64_t victim = chance_() % sectors;
  const auto written = [&](uint64_t i) {
    auto copy = std::make_unique<Sector>();
    std::copy_n(request.copy.data() + i * sector, sector, copy->begin());
    return copy;
  };
  if (*damage == Damage::unreadable) {
    disk.damaged[first + victim] = nullptr;
  } else if (*damage == Damage::rotten) {
    disk.damaged[first + victim] = written(victim);
    (*disk.damaged[first + victim])[chance_() % sector] ^= static_cast<std::byte>(1U << (chance_() % 8));
  } else {
    const uint64_t place = chance_() % (disk.cells.size() - sectors + 1);
    for (uint64_t i = 0; i < sectors; ++i) disk.damaged[place + i] = written(i);
    for (uint64_t i = 0; i < sectors; ++i)
      if (first + i < place || first + i >= place + sectors) disk.damaged[first + i] = std::move(before[i]);
  }
}

void TestEnv::heal(const std::string& path) {
  if (const auto it = disks_.find(path); it != disks_.end()) it->second->damaged.clear();
}

void TestEnv::misread(Request& request) {
  MutableBytes piece = request.into[chance_() % request.into.size()];
  if (chance_() % 2 == 0) {
    piece[chance_() % piece.size()] ^= static_cast<std::byte>(1U << (chance_() % 8));
  } else {
    const Disk& disk = *request.disk;
    disk.load(chance_() % disk.cells.size(), piece.data() + chance_() % (piece.size() / sector) * sector);
  }
}

SectorFate TestEnv::draw_fate() {
  const uint64_t n = chance_() % 16;
  return n < 7 ? SectorFate::keep : n < 14 ? SectorFate::drop : SectorFate::tear;
}

void TestEnv::crash() {
  // Half of all crashes treat sectors one by one; the others lose or keep everything.
  const uint64_t kind = chance_() % 4;
  crash([this, kind](const std::string&, uint64_t) {
    return kind == 0 ? SectorFate::keep : kind == 1 ? SectorFate::drop : draw_fate();
  });
}

// What the callbacks own may call us while it is destroyed.
void TestEnv::drop_callbacks(std::vector<std::unique_ptr<Request>>& requests) {
  ++incarnation_;
  io_held_ = in_turn_ = false;
  turn_left_ = 0;
  stall_at_ = UINT64_MAX;
  requests = std::exchange(requests_, {});
  auto ready = std::exchange(ready_, {});
  auto timers = std::exchange(timers_, {});
  auto hooks = std::exchange(turn_end_, {});
  for (auto& [path, disk] : disks_) disk->locked = false;
}

// The lock of the dead process is gone with its last write.
void TestEnv::land(Disk& disk) {
  for (const Disk::Late& late : std::exchange(disk.late, {}))
    disk.store(late.at, late.bytes.data(), late.stable);
}

void TestEnv::kill() {
  std::vector<std::unique_ptr<Request>> requests;
  drop_callbacks(requests);
  for (const auto& request : requests) {
    if (request->kind != IoKind::write || chance_() % 2 == 0) continue;
    // A durable one may be over but for its flush.
    const bool stable = request->mode == File::Write::durable && chance_() % 2 == 0;
    const bool late = chance_() % 2 == 0;
    for (uint64_t i = 0; i < request->copy.size(); i += sector) {
      const uint64_t at = (request->offset + i) / sector;
      if (at >= request->disk->cells.size()) continue;
      if (late)
        std::copy_n(request->copy.data() + i, sector,
                    request->disk->late.emplace_back(Disk::Late{at, stable, {}}).bytes.begin());
      else
        request->disk->store(at, request->copy.data() + i, stable);
    }
  }
}

void TestEnv::crash(const Fate& fate) {
  std::vector<std::unique_ptr<Request>> requests;
  drop_callbacks(requests);

  auto settle = [this, &fate](Disk& disk, uint64_t at, const std::byte* bytes) {
    const SectorFate f = fate(disk.path, at * sector);
    if (f == SectorFate::drop) return;
    disk.store(at, bytes, true, f == SectorFate::tear ? tear_unit * (1 + chance_() % 7) : sector);
  };
  for (auto& [path, disk] : disks_) {
    for (const Disk::Late& late : std::exchange(disk->late, {}))
      disk->store(late.at, late.bytes.data(), false);
    for (const uint64_t at : std::exchange(disk->unstable, {}))
      for (const Disk::Version& version : std::exchange(disk->cells[at].unstable, {}))
        settle(*disk, at, version.bytes->data());
  }
  for (const auto& request : requests) {
    if (request->kind != IoKind::write) continue;
    for (uint64_t i = 0; i < request->copy.size(); i += sector) {
      const uint64_t at = (request->offset + i) / sector;
      if (at < request->disk->cells.size()) settle(*request->disk, at, request->copy.data() + i);
    }
  }
}

}  // namespace perdure::env
