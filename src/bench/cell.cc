#include "bench/cell.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "bench/remove_tree.h"
#include "bench/workload.h"

namespace perdure::bench {

uint64_t CellResult::error_count() const {
  return std::accumulate(errors.begin(), errors.end(), uint64_t{0},
                         [](uint64_t n, const auto& e) { return n + e.second; });
}

Cell::Cell(Client& client, const CellOptions& options, Workload& workload, std::string workload_name)
    : client_(client), options_(options), workload_(workload) {
  result_.workload = std::move(workload_name);
  result_.server = client.options().server;
  result_.connections = client.options().connections;
  result_.depth = client.options().depth;
  directory_name_ = fmt::format("{}.{}.{:x}", options.directory, result_.workload, clock_now());
  workers_.reserve(client.slots());
  for (size_t i = 0; i < client.slots(); ++i) workers_.emplace_back(*this, client.slot(i));
}

Cell::~Cell() = default;

size_t Cell::workers() const {
  return workers_.size();
}

Result<CellResult> Cell::run() {
  TRY(alone(make_directories(client_.slot(0))));
  TRY(alone(workload_.prepare_alone(workers_.front())));
  TRY(phase(&Workload::prepare));
  TRY(alone(workload_.settle(workers_.front())));
  TRY(measure());
  result_.counters = client_.counters();
  result_.persistent = client_.persistent();
  TRY(phase(&Workload::check));
  if (!options_.keep) TRY(remove_tree(client_, client_.root(), directory_name_));
  return std::move(result_);
}

Result<void> Cell::alone(Task<> task) {
  TaskGroup tasks;
  tasks.spawn(std::move(task));
  return client_.run(tasks);
}

Result<void> Cell::phase(Task<> (Workload::*step)(Worker&)) {
  TaskGroup tasks;
  for (Worker& worker : workers_) tasks.spawn((workload_.*step)(worker));
  return client_.run(tasks);
}

Result<void> Cell::measure() {
  const bool concludes = workload_.concludes();
  const Nanoseconds start = clock_now();
  // What a conclusion belongs to is counted from the first operation on.
  from_ = start + (concludes ? 0 : static_cast<Nanoseconds>(options_.warmup_seconds * 1e9));
  until_ = from_ + static_cast<Nanoseconds>(options_.seconds * 1e9);
  counted_until_ = concludes ? UINT64_MAX : until_;
  if (concludes)
    before_ = usage();
  else
    client_.loop().at(from_, [this] {
      before_ = usage();
      client_.reset_pause();
    });
  if (!concludes) client_.loop().at(until_, [this] { after_ = usage(); });
  TRY(phase(&Workload::run));
  TRY(phase(&Workload::conclude));
  if (concludes) after_ = usage();

  result_.seconds = static_cast<double>(after_.time - before_.time) * 1e-9;
  result_.client_cpu_seconds = after_.client - before_.client;
  result_.server_cpu_seconds = after_.server - before_.server;
  const double all = after_.machine.all_seconds - before_.machine.all_seconds;
  const double busy = after_.machine.busy_seconds - before_.machine.busy_seconds;
  const double other = busy - result_.client_cpu_seconds - result_.server_cpu_seconds;
  result_.other_cpu_share = all > 0 ? std::max(0.0, other / all) : 0;
  if (options_.server_pid != 0) {
    const Memory memory = tree_memory(options_.server_pid);
    result_.server_resident_bytes = memory.resident_bytes;
    result_.server_peak_bytes = memory.peak_bytes;
  }
  return {};
}

Cell::Usage Cell::usage() const {
  Usage u;
  u.client = own_cpu_seconds();
  if (options_.server_pid != 0) u.server = tree_cpu_seconds(options_.server_pid);
  u.machine = machine_cpu();
  u.time = clock_now();
  return u;
}

void Cell::give_up(const std::string& what, NfsStatus status) {
  client_.stop(fmt::format("{}: {}: {}", result_.workload, what, status_name(status)));
}

void Cell::note_verifier(const Verifier& verifier) {
  if (verifier_ && *verifier_ != verifier)
    client_.stop("the write verifier changed: the server was restarted");
  verifier_ = verifier;
}

Task<> Cell::make_directories(Slot& slot) {
  NfsStatus status{};
  do {
    status = co_await mkdir(slot, client_.root(), directory_name_, directory_);
  } while (co_await wait_and_repeat(slot, status));
  if (status != NfsStatus::NFS4_OK) co_return give_up("making directory " + directory_name_, status);
  for (uint32_t i = 0; i < options_.directories; ++i) {
    const std::string name = fmt::format("d{}", i);
    status = co_await mkdir(slot, directory_, name, directories_.emplace_back());
    if (status != NfsStatus::NFS4_OK) co_return give_up("making directory " + name, status);
  }
}

}  // namespace perdure::bench
