#include "server/guardian.h"

#include <fcntl.h>
#include <poll.h>
#include <spdlog/spdlog.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
extern "C" {  // which the header lacks in glibc 2.36
#include <sys/pidfd.h>
}

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include "base/check.h"

namespace perdure::server {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

// What the shell uses for the same.
constexpr int cannot_execute = 127;
// Before a server process that asked for it is followed by another one.
constexpr milliseconds again_pause{20};

// The server process, as the guardian holds it.
struct Child {
  pid_t pid = -1;
  int process = -1;  // pidfd: readable once it is dead
  int socket = -1;   // its reports
  Clock::time_point started, ready_at;
  bool ready = false;
  bool leaving = false;  // it has begun a clean stop that nobody asked the guardian for
};

class Guardian {
 public:
  Guardian(const GuardianOptions& options, SystemdNotifier systemd)
      : options_(options),
        systemd_(std::move(systemd)),
        silence_(options.tick),
        crashes_(options.crashes_max, options.crash_window) {}
  ExitStatus run();

 private:
  enum class State : uint8_t { starting, serving, stopping, pausing };

  Result<void> set_up();
  Result<void> start();
  [[noreturn]] void become_server(pid_t guardian, int socket) const;
  void wait_for_events();
  void tick();
  void read_reports();
  void asked_to_stop();
  void bury();
  void end(ExitStatus status) {
    done_ = true;
    status_ = status;
  }
  void kill_child(int signal) const;
  int until(Clock::time_point when) const;

  const GuardianOptions& options_;
  SystemdNotifier systemd_;
  State state_ = State::pausing;
  Child child_;
  Silence silence_;
  CrashHistory crashes_;
  Clock::time_point next_tick_, pause_ends_, stop_deadline_;
  sigset_t signals_ = {}, signals_before_ = {};
  int signal_fd_ = -1;
  int config_fd_ = -1;
  bool reported_once_ = false;
  int last_status_ = 0;  // of the last server process that ended by itself
  bool done_ = false;
  ExitStatus status_ = ExitStatus::stopped;
};

ExitStatus Guardian::run() {
  if (Result<void> result = set_up(); !result) {
    spdlog::error("guardian: {}", result.error().message);
    return ExitStatus::failed;
  }
  pause_ends_ = next_tick_ = Clock::now();
  while (!done_) {
    if (state_ == State::pausing && Clock::now() >= pause_ends_) {
      if (Result<void> started = start(); !started) {
        spdlog::error("guardian: {}", started.error().message);
        crashes_.died(Clock::now(), milliseconds(0));
        pause_ends_ = Clock::now() + std::max(crashes_.pause(), milliseconds(100));
        if (crashes_.is_loop()) end(ExitStatus::failed);
      }
    }
    if (!done_) wait_for_events();
  }
  systemd_.notify("STOPPING=1");
  close(signal_fd_);
  close(config_fd_);
  sigprocmask(SIG_SETMASK, &signals_before_, nullptr);
  return status_;
}

Result<void> Guardian::set_up() {
  sigemptyset(&signals_);
  for (int signal : {SIGTERM, SIGINT, SIGHUP}) {
    struct sigaction before = {};
    sigaction(signal, nullptr, &before);
    if (before.sa_handler != SIG_IGN) sigaddset(&signals_, signal);  // as nohup(1) wants it
  }
  sigprocmask(SIG_BLOCK, &signals_, &signals_before_);
  signal_fd_ = signalfd(-1, &signals_, SFD_CLOEXEC | SFD_NONBLOCK);
  config_fd_ = memfd_create("perdure.toml", MFD_CLOEXEC);
  const std::string& text = options_.config_text;
  if (signal_fd_ < 0 || config_fd_ < 0 ||
      write(config_fd_, text.data(), text.size()) != static_cast<ssize_t>(text.size()))
    return error(ErrorKind::io, "cannot begin: {}", std::strerror(errno));
  return {};
}

Result<void> Guardian::start() {
  std::array<int, 2> pair = {-1, -1};
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair.data()) != 0)
    return error(ErrorKind::io, "cannot start the server process: {}", std::strerror(errno));
  pid_t guardian = getpid();
  pid_t pid = fork();
  if (pid == 0) become_server(guardian, pair[1]);
  int problem = errno;
  close(pair[1]);
  if (pid < 0) {
    close(pair[0]);
    return error(ErrorKind::io, "cannot start the server process: {}", std::strerror(problem));
  }
  child_ = {
      .pid = pid, .process = pidfd_open(pid, 0), .socket = pair[0], .started = Clock::now(), .ready_at = {}};
  CHECK(child_.process >= 0);  // the child is not buried yet, so that its number is still its own
  state_ = State::starting;
  silence_.heard();
  return {};
}

// In the child, until it executes the server.
void Guardian::become_server(pid_t guardian, int socket) const {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != guardian) _exit(cannot_execute);  // the guardian died before the line above
  sigprocmask(SIG_SETMASK, &signals_before_, nullptr);

  // All descriptors first go where none of the final places is.
  std::vector<int> passed = options_.listening;
  passed.push_back(socket);
  passed.push_back(config_fd_);
  int count = static_cast<int>(passed.size());
  for (int& fd : passed) fd = fcntl(fd, F_DUPFD_CLOEXEC, first_inherited_fd + count);
  for (int i = 0; i < count; ++i) dup2(passed[static_cast<size_t>(i)], first_inherited_fd + i);

  auto set = [](const char* name, const std::string& value) { setenv(name, value.c_str(), 1); };
  set("LISTEN_PID", std::to_string(getpid()));
  set("LISTEN_FDS", std::to_string(count - 2));
  set(guardian_variable, fmt::format("{}:{}:{}:{}", guardian, first_inherited_fd + count - 2,
                                     first_inherited_fd + count - 1, last_status_));

  std::vector<char*> arguments;
  for (const std::string& argument : options_.command)
    arguments.push_back(const_cast<char*>(argument.c_str()));
  arguments.push_back(nullptr);
  execv(options_.executable.c_str(), arguments.data());
  spdlog::error("guardian: cannot execute {}: {}", options_.executable, std::strerror(errno));
  _exit(cannot_execute);
}

void Guardian::wait_for_events() {
  enum : uint8_t { signals, process, reports, count };
  std::array<pollfd, count> events = {};
  events[signals] = {.fd = signal_fd_, .events = POLLIN, .revents = 0};
  events[process] = {.fd = child_.process, .events = POLLIN, .revents = 0};  // -1 is passed over
  events[reports] = {.fd = child_.socket, .events = POLLIN, .revents = 0};
  Clock::time_point wake = state_ == State::pausing ? std::min(pause_ends_, next_tick_) : next_tick_;
  if (poll(events.data(), events.size(), until(wake)) < 0) {
    CHECK(errno == EINTR);
    return;
  }
  if (events[reports].revents != 0) read_reports();
  if (events[signals].revents != 0) asked_to_stop();
  if (events[process].revents != 0) bury();
  if (Clock::now() >= next_tick_) tick();
}

int Guardian::until(Clock::time_point when) const {
  auto left = std::chrono::ceil<milliseconds>(when - Clock::now());
  return static_cast<int>(std::clamp<int64_t>(left.count(), 0, options_.tick.count()));
}

void Guardian::tick() {
  Clock::time_point now = Clock::now();
  next_tick_ = now + options_.tick;  // from now: ticks that were missed do not count
  systemd_.keep_alive(now);
  if (state_ == State::starting && options_.start_limit.count() != 0 && silence_.tick(options_.start_limit)) {
    spdlog::error("guardian: the server process {} is not ready after {:.1f} s: killing it", child_.pid,
                  std::chrono::duration<double>(options_.start_limit).count());
    kill_child(SIGKILL);
  } else if (state_ == State::serving && options_.hang_limit.count() != 0 &&
             silence_.tick(options_.hang_limit)) {
    spdlog::error("guardian: the server process {} hangs (no sign of life for {:.1f} s): killing it",
                  child_.pid, std::chrono::duration<double>(options_.hang_limit).count());
    kill_child(SIGKILL);
  } else if (state_ == State::stopping && now >= stop_deadline_) {
    spdlog::warn("guardian: the server process {} takes more than {:.0f} s to stop: killing it", child_.pid,
                 std::chrono::duration<double>(options_.stop_limit).count());
    kill_child(SIGKILL);
    stop_deadline_ = Clock::time_point::max();
  }
}

void Guardian::read_reports() {
  std::array<char, 512> message;
  while (true) {
    ssize_t length = recv(child_.socket, message.data(), message.size(), MSG_DONTWAIT);
    if (length < 0) return;
    if (length == 0) {  // it has closed the socket: it is about to die, or it is not ours any more
      close(child_.socket);
      child_.socket = -1;
      return;
    }
    silence_.heard();
    if (message[0] == static_cast<char>(Report::stopping)) child_.leaving = true;
    if (message[0] != static_cast<char>(Report::ready)) continue;
    if (!std::exchange(child_.ready, true)) child_.ready_at = Clock::now();
    if (state_ == State::starting) state_ = State::serving;
    std::string_view status(&message[1], static_cast<size_t>(length) - 1);
    systemd_.notify(fmt::format("{}STATUS={}", reported_once_ ? "" : "READY=1\n", status));
    reported_once_ = true;
  }
}

void Guardian::asked_to_stop() {
  signalfd_siginfo signal = {};
  while (read(signal_fd_, &signal, sizeof(signal)) == sizeof(signal)) {
    if (state_ == State::pausing) {
      end(ExitStatus::stopped);
    } else if (state_ != State::stopping) {
      state_ = State::stopping;
      stop_deadline_ = Clock::now() + options_.stop_limit;
      systemd_.notify("STOPPING=1");
      kill_child(SIGTERM);
      kill_child(SIGCONT);  // should it be stopped
    } else {
      spdlog::warn("guardian: asked again: stopping at once; what was acknowledged is in the log");
      kill_child(SIGKILL);
    }
  }
}

void Guardian::bury() {
  read_reports();  // its last words
  int status = 0;
  CHECK(waitpid(child_.pid, &status, 0) == child_.pid);
  Clock::time_point now = Clock::now();
  auto served =
      child_.ready ? std::chrono::duration_cast<milliseconds>(now - child_.ready_at) : milliseconds(0);
  std::string cause = WIFSIGNALED(status) ? fmt::format("was killed by SIG{}", sigabbrev_np(WTERMSIG(status)))
                                          : fmt::format("ended with status {}", WEXITSTATUS(status));
  std::string life = fmt::format("server process {} {} after {:.1f} s", child_.pid, cause,
                                 std::chrono::duration<double>(now - child_.started).count());
  close(child_.process);
  if (child_.socket >= 0) close(child_.socket);
  child_ = {};

  if (state_ == State::stopping) return end(ExitStatus::stopped);
  last_status_ = WIFEXITED(status) ? WEXITSTATUS(status) : 0;
  if (last_status_ == static_cast<int>(ExitStatus::again)) {
    state_ = State::pausing;
    pause_ends_ = now + again_pause;
    return;
  }
  if (last_status_ == static_cast<int>(ExitStatus::usage)) return end(ExitStatus::usage);
  if (last_status_ == static_cast<int>(ExitStatus::cannot_start) || last_status_ == cannot_execute)
    return end(ExitStatus::cannot_start);
  crashes_.died(now, served);
  // What dies again and again leaves it to its peer.
  if (crashes_.pause() > milliseconds(0)) last_status_ = static_cast<int>(ExitStatus::failed);
  if (crashes_.is_loop()) {
    spdlog::error(
        "guardian: {}; more than {} times within {} s it died before it had served for {} s: giving up", life,
        options_.crashes_max, std::chrono::duration_cast<std::chrono::seconds>(options_.crash_window).count(),
        std::chrono::duration_cast<std::chrono::seconds>(CrashHistory::settled).count());
    return end(ExitStatus::failed);
  }
  spdlog::error("guardian: {}; restarting it", life);
  systemd_.notify("STATUS=restarting the server process");
  state_ = State::pausing;
  pause_ends_ = now + crashes_.pause();
}

void Guardian::kill_child(int signal) const {
  // Fails only if the process is dead and not yet buried.
  pidfd_send_signal(child_.process, signal, nullptr, 0);
}

}  // namespace

ExitStatus run_guardian(const GuardianOptions& options, const SystemdNotifier& systemd) {
  return Guardian(options, systemd).run();
}

void CrashHistory::died(Time now, std::chrono::milliseconds served) {
  if (served >= settled) {
    deaths_.clear();
    return;
  }
  deaths_.push_back(now);
  while (now - deaths_.front() > window_) deaths_.pop_front();
}

std::chrono::milliseconds CrashHistory::pause() const {
  constexpr int64_t longest = 2000;
  if (deaths_.size() < 2) return std::chrono::milliseconds(0);
  return std::chrono::milliseconds(
      std::min<int64_t>(longest, 50LL << std::min<size_t>(deaths_.size() - 2, 10)));
}

}  // namespace perdure::server
