#include "bench/crash/crash_run.h"

#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "bench/crash/crash_worker.h"
#include "bench/crash/disturber.h"
#include "bench/crash/tree_reader.h"
#include "bench/remove_tree.h"
#include "bench/report.h"

namespace perdure::bench {
namespace {

constexpr int exit_wrong = 1;
constexpr int exit_failed = 2;
constexpr size_t printed_max = 20;

// What a test came to.
struct Report {
  bool persistent = false;
  std::map<std::string, uint64_t> acknowledged;
  uint64_t checks = 0;
  uint64_t verifier_changes = 0;
  uint64_t kills = 0;
  uint64_t cuts = 0;
  std::vector<Nanoseconds> resumed_after;
  ClientCounters counters;
  std::vector<std::string> failures;
  std::vector<Difference> differences;

  bool good() const { return failures.empty() && differences.empty(); }
};

// Sorts ascending and gives the value at a fraction.
Nanoseconds at_fraction(std::vector<Nanoseconds> v, double fraction) {
  if (v.empty()) return 0;
  std::ranges::sort(v);
  return v[static_cast<size_t>(fraction * static_cast<double>(v.size() - 1))];
}

uint64_t count(const std::vector<Difference>& differences, Difference::Kind kind) {
  return static_cast<uint64_t>(std::ranges::count(differences, kind, &Difference::kind));
}

uint64_t total(const std::map<std::string, uint64_t>& counts) {
  uint64_t n = 0;
  for (const auto& [what, c] : counts) n += c;
  return n;
}

std::string_view kind_name(Difference::Kind kind) {
  switch (kind) {
    case Difference::Kind::lost:
      return "LOST";
    case Difference::Kind::resurrected:
      return "RESURRECTED";
    case Difference::Kind::wrong:
      return "WRONG";
  }
  return "?";
}

void print_json(const Report& r) {
  nlohmann::ordered_json j;
  j["good"] = r.good();
  j["persistent_session"] = r.persistent;
  j["acknowledged"] = total(r.acknowledged);
  j["acknowledged_by_operation"] = r.acknowledged;
  j["checks"] = r.checks;
  j["kills"] = r.kills;
  j["cuts"] = r.cuts;
  j["connections_lost"] = r.counters.connections_lost;
  j["requests_sent_again"] = r.counters.requests_sent_again;
  j["planted"] = r.counters.planted;
  j["write_verifier_changes"] = r.verifier_changes;
  j["longest_pause_ns"] = r.counters.longest_pause;
  for (const ClientCounters::Pause& pause : r.counters.pauses)
    j["pauses_ns"].push_back({{"ended_at", pause.ended_at}, {"length", pause.length}});
  j["resumed_after_kill_ns"] = r.resumed_after;
  j["lost"] = count(r.differences, Difference::Kind::lost);
  j["resurrected"] = count(r.differences, Difference::Kind::resurrected);
  j["wrong"] = count(r.differences, Difference::Kind::wrong);
  j["failures"] = r.failures;
  fmt::print("{}\n", j.dump());
}

void print_work(const Report& r) {
  if (!r.persistent)
    fmt::print("the server grants no persistent session: it does not promise to survive a kill\n");
  fmt::print("acknowledged {} operations:", total(r.acknowledged));
  for (const auto& [what, n] : r.acknowledged) fmt::print(" {} {}", what, n);
  fmt::print("\nreads compared {}; connections lost {}, requests sent again {}, write verifier changes {}\n",
             r.checks, r.counters.connections_lost, r.counters.requests_sent_again, r.verifier_changes);
  if (r.counters.planted != 0) fmt::print("planted {} double executions\n", r.counters.planted);
  fmt::print("kills {}, cuts {}; longest pause between answers {}\n", r.kills, r.cuts,
             duration_text(r.counters.longest_pause));
  if (!r.resumed_after.empty())
    fmt::print("from kill to first answer: median {}, longest {}\n",
               duration_text(at_fraction(r.resumed_after, 0.5)),
               duration_text(at_fraction(r.resumed_after, 1)));
}

void print_outcome(const Report& r) {
  for (size_t i = 0; i < std::min(r.failures.size(), printed_max); ++i)
    fmt::print("FAILED {}\n", r.failures[i]);
  for (size_t i = 0; i < std::min(r.differences.size(), printed_max); ++i)
    fmt::print("{} {}\n", kind_name(r.differences[i].kind), r.differences[i].what);
  fmt::print("{}: lost {}, resurrected {}, wrong {}, answers that cannot be {}\n",
             r.good() ? "good" : "NOT GOOD", count(r.differences, Difference::Kind::lost),
             count(r.differences, Difference::Kind::resurrected),
             count(r.differences, Difference::Kind::wrong), r.failures.size());
}

int print(const Report& report, const CrashOptions& options, bool worked) {
  if (options.json) {
    print_json(report);
  } else {
    if (worked) print_work(report);
    print_outcome(report);
  }
  std::fflush(stdout);
  return report.good() ? 0 : exit_wrong;
}

int could_not_run(const Error& e) {
  fmt::print(stderr, "perdure bench: {}\n", e.message);
  return exit_failed;
}

// ---- the work
// ---------------------------------------------------------------------------------------------------------

Task<> make_directory(CrashShared& shared, Slot& slot, const std::string& name) {
  NfsStatus status = co_await mkdir(slot, shared.client.root(), name, shared.directory);
  if (status != NfsStatus::NFS4_OK)
    co_return shared.client.stop(fmt::format("{}: {}", name, status_name(status)));
  for (uint32_t i = 0; i < shared.options.counters; ++i) {
    OpenFile file;
    do {
      status =
          co_await create(slot, shared.directory, counter_name(i), "crash", CreateMode::UNCHECKED4, file);
    } while (co_await wait_and_repeat(slot, status));
    if (status == NfsStatus::NFS4_OK) status = co_await close(slot, file);
    if (status != NfsStatus::NFS4_OK)
      co_return shared.client.stop(fmt::format("{}: {}", counter_name(i), status_name(status)));
    shared.counters.push_back(file.fh);
    shared.counter_held.push_back(false);
  }
}

Result<void> prepare(CrashShared& shared, std::deque<CrashWorker>& workers, const std::string& directory) {
  {
    TaskGroup tasks;
    tasks.spawn(make_directory(shared, shared.client.slot(0), directory));
    TRY(shared.client.run(tasks));
  }
  TaskGroup tasks;
  for (CrashWorker& w : workers) tasks.spawn(w.prepare());
  return shared.client.run(tasks);
}

// The workers end with what they are at when the standard input has.
void watch_input(CrashShared& shared) {
  pollfd input{STDIN_FILENO, POLLIN, 0};
  char byte = 0;
  if (::poll(&input, 1, 0) > 0 && ::read(STDIN_FILENO, &byte, 1) <= 0) {
    shared.until = 0;
    return;
  }
  shared.client.loop().at(clock_now() + milliseconds(50), [&shared] { watch_input(shared); });
}

Result<void> work(CrashShared& shared, std::deque<CrashWorker>& workers, Disturber& disturber) {
  Client& client = shared.client;
  disturber.start();
  shared.until = clock_now() + static_cast<Nanoseconds>(shared.options.seconds * 1e9);
  client.reset_pause();
  if (shared.options.stop_on_eof) watch_input(shared);
  TaskGroup tasks;
  for (CrashWorker& w : workers) tasks.spawn(w.run());
  return client.run(tasks);
}

// ---- the comparison
// ---------------------------------------------------------------------------------------------------

// What to compare one worker's directory with.
struct Expected {
  const Model* model;
  const std::optional<Action>* pending;
};

class Verification {
 public:
  Verification(Client& client, std::string directory, std::vector<Expected> expected)
      : client_(client), directory_name_(std::move(directory)), expected_(std::move(expected)) {}

  Result<std::vector<Difference>> run(const std::vector<std::pair<uint64_t, uint64_t>>& counters) {
    {
      TaskGroup tasks;
      tasks.spawn(begin(client_.slot(0), counters));
      TRY(client_.run(tasks));
    }
    TaskGroup tasks;
    for (size_t i = 0; i < client_.slots(); ++i) tasks.spawn(compare_some(client_.slot(i)));
    TRY(client_.run(tasks));
    return std::move(differences_);
  }

 private:
  void give_up(const std::string& what, NfsStatus status) {
    client_.stop(fmt::format("reading {} back: {}", what, status_name(status)));
  }

  // The directory and the counters; those are acknowledged and pending increments.
  Task<> begin(Slot& slot, const std::vector<std::pair<uint64_t, uint64_t>>& counters) {
    Attributes attributes;
    NfsStatus status = co_await lookup(slot, client_.root(), directory_name_, directory_, attributes);
    if (status != NfsStatus::NFS4_OK) co_return give_up(directory_name_, status);
    for (size_t i = 0; i < counters.size(); ++i) {
      FileHandle fh;
      uint64_t value = 0;
      status = co_await lookup(slot, directory_, counter_name(i), fh, attributes);
      while (status == NfsStatus::NFS4_OK) {
        status = co_await read_counter(slot, fh, value);
        if (!co_await wait_and_repeat(slot, status)) break;
        status = NfsStatus::NFS4_OK;
      }
      if (status != NfsStatus::NFS4_OK) co_return give_up(counter_name(i), status);
      if (auto d = compare_counter(i, counters[i].first, counters[i].second, value))
        differences_.push_back(*d);
    }
  }

  Task<> compare_some(Slot& slot) {
    while (next_ < expected_.size()) {
      const size_t worker = next_++;
      const std::string name = worker_directory(worker);
      FileHandle fh;
      Attributes attributes;
      FoundTree found;
      NfsStatus status = co_await lookup(slot, directory_, name, fh, attributes);
      if (status == NfsStatus::NFS4ERR_NOENT) {
        differences_.push_back({Difference::Kind::lost, name + ": is not there"});
        continue;
      }
      while (status == NfsStatus::NFS4_OK) {
        found.clear();
        status = co_await read_tree(slot, fh, file_blocks_max, found);
        if (!co_await wait_and_repeat(slot, status)) break;
        status = NfsStatus::NFS4_OK;
      }
      if (status != NfsStatus::NFS4_OK) co_return give_up(name, status);
      for (Difference& d : compare(*expected_[worker].model, *expected_[worker].pending, found)) {
        d.what = name + "/" + d.what;
        differences_.push_back(std::move(d));
      }
    }
  }

  static constexpr size_t file_blocks_max = 1 << 16;

  Client& client_;
  const std::string directory_name_;
  FileHandle directory_;
  std::vector<Expected> expected_;
  size_t next_ = 0;
  std::vector<Difference> differences_;
};

// With a client of its own, so that nothing depends on the state of the one that did the work.
Result<std::vector<Difference>> verify(const CrashOptions& options, const std::string& directory,
                                       std::vector<Expected> expected,
                                       const std::vector<std::pair<uint64_t, uint64_t>>& counters,
                                       bool remove) {
  ClientOptions client_options = options.client;
  client_options.sessions = Sessions::per_connection;
  const std::unique_ptr<Client> client = TRY(Client::create(client_options));
  TRY(client->start());
  auto differences = TRY(Verification(*client, directory, std::move(expected)).run(counters));
  if (remove && differences.empty()) TRY(remove_tree(*client, client->root(), directory));
  client->finish();
  return differences;
}

}  // namespace

int run_crash_test(const CrashOptions& options) {
  const std::string directory = fmt::format("{}.{:x}", options.directory, clock_now());
  auto client = Client::create(options.client);
  if (!client) return could_not_run(client.error());
  if (const auto started = (*client)->start(); !started) return could_not_run(started.error());
  auto journal = Journal::create(options.journal, directory, (*client)->slots(), options.counters);
  if (!journal) return could_not_run(journal.error());

  CrashShared shared{.options = options, .client = **client, .journal = *journal};
  std::deque<CrashWorker> workers;
  for (size_t i = 0; i < (*client)->slots(); ++i) workers.emplace_back(shared, (*client)->slot(i));
  if (const auto prepared = prepare(shared, workers, directory); !prepared)
    return could_not_run(prepared.error());
  Disturber disturber(**client, options.disturb, options.seed);
  const auto worked = work(shared, workers, disturber);
  disturber.stop();

  Report report;
  report.persistent = (*client)->persistent();
  report.acknowledged = shared.acknowledged;
  report.checks = shared.checks;
  report.verifier_changes = shared.verifier_changes;
  report.kills = disturber.kills();
  report.cuts = disturber.cuts();
  report.resumed_after = disturber.resumed_after();
  report.counters = (*client)->counters();
  report.failures = shared.failures;
  if (!worked) report.failures.push_back("the client had to stop: " + worked.error().message);
  (*client)->finish();

  std::vector<Expected> expected;
  std::vector<std::pair<uint64_t, uint64_t>> counters(options.counters);
  for (const CrashWorker& w : workers) {
    expected.push_back({&w.model(), &w.pending()});
    for (const auto& [counter, n] : w.model().increments()) counters[counter].first += n;
    if (w.pending() && w.pending()->kind == Action::Kind::increment) ++counters[w.pending()->first].second;
  }
  const bool remove = !options.keep && report.failures.empty();
  if (auto differences = verify(options, directory, std::move(expected), counters, remove))
    report.differences = std::move(*differences);
  else
    report.failures.push_back("comparison: " + differences.error().message);
  return print(report, options, true);
}

int run_crash_verify(const CrashOptions& options) {
  const auto expectation = read_journal(options.journal);
  if (!expectation) return could_not_run(expectation.error());
  std::vector<Expected> expected;
  for (size_t i = 0; i < expectation->models.size(); ++i)
    expected.push_back({&expectation->models[i], &expectation->pending[i]});
  std::vector<std::pair<uint64_t, uint64_t>> counters;
  for (size_t i = 0; i < expectation->counters; ++i)
    counters.emplace_back(expectation->acknowledged_increments(i), expectation->pending_increments(i));
  auto differences = verify(options, expectation->directory, std::move(expected), counters, false);
  if (!differences) return could_not_run(differences.error());
  Report report;
  report.differences = std::move(*differences);
  return print(report, options, false);
}

}  // namespace perdure::bench
