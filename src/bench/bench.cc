#include "bench/bench.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <thread>

#include "bench/report.h"
#include "bench/workload.h"

namespace perdure::bench {
namespace {

constexpr int exit_errors = 1;
constexpr int exit_failed = 2;

bool is_local(std::string_view name) {
  return std::ranges::any_of(local_workloads(), [&](const auto& e) { return e.name == name; });
}

// The local work that a workload over NFS has to be compared with.
std::string_view local_counterpart(std::string_view workload) {
  if (workload == "create") return "local-create";
  if (workload == "randwrite4k-sync") return "local-odsync";
  return "";
}

Result<CellResult> run_cell(const std::string& workload, const Target& target, const BenchOptions& options) {
  if (is_local(workload)) return run_local(workload, options.local);
  const WorkloadEntry* entry = find_workload(workload);
  CHECK(entry != nullptr);
  ClientOptions client_options = options.client;
  client_options.server = target.server;
  client_options.path = target.path;
  CellOptions cell_options = options.cell;
  cell_options.server_pid = target.pid;
  const std::unique_ptr<Client> client = TRY(Client::create(client_options));
  TRY(client->start());
  const std::unique_ptr<Workload> work = entry->make();
  CellResult result;
  {
    Cell cell(*client, cell_options, *work, workload);
    result = TRY(cell.run());
  }
  client->finish();
  result.server = target.label;
  return result;
}

void settle(const BenchOptions& options) {
  sync();
  std::this_thread::sleep_for(std::chrono::duration<double>(options.settle_seconds));
}

class Output {
 public:
  explicit Output(bool json) : json_(json) {}
  void add(const CellResult& r) {
    if (!json_ && !std::exchange(header_printed_, true)) print(table_header());
    print(json_ ? json_line(r) : table_line(r));
    if (r.error_count() + r.bad_data != 0) status_ = std::max(status_, exit_errors);
  }
  void failed(const std::string& workload, const std::string& server, const Error& e) {
    std::fflush(stdout);
    fmt::print(stderr, "perdure bench: {} on {}: {}\n", workload, server, e.message);
    status_ = exit_failed;
  }
  void print(const std::string& text) {
    fmt::print("{}\n", text);
    std::fflush(stdout);
  }
  int status() const { return status_; }

 private:
  bool json_;
  bool header_printed_ = false;
  int status_ = 0;
};

// Alternating, and in the other order every second time, so that what changes on the machine meanwhile meets
// all.
Comparison compare(const std::string& workload, const BenchOptions& options, Output& output) {
  Comparison comparison{workload, {}};
  struct Side {
    std::string workload;
    Target target;
  };
  std::vector<Side> sides;
  for (const Target& t : options.targets) sides.push_back({workload, t});
  const std::string_view local = local_counterpart(workload);
  if (!options.local.directory.empty())
    sides.push_back({std::string(local), {.label = "disk", .server = "", .path = ""}});
  for (const Side& s : sides) comparison.series.push_back({s.target.label, {}});
  for (uint32_t run = 0; run < options.runs; ++run) {
    for (size_t i = 0; i < sides.size(); ++i) {
      const size_t at = run % 2 == 0 ? i : sides.size() - 1 - i;
      if (sides[at].workload.empty()) continue;
      settle(options);
      Result<CellResult> result = run_cell(sides[at].workload, sides[at].target, options);
      if (!result) {
        output.failed(sides[at].workload, sides[at].target.label, result.error());
        continue;
      }
      output.add(*result);
      comparison.series[at].runs.push_back(std::move(*result));
    }
  }
  return comparison;
}

Result<void> expand_workloads(BenchOptions& options) {
  std::vector<std::string> expanded;
  for (const std::string& name : options.workloads) {
    if (name == "all") {
      for (const WorkloadEntry& e : workloads()) expanded.emplace_back(e.name);
    } else if (find_workload(name) != nullptr || is_local(name)) {
      expanded.push_back(name);
    } else {
      return error(ErrorKind::invalid, "no workload named '{}'", name);
    }
  }
  options.workloads = std::move(expanded);
  return {};
}

}  // namespace

Result<Target> parse_target(const std::string& text) {
  Target target;
  std::string rest = text;
  if (const size_t comma = rest.rfind(",pid="); comma != std::string::npos) {
    const std::string_view digits = std::string_view(rest).substr(comma + 5);
    const auto [end, code] = std::from_chars(digits.data(), digits.data() + digits.size(), target.pid);
    if (code != std::errc{} || end != digits.data() + digits.size() || target.pid <= 0)
      return error(ErrorKind::invalid, "'{}': the pid is no process id", text);
    rest.resize(comma);
  }
  const size_t equals = rest.find('=');
  if (equals == std::string::npos || equals == 0)
    return error(ErrorKind::invalid, "'{}' is not of the form NAME=HOST:PORT/PATH[,pid=N]", text);
  target.label = rest.substr(0, equals);
  rest.erase(0, equals + 1);
  if (const size_t slash = rest.find('/'); slash != std::string::npos) {
    target.path = rest.substr(slash);
    rest.resize(slash);
  }
  target.server = rest;
  if (rest.empty()) return error(ErrorKind::invalid, "'{}' names no server", text);
  return target;
}

int run_bench(BenchOptions options) {
  Output output(options.json);
  if (const auto good = expand_workloads(options); !good) {
    fmt::print(stderr, "perdure bench: {}\n", good.error().message);
    return exit_failed;
  }
  if (options.targets.size() > 1) {
    std::vector<Comparison> comparisons;
    for (const std::string& workload : options.workloads)
      comparisons.push_back(compare(workload, options, output));
    if (!options.json)
      output.print(fmt::format("\n{} connections x {} requests, {} s, medians of {} runs\n\n{}",
                               options.client.connections, options.client.depth, options.cell.seconds,
                               options.runs, markdown_table(comparisons)));
    return output.status();
  }
  const Target single{options.client.server, options.client.server, options.client.path,
                      options.cell.server_pid};
  const Target& target = options.targets.empty() ? single : options.targets.front();
  for (const std::string& workload : options.workloads) {
    if (const auto result = run_cell(workload, target, options))
      output.add(*result);
    else
      output.failed(workload, target.label, result.error());
  }
  return output.status();
}

}  // namespace perdure::bench
