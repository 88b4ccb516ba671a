#include "sim/rehearsal.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>

#include "nfs4/machine.h"
#include "sim/network.h"

namespace perdure::sim {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::seconds;

namespace {

constexpr env::Duration phase_max = seconds(3600);
constexpr env::Duration io_stall = milliseconds(30);  // until nothing can happen without the I/O
constexpr unsigned hang_seconds = 60;
constexpr uint64_t failures_shown_max = 3;
constexpr int deaths_in_a_row = 4;

Profile fixed_profile(const Scenario& scenario) {
  Profile p;
  p.net_delay_min = microseconds(50);
  p.io_min = microseconds(100);
  p.restart_delay_max = milliseconds(1);
  p.log_bytes = uint64_t{scenario.log_megabytes} << 20U;  // starts read all of it
  p.checkpoint_interval = seconds(100'000);
  p.lease_seconds = scenario.lease_seconds;
  p.small_steps = scenario.small_steps;
  p.kv_needs_io_percent = scenario.cold ? 100 : 0;
  return p;
}

class Rehearsal {
 public:
  explicit Rehearsal(const RehearsalOptions& options)
      : options_(options),
        plan_(options.plan),
        exploring_(options.tally != nullptr),
        world_(1, fixed_profile(*options.scenario)) {
    if (options.print_trace) world_.keep_trace(1, true);
    blade_.after_each_step([this] {
      if (acting_) after_step();
    });
    stage_.emplace(world_);
  }

  Performance run();

 private:
  void play();
  void play_act();
  void perform(const char* what, Task<> task);
  void judge();
  [[noreturn]] void end_fork();

  void after_step();
  void at_callback();
  void note_machines();
  void at_io_request();
  void after_death();
  void explore_io();
  void explore_callback();
  bool fork_run(const CrashPlan& plan, uint64_t& count);
  void stall_io();
  void die(Crash crash);

  const RehearsalOptions options_;
  CrashPlan plan_;
  bool exploring_;  // forks at every point
  bool exploring_second_ = false;
  bool forked_ = false;
  World world_;
  Blade& blade_ = world_.blade();
  std::optional<Stage> stage_;
  bool acting_ = false, stalled_ = false;
  uint64_t callbacks_ = 0, then_ = 0, io_at_ = 0, since_death_ = 0;
  int deaths_ = 0;
  Performance found_;
};

// -------------------------------------------------------------------------------------------- the play

Performance Rehearsal::run() {
  play();
  judge();
  found_.failure = world_.failure();
  if (forked_) end_fork();
  return std::move(found_);
}

void Rehearsal::play() {
  const Scenario& scenario = *options_.scenario;
  const auto serving = [this] { return blade_.serving(); };
  const auto start_again = [&] {
    blade_.restart_cleanly();
    world_.run("a clean stop", phase_max, [this] { return blade_.down(); });
    world_.run("a start", phase_max, serving);
  };
  blade_.start();
  world_.run("the first start", phase_max, serving);
  perform("setup", stage_->setup());
  if (scenario.prepare != nullptr) perform("prepare", scenario.prepare(*stage_));
  perform("settle", stage_->settle());
  if (scenario.cold && !world_.failed()) {
    start_again();
    perform("settle", stage_->settle());
  }
  play_act();
  if (scenario.follow != nullptr) perform("follow", scenario.follow(*stage_));
  perform("settle", stage_->settle());
  perform("look", stage_->look());
  perform("settle", stage_->settle());
  if (world_.failed()) return;
  blade_.check();
  stage_->count();
  if (plan_.then != 0) return;  // it takes long
  start_again();
  stage_->count();
  stage_->count_blocks();
}

void Rehearsal::perform(const char* what, Task<> task) {
  if (world_.failed()) return;
  bench::TaskGroup tasks;
  tasks.spawn(std::move(task));
  world_.run(what, phase_max, [&] { return tasks.all_done(); });
}

void Rehearsal::play_act() {
  if (world_.failed()) return;
  world_.trace("---- act");
  io_at_ = blade_.env().io_count();
  if (exploring_) explore_io();
  acting_ = true;
  stage_->let_act(true);
  if (plan_.io) stall_io();
  bench::TaskGroup tasks;
  tasks.spawn(options_.scenario->act(*stage_));
  world_.run("act", phase_max, [&] { return tasks.all_done() && blade_.at_rest(); });
  acting_ = false;
  stage_->let_act(false);
  found_.io_requests = blade_.env().io_count() - io_at_;
  world_.trace("---- follow");
}

void Rehearsal::judge() {
  found_.outcome = stage_->lines();
  found_.operations = stage_->operations();
  if (world_.failed() || options_.expected == nullptr) return;
  if (plan_.point != 0 && deaths_ == 0) world_.fail("there is no such point");
  std::vector<std::string> expected = options_.expected->outcome;
  if (plan_.then != 0) expected.resize(expected.size() - 2);  // see play()
  for (size_t i = 0; i < std::max(expected.size(), found_.outcome.size()); ++i) {
    const std::string& wanted = i < expected.size() ? expected[i] : "nothing";
    const std::string& got = i < found_.outcome.size() ? found_.outcome[i] : "nothing";
    if (wanted != got) return world_.fail("without a crash: {}; with it: {}", wanted, got);
  }
}

void Rehearsal::end_fork() {
  if (world_.failed()) {
    if (++options_.tally->failures <= failures_shown_max)
      fmt::print("FAILED: {}\nreplay: perdure-sim --exhaustive {}\n", world_.failure(),
                 describe(*options_.scenario, plan_));
    fflush(stdout);
  }
  _exit(0);
}

// -------------------------------------------------------------------------------------------- the points

void Rehearsal::after_step() {
  if (deaths_ != 0) return after_death();
  if (plan_.io) return at_io_request();
  at_callback();
}

void Rehearsal::at_callback() {
  ++callbacks_;
  const uint64_t happened = world_.hash() * 31 +
                            static_cast<uint64_t>(world_.now().time_since_epoch().count()) +
                            (blade_.env().io_count() << 32U);
  found_.hashes.push_back(happened);
  note_machines();
  if (exploring_) {
    const std::vector<uint64_t>& hashes = options_.expected->hashes;
    if (callbacks_ > hashes.size() || hashes[callbacks_ - 1] != happened)
      return world_.fail("the same scenario does not do the same again, at callback {}", callbacks_);
    explore_callback();
  }
  if (plan_.point == callbacks_) die(plan_.crash);
}

// What stands in the log and would go on after a crash.
void Rehearsal::note_machines() {
  if (!blade_.serving()) return;
  blade_.vserver().processor().transactions().for_each(
      [&](const processor::TransactionRow::Key&, const processor::TransactionRow& row) {
        found_.machines.kinds.set(std::to_underlying(row.kind));
        if (row.kind != processor::Kind::compound) return;
        if (const auto machine = nfs4::decode_machine(row.machine))
          found_.machines.registers.set(machine->registers.own.index());
      });
}

void Rehearsal::at_io_request() {
  if (stalled_ || blade_.env().io_count() - io_at_ < plan_.point) return;
  stalled_ = true;
  world_.after(io_stall, [this] { die(plan_.crash); });
}

void Rehearsal::stall_io() {
  blade_.env().stall_io_after(plan_.point - 1);
}

void Rehearsal::die(Crash crash) {
  ++deaths_;
  since_death_ = 0;
  world_.trace("---- point {}: {}", plan_.point, crash_name(crash));
  // The answers that a killed process has sent still arrive.
  if (crash != Crash::kill) world_.network().cut_all();
  switch (crash) {
    case Crash::kill:
      return blade_.kill();
    case Crash::keep:
      return blade_.power_cut(env::SectorFate::keep);
    case Crash::drop:
      return blade_.power_cut(env::SectorFate::drop);
    case Crash::tear:
      return blade_.power_cut(env::SectorFate::tear);
  }
}

void Rehearsal::after_death() {
  if (deaths_ == 1) {
    ++then_;
    if (exploring_second_ && (then_ - 1) % options_.sample == 0) {
      CrashPlan plan = plan_;
      plan.then = then_;
      fork_run(plan, options_.tally->second_runs);
    }
    if (plan_.then == then_) die(plan_.then_crash());
  } else if (deaths_ < deaths_in_a_row) {
    // Once more in the middle of the restoration, and then as soon as that is over.
    ++since_death_;
    if ((deaths_ == 2 && since_death_ == plan_.then) || blade_.serving())
      die(crashes[(plan_.then + static_cast<uint64_t>(deaths_)) % std::size(crashes)]);
  }
}

// ------------------------------------------------------------------------------------------------ forking

// In the new process: true, and it goes on with this plan.
bool Rehearsal::fork_run(const CrashPlan& plan, uint64_t& count) {
  ++count;
  fflush(stdout);
  const pid_t pid = fork();
  if (pid == 0) {
    alarm(hang_seconds);
    plan_ = plan;
    exploring_ = exploring_second_ = false;
    forked_ = true;
    return true;
  }
  int status = 0;
  waitpid(pid, &status, 0);
  if (!WIFSIGNALED(status)) return false;
  if (++options_.tally->failures <= failures_shown_max)
    fmt::print("FAILED: {}\nreplay: perdure-sim --exhaustive {}\n",
               WTERMSIG(status) == SIGALRM ? "it hangs" : strsignal(WTERMSIG(status)),
               describe(*options_.scenario, plan));
  return false;
}

void Rehearsal::explore_io() {
  for (uint64_t n = 1; n <= options_.expected->io_requests; n += options_.sample)
    for (const Crash crash : crashes)
      if (fork_run({.point = n, .io = true, .crash = crash}, options_.tally->runs[std::to_underlying(crash)]))
        return;
}

void Rehearsal::explore_callback() {
  if ((callbacks_ - 1) % options_.sample != 0) return;
  const uint64_t sampled = (callbacks_ - 1) / options_.sample;
  // In the middle of a short scenario, where something has happened and not everything. The first crash is
  // another one in each scenario.
  const uint64_t every = options_.second_sample;
  const uint64_t all = (options_.expected->hashes.size() + options_.sample - 1) / options_.sample;
  const uint64_t kind = sampled / every + std::strlen(options_.scenario->name);
  for (const Crash crash : crashes) {
    const bool again =
        sampled % every == std::min(all, every) / 2 && crash == crashes[kind % std::size(crashes)];
    if (!fork_run({.point = callbacks_, .crash = crash}, options_.tally->runs[std::to_underlying(crash)]))
      continue;
    exploring_second_ = again;
    return;
  }
}

}  // namespace

const char* crash_name(Crash crash) {
  switch (crash) {
    case Crash::kill:
      return "kill";
    case Crash::keep:
      return "keep";
    case Crash::drop:
      return "drop";
    case Crash::tear:
      return "tear";
  }
  return "";
}

std::string describe(const Scenario& scenario, const CrashPlan& plan) {
  std::string line = fmt::format("--scenario {}", scenario.name);
  if (plan.point == 0) return line;
  line += fmt::format(" --point {}{} --crash {}", plan.io ? "io" : "", plan.point, crash_name(plan.crash));
  if (plan.then != 0) line += fmt::format(" --then {}", plan.then);
  return line;
}

Performance rehearse(const RehearsalOptions& options) {
  return Rehearsal(options).run();
}

}  // namespace perdure::sim
