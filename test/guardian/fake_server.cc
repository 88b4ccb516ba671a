// A server process for the guardian's tests: does what the guardian expects of a server process, or just not
// that.
//
//   fake_server serve|deaf|silent|exit STATUS
//
// serve: answers each connection, which sends one letter: 'p' with its process id, 'c' with the
// configuration's text; 'k' (SIGSEGV), 'z' (SIGSTOP), 'h' (goes on without heartbeats) with nothing. deaf:
// the same, but ignores SIGTERM. silent: is never ready. exit: ends at once with STATUS.
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <string>
#include <string_view>

#include "server/supervision.h"
#include "server/systemd.h"

namespace {

using perdure::server::Supervision;

void answer(int connection, const Supervision& supervision, bool& heartbeats) {
  char letter = 0;
  if (read(connection, &letter, 1) != 1) return;
  std::string reply;
  if (letter == 'p') reply = std::to_string(getpid());
  if (letter == 'c') reply = supervision.config_text().value();
  if (letter == 'k') {
    std::signal(SIGSEGV, SIG_DFL);
    raise(SIGSEGV);
  }
  if (letter == 'z') raise(SIGSTOP);
  if (letter == 'h') heartbeats = false;
  if (write(connection, reply.data(), reply.size()) < 0) std::abort();
}

[[noreturn]] void serve(int listening, Supervision& supervision) {
  supervision.ready("serving");
  bool heartbeats = true;
  while (true) {
    pollfd event = {.fd = listening, .events = POLLIN, .revents = 0};
    poll(&event, 1, 10);
    if (heartbeats) supervision.heartbeat();
    int connection = accept(listening, nullptr, nullptr);
    if (connection < 0) continue;
    answer(connection, supervision, heartbeats);
    close(connection);
  }
}

}  // namespace

int main(int count, char** arguments) {
  std::string_view mode = count > 1 ? arguments[1] : "";
  Supervision supervision = Supervision::from_environment({});
  auto sockets = perdure::server::inherited_sockets();
  if (mode == "exit" && count > 2) _exit(std::atoi(arguments[2]));
  if (!sockets || sockets->size() != 1 || !supervision.has_guardian()) _exit(99);
  if (mode == "deaf") std::signal(SIGTERM, SIG_IGN);
  if (mode == "silent") {
    while (true) pause();
  }
  serve(sockets->front(), supervision);
}
