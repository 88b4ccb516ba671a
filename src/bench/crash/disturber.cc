#include "bench/crash/disturber.h"

#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>

#include <fstream>

#include "bench/process_stat.h"

extern char** environ;

namespace perdure::bench {
namespace {

constexpr Nanoseconds reap_interval = milliseconds(20);

// Collects a child when it has ended.
void reap(Client& client, pid_t child) {
  if (waitpid(child, nullptr, WNOHANG) != 0) return;
  client.loop().at(clock_now() + reap_interval, [&client, child] { reap(client, child); });
}

}  // namespace

void Disturber::start() {
  if (options_.kill_every_seconds > 0) kill_later();
  if (options_.cut_every_seconds > 0) cut_later();
}

Nanoseconds Disturber::about(double seconds) {
  return static_cast<Nanoseconds>(seconds * 1e9 * (0.5 + static_cast<double>(random_.below(1000)) / 1000));
}

void Disturber::kill_later() {
  client_.loop().at(clock_now() + about(options_.kill_every_seconds), [this] {
    if (!stopped_) kill_now();
  });
}

// The next kill is planned when the server has come back from this one.
void Disturber::kill_now() {
  const Nanoseconds killed_at = clock_now();
  if (!send_signal()) return client_.stop("there was nothing to kill");
  ++kills_;
  client_.on_first_answer_after(killed_at, [this, killed_at](Nanoseconds now) {
    resumed_after_.push_back(now - killed_at);
    kill_later();
  });
}

bool Disturber::send_signal() {
  if (!options_.kill_command.empty()) {
    run_command();
    return true;
  }
  if (!options_.kill_pid_file.empty()) {
    pid_t pid = 0;
    std::ifstream(options_.kill_pid_file) >> pid;
    return pid > 0 && kill(pid, SIGKILL) == 0;
  }
  bool killed = false;
  for (const pid_t pid : child_processes(options_.kill_children_of)) killed |= kill(pid, SIGKILL) == 0;
  return killed;
}

void Disturber::run_command() {
  std::string shell = "sh";
  std::string option = "-c";
  std::string command = options_.kill_command;
  char* arguments[] = {shell.data(), option.data(), command.data(), nullptr};
  pid_t child = 0;
  if (posix_spawn(&child, "/bin/sh", nullptr, nullptr, arguments, environ) != 0)
    return client_.stop("the kill command cannot be run");
  reap(client_, child);
}

// Half of the cuts come at once, the others in the middle of what is sent next.
void Disturber::cut_later() {
  client_.loop().at(clock_now() + about(options_.cut_every_seconds), [this] {
    if (stopped_) return;
    const size_t bytes = random_.chance(50) ? 0 : 1 + random_.below(random_.chance(50) ? 300 : 9000);
    client_.cut(random_.below(client_.connections()), bytes);
    ++cuts_;
    cut_later();
  });
}

}  // namespace perdure::bench
