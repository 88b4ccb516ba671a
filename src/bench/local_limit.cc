#include "bench/local_limit.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <mutex>
#include <thread>

#include "bench/pattern.h"
#include "bench/process_stat.h"

namespace perdure::bench {
namespace {

constexpr LocalWorkloadEntry table[] = {
    {"local-create",
     "create a file of 4 KiB, fsync it, fsync its directory; on --local-dir itself, without a server"},
    {"local-odsync", "4 KiB overwrites at random places of one file, O_DSYNC; on --local-dir itself"},
};
constexpr uint32_t directories = 16;
constexpr uint64_t block_bytes = 4096;

class Descriptor {
 public:
  Descriptor(const std::string& path, int flags) : fd_(::open(path.c_str(), flags | O_CLOEXEC, 0644)) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const { return fd_; }
  bool good() const { return fd_ >= 0; }

 private:
  int fd_;
};

bool write_block(int fd, uint64_t offset, uint64_t key) {
  alignas(8) std::byte block[block_bytes];
  fill_pattern(block, key, offset);
  return pwrite(fd, block, block_bytes, static_cast<off_t>(offset)) == static_cast<ssize_t>(block_bytes);
}

// A run of one workload: what its threads share.
struct Run {
  const LocalOptions& options;
  std::string directory;
  Nanoseconds from = 0;
  Nanoseconds until = 0;
  std::mutex mutex;
  CellResult result;         // under the mutex
  std::string first_error;   // the same
  std::atomic<bool> failed;  // stops all threads

  void fail(const std::string& what) {
    const std::string why = std::strerror(errno);
    const std::lock_guard lock(mutex);
    if (!failed.exchange(true)) first_error = what + ": " + why;
  }
};

// Calls `operation(n)` until the time is over and counts.
template <class Operation>
void repeat(Run& run, Operation&& operation) {
  Histogram latency;
  uint64_t n = 0;
  for (Nanoseconds now = clock_now(); now < run.until && !run.failed; ++n) {
    const Nanoseconds begun = now;
    if (!operation(n)) return;
    now = clock_now();
    if (now >= run.from && now < run.until) latency.add(now - begun);
  }
  const std::lock_guard lock(run.mutex);
  run.result.latency.merge(latency);
}

void create_files(Run& run, uint32_t thread) {
  const std::string parent = fmt::format("{}/d{}", run.directory, thread % directories);
  const Descriptor parent_fd(parent, O_RDONLY | O_DIRECTORY);
  if (!parent_fd.good()) return run.fail(parent);
  repeat(run, [&](uint64_t n) {
    const std::string name = fmt::format("{}/f{}-{}", parent, thread, n);
    const Descriptor file(name, O_CREAT | O_EXCL | O_WRONLY);
    if (file.good() && write_block(file.get(), 0, pattern_key(thread, n)) && fsync(file.get()) == 0 &&
        fsync(parent_fd.get()) == 0)
      return true;
    run.fail(name);
    return false;
  });
}

void overwrite(Run& run, uint32_t thread) {
  const std::string name = run.directory + "/file";
  const Descriptor file(name, O_WRONLY | O_DSYNC);
  if (!file.good()) return run.fail(name);
  Random random(thread);
  const uint64_t blocks = std::max<uint64_t>(run.options.file_bytes / block_bytes, 1);
  repeat(run, [&](uint64_t) {
    if (write_block(file.get(), random.below(blocks) * block_bytes, thread)) return true;
    run.fail(name);
    return false;
  });
}

Result<void> prepare(const Run& run) {
  for (uint32_t i = 0; i < directories; ++i) {
    const std::string name = fmt::format("{}/d{}", run.directory, i);
    if (::mkdir(name.c_str(), 0755) != 0) return error(ErrorKind::io, "{}: {}", name, std::strerror(errno));
  }
  const std::string name = run.directory + "/file";
  const Descriptor file(name, O_CREAT | O_EXCL | O_WRONLY);
  for (uint64_t at = 0; at < run.options.file_bytes; at += block_bytes) {
    if (!file.good() || !write_block(file.get(), at, 0))
      return error(ErrorKind::io, "{}: {}", name, std::strerror(errno));
  }
  if (fsync(file.get()) != 0) return error(ErrorKind::io, "{}: {}", name, std::strerror(errno));
  return {};
}

Result<void> execute(Run& run, void (*work)(Run&, uint32_t)) {
  TRY(prepare(run));
  const double cpu_before = own_cpu_seconds();
  const MachineCpu machine_before = machine_cpu();
  const Nanoseconds start = clock_now();
  run.from = start + static_cast<Nanoseconds>(run.options.warmup_seconds * 1e9);
  run.until = run.from + static_cast<Nanoseconds>(run.options.seconds * 1e9);
  std::vector<std::thread> threads;
  for (uint32_t t = 0; t < run.options.threads; ++t) threads.emplace_back([&run, work, t] { work(run, t); });
  for (std::thread& t : threads) t.join();
  if (run.failed) return error(ErrorKind::io, "{}", run.first_error);

  CellResult& r = run.result;
  const double total = static_cast<double>(clock_now() - start) * 1e-9;
  const MachineCpu machine_after = machine_cpu();
  const double cpu = own_cpu_seconds() - cpu_before;
  r.seconds = run.options.seconds;
  r.ops = r.latency.count();
  r.bytes = r.ops * block_bytes;
  r.client_cpu_seconds = cpu * r.seconds / total;  // without the warm-up's share
  const double all = machine_after.all_seconds - machine_before.all_seconds;
  const double busy = machine_after.busy_seconds - machine_before.busy_seconds;
  r.other_cpu_share = all > 0 ? std::max(0.0, (busy - cpu) / all) : 0;
  return {};
}

}  // namespace

std::span<const LocalWorkloadEntry> local_workloads() {
  return table;
}

Result<CellResult> run_local(std::string_view workload, const LocalOptions& options) {
  if (options.directory.empty())
    return error(ErrorKind::invalid, "{} needs a directory (--local-dir)", workload);
  std::string directory = options.directory + "/perdure-bench-local.XXXXXX";
  if (mkdtemp(directory.data()) == nullptr)
    return error(ErrorKind::io, "{}: {}", options.directory, std::strerror(errno));
  Run run{.options = options,
          .directory = directory,
          .mutex = {},
          .result = {},
          .first_error = {},
          .failed = false};
  run.result.server = "local disk";
  run.result.workload = workload;
  run.result.connections = options.threads;
  run.result.depth = 1;
  const Result<void> done = execute(run, workload == "local-create" ? create_files : overwrite);
  std::error_code ignored;
  std::filesystem::remove_all(directory, ignored);
  if (!done) return done.error();
  return std::move(run.result);
}

}  // namespace perdure::bench
