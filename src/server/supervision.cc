#include "server/supervision.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <utility>

namespace perdure::server {

Supervision Supervision::from_environment(SystemdNotifier systemd) {
  Supervision supervision;
  supervision.systemd_ = std::move(systemd);
  int pid = 0;
  int socket = -1;
  int config = -1;
  int last_status = 0;
  const char* guardian = std::getenv(guardian_variable);
  // A guardian of somebody else: the variable was handed on by a process between it and this one.
  if (guardian != nullptr &&
      std::sscanf(guardian, "%d:%d:%d:%d", &pid, &socket, &config, &last_status) == 4 && pid == getppid()) {
    supervision.guardian_fd_ = socket;
    supervision.config_fd_ = config;
    supervision.last_failed_ = last_status == static_cast<int>(ExitStatus::failed);
    fcntl(socket, F_SETFD, FD_CLOEXEC);
    fcntl(config, F_SETFD, FD_CLOEXEC);
  }
  unsetenv(guardian_variable);
  return supervision;
}

Supervision::Supervision(Supervision&& other) noexcept
    : guardian_fd_(std::exchange(other.guardian_fd_, -1)),
      config_fd_(std::exchange(other.config_fd_, -1)),
      last_failed_(other.last_failed_),
      systemd_(std::move(other.systemd_)) {}

Supervision::~Supervision() {
  if (guardian_fd_ >= 0) close(guardian_fd_);
  if (config_fd_ >= 0) close(config_fd_);
}

Result<std::string> Supervision::config_text() const {
  std::string text;
  std::array<char, 4096> part;
  while (true) {
    ssize_t got = pread(config_fd_, part.data(), part.size(), static_cast<off_t>(text.size()));
    if (got < 0) return error(ErrorKind::io, "cannot read the configuration that the guardian passed on");
    if (got == 0) return text;
    text.append(part.data(), static_cast<size_t>(got));
  }
}

Result<void> Supervision::set_config_text(std::string_view text) {
  if (config_fd_ < 0) return {};
  if (ftruncate(config_fd_, 0) == 0 &&
      pwrite(config_fd_, text.data(), text.size(), 0) == static_cast<ssize_t>(text.size()))
    return {};
  return error(ErrorKind::io, "the guardian cannot be given the configuration: {}", std::strerror(errno));
}

void Supervision::ready(std::string_view status) {
  report(Report::ready, status);
  systemd_.notify(fmt::format("READY=1\nSTATUS={}", status));
}

void Supervision::heartbeat() {
  report(Report::heartbeat);
  systemd_.keep_alive(std::chrono::steady_clock::now());
}

void Supervision::stopping() {
  report(Report::stopping);
  systemd_.notify("STOPPING=1");
}

void Supervision::report(Report what, std::string_view text) const {
  if (guardian_fd_ < 0) return;
  std::string message(1, static_cast<char>(what));
  message += text;
  send(guardian_fd_, message.data(), message.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
}

}  // namespace perdure::server
