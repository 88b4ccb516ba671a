#include "bench/process_stat.h"

#include <dirent.h>
#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <optional>
#include <sstream>
#include <string>
#include <utility>

namespace perdure::bench {
namespace {

struct Stat {
  pid_t parent = 0;
  uint64_t ticks = 0;
};

std::optional<Stat> read_stat(pid_t pid) {
  std::ifstream file(fmt::format("/proc/{}/stat", pid));
  std::string line;
  if (!std::getline(file, line)) return std::nullopt;
  // The command, in parentheses, may contain anything; what follows the last one are fields 3 and up.
  const size_t end = line.rfind(')');
  if (end == std::string::npos) return std::nullopt;
  std::istringstream fields(line.substr(end + 1));
  std::string state;
  Stat stat;
  fields >> state >> stat.parent;
  std::string skipped;
  for (int i = 5; i < 14; ++i) fields >> skipped;
  uint64_t user = 0, system = 0, children_user = 0, children_system = 0;
  fields >> user >> system >> children_user >> children_system;
  stat.ticks = user + system + children_user + children_system;
  return stat;
}

// Every process and its parent.
std::vector<std::pair<pid_t, pid_t>> parents() {
  std::vector<std::pair<pid_t, pid_t>> all;
  if (DIR* proc = opendir("/proc")) {
    while (const dirent* entry = readdir(proc)) {
      const pid_t pid = std::atoi(entry->d_name);
      if (pid <= 0) continue;
      if (const auto stat = read_stat(pid)) all.emplace_back(pid, stat->parent);
    }
    closedir(proc);
  }
  return all;
}

double seconds_of(uint64_t ticks) {
  return static_cast<double>(ticks) / static_cast<double>(sysconf(_SC_CLK_TCK));
}

double seconds_of(const timeval& t) {
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) * 1e-6;
}

}  // namespace

std::vector<pid_t> process_tree(pid_t root) {
  const auto processes = parents();
  std::vector<pid_t> tree{root};
  for (size_t i = 0; i < tree.size(); ++i) {
    for (const auto& [pid, parent] : processes) {
      if (parent == tree[i] && std::ranges::find(tree, pid) == tree.end()) tree.push_back(pid);
    }
  }
  return tree;
}

std::vector<pid_t> child_processes(pid_t parent) {
  std::vector<pid_t> children;
  for (const auto& [pid, its_parent] : parents()) {
    if (its_parent == parent) children.push_back(pid);
  }
  return children;
}

double tree_cpu_seconds(pid_t root) {
  uint64_t ticks = 0;
  for (const pid_t pid : process_tree(root)) {
    if (const auto stat = read_stat(pid)) ticks += stat->ticks;
  }
  return seconds_of(ticks);
}

Memory tree_memory(pid_t root) {
  Memory memory;
  for (const pid_t pid : process_tree(root)) {
    std::ifstream file(fmt::format("/proc/{}/status", pid));
    for (std::string line; std::getline(file, line);) {
      if (line.starts_with("VmRSS:"))
        memory.resident_bytes += std::strtoull(line.c_str() + 6, nullptr, 10) << 10;
      if (line.starts_with("VmHWM:")) memory.peak_bytes += std::strtoull(line.c_str() + 6, nullptr, 10) << 10;
    }
  }
  return memory;
}

double own_cpu_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return seconds_of(usage.ru_utime) + seconds_of(usage.ru_stime);
}

MachineCpu machine_cpu() {
  std::ifstream file("/proc/stat");
  std::string cpu;
  // user nice system idle iowait irq softirq steal
  uint64_t ticks[8] = {};
  file >> cpu;
  for (uint64_t& t : ticks) file >> t;
  uint64_t all = 0;
  for (const uint64_t t : ticks) all += t;
  return {seconds_of(all - ticks[3] - ticks[4]), seconds_of(all)};
}

}  // namespace perdure::bench
