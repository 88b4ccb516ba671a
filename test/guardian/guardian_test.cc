// The guardian with real processes: the test is the one who asks it to stop, kills, hangs and crashes its
// server process (fake_server.cc), and connects as a client would.
#include "server/guardian.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
extern "C" {  // which the header lacks in glibc 2.36
#include <sys/pidfd.h>
}

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <thread>

#include "server/listener.h"
#include "server/network.h"
#include "server/socket_address.h"

namespace perdure::server {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;
using testing::HasSubstr;

// Longer than anything here takes on a busy machine.
constexpr int patience_ms = 30'000;

class GuardianTest : public testing::Test {
 protected:
  GuardianTest() {
    listening_ = open_listening_socket(*parse_address("127.0.0.1:0")).value();
    options_.executable = FAKE_SERVER;
    options_.command = {"fake_server", "serve"};
    options_.listening = {listening_};
    options_.tick = milliseconds(10);
    options_.crashes_max = 100;
  }
  ~GuardianTest() override {
    if (guardian_ > 0) {
      kill(guardian_, SIGKILL);
      waitpid(guardian_, nullptr, 0);
    }
    close(listening_);
  }

  void start() {
    guardian_ = fork();
    if (guardian_ == 0) _exit(static_cast<int>(run_guardian(options_, SystemdNotifier::from_environment())));
  }

  // As a client: connects, sends the letter, returns the answer. Neither a refused nor a reset connection is
  // expected, unless the letter makes the server process die.
  std::string ask(char letter) {
    sockaddr_storage address;
    socklen_t length = to_kernel(local_address(listening_), address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    EXPECT_EQ(connect(fd, reinterpret_cast<sockaddr*>(&address), length), 0);
    EXPECT_EQ(send(fd, &letter, 1, MSG_NOSIGNAL), 1);
    std::string answer;
    char part[256];
    pollfd event = {.fd = fd, .events = POLLIN, .revents = 0};
    while (poll(&event, 1, patience_ms) == 1) {
      ssize_t got = read(fd, part, sizeof(part));
      if (got <= 0) break;
      answer.append(part, static_cast<size_t>(got));
    }
    close(fd);
    return answer;
  }
  pid_t server_pid() {
    std::string answer = ask('p');
    EXPECT_NE(answer, "");
    return std::atoi(answer.c_str());
  }
  // A connection that is closed without an answer, because the server process died, is asked again.
  pid_t server_pid_again() {
    for (Clock::time_point begin = Clock::now(); Clock::now() < begin + milliseconds(patience_ms);) {
      if (std::string answer = ask('p'); !answer.empty()) return std::atoi(answer.c_str());
    }
    return -1;
  }

  static bool is_gone_soon(pid_t pid) {
    int fd = pidfd_open(pid, 0);
    if (fd < 0) return true;
    pollfd event = {.fd = fd, .events = POLLIN, .revents = 0};
    bool gone = poll(&event, 1, patience_ms) == 1;
    close(fd);
    return gone;
  }

  // How the guardian ended; 1000 and more if by a signal.
  int guardian_status() {
    int status = 0;
    EXPECT_EQ(waitpid(guardian_, &status, 0), guardian_);
    guardian_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
  }

  GuardianOptions options_;
  int listening_ = -1;
  pid_t guardian_ = -1;
};

TEST_F(GuardianTest, ClientsWaitInTheBacklogWhileTheServerProcessRestarts) {
  start();
  pid_t before = server_pid();
  std::vector<double> pauses;
  for (int i = 0; i < 5; ++i) {
    Clock::time_point begin = Clock::now();
    kill(before, SIGKILL);
    pid_t after = server_pid_again();
    pauses.push_back(std::chrono::duration<double, std::milli>(Clock::now() - begin).count());
    ASSERT_GT(after, 0);
    if (after == before) {  // it had not died yet
      --i;
      pauses.pop_back();
    }
    before = after;
  }
  std::ranges::sort(pauses);
  RecordProperty("median_pause_ms", std::to_string(pauses[pauses.size() / 2]));
}

TEST_F(GuardianTest, TheFirstRestartIsImmediate) {
  start();
  pid_t before = server_pid();
  Clock::time_point begin = Clock::now();
  kill(before, SIGKILL);
  ASSERT_TRUE(is_gone_soon(before));
  EXPECT_NE(server_pid_again(), before);
  // It takes a few milliseconds; the bound allows for a busy machine, but not for a pause or for polling.
  EXPECT_LT(Clock::now() - begin, milliseconds(1500));
}

TEST_F(GuardianTest, ACrashIsADeath) {
  start();
  pid_t before = server_pid();
  EXPECT_EQ(ask('k'), "");
  EXPECT_NE(server_pid_again(), before);
}

TEST_F(GuardianTest, AStoppedServerProcessIsAHang) {
  options_.hang_limit = milliseconds(300);
  start();
  pid_t before = server_pid();
  Clock::time_point begin = Clock::now();
  EXPECT_EQ(ask('z'), "");
  EXPECT_GE(Clock::now() - begin, milliseconds(290));
  EXPECT_TRUE(is_gone_soon(before));
  EXPECT_NE(server_pid_again(), before);
}

TEST_F(GuardianTest, SoIsOneWithoutHeartbeats) {
  options_.hang_limit = milliseconds(300);
  start();
  pid_t before = server_pid();
  ask('h');
  EXPECT_TRUE(is_gone_soon(before));
  EXPECT_NE(server_pid_again(), before);
}

TEST_F(GuardianTest, NobodyIsKilledWhoseHeartbeatsCome) {
  options_.hang_limit = milliseconds(100);
  start();
  pid_t before = server_pid();
  std::this_thread::sleep_for(milliseconds(500));
  EXPECT_EQ(server_pid(), before);
}

TEST_F(GuardianTest, WithoutALimitNothingIsAHang) {
  options_.hang_limit = milliseconds(0);
  start();
  pid_t before = server_pid();
  ask('h');
  std::this_thread::sleep_for(milliseconds(300));
  EXPECT_EQ(server_pid(), before);
}

TEST_F(GuardianTest, AServerProcessThatIsNeverReadyEndsInACrashLoop) {
  options_.command = {"fake_server", "silent"};
  options_.start_limit = milliseconds(50);
  options_.crashes_max = 2;
  start();
  EXPECT_EQ(guardian_status(), static_cast<int>(ExitStatus::failed));
}

TEST_F(GuardianTest, ACrashLoopEnds) {
  options_.command = {"fake_server", "exit", "1"};
  options_.crashes_max = 3;
  start();
  EXPECT_EQ(guardian_status(), static_cast<int>(ExitStatus::failed));
}

TEST_F(GuardianTest, WhatARestartWouldNotHelpEndsAtOnce) {
  for (ExitStatus status : {ExitStatus::usage, ExitStatus::cannot_start}) {
    options_.command = {"fake_server", "exit", std::to_string(static_cast<int>(status))};
    start();
    EXPECT_EQ(guardian_status(), static_cast<int>(status));
  }
  options_.executable = "/nonexistent";
  start();
  EXPECT_EQ(guardian_status(), static_cast<int>(ExitStatus::cannot_start));
}

TEST_F(GuardianTest, TheServerProcessDiesWithItsGuardian) {
  start();
  pid_t server = server_pid();
  kill(guardian_, SIGKILL);
  EXPECT_EQ(guardian_status(), 1000 + SIGKILL);
  EXPECT_TRUE(is_gone_soon(server));
}

TEST_F(GuardianTest, AskedToStopItStopsTheServerProcess) {
  for (int signal : {SIGTERM, SIGINT, SIGHUP}) {
    start();
    pid_t server = server_pid();
    kill(guardian_, signal);
    EXPECT_EQ(guardian_status(), static_cast<int>(ExitStatus::stopped));
    EXPECT_TRUE(is_gone_soon(server));
  }
}

TEST_F(GuardianTest, ItWaitsForACleanStopOnlySoLong) {
  options_.command = {"fake_server", "deaf"};
  options_.stop_limit = milliseconds(200);
  start();
  pid_t server = server_pid();
  Clock::time_point begin = Clock::now();
  kill(guardian_, SIGTERM);
  EXPECT_EQ(guardian_status(), static_cast<int>(ExitStatus::stopped));
  EXPECT_GE(Clock::now() - begin, milliseconds(200));
  EXPECT_TRUE(is_gone_soon(server));
}

TEST_F(GuardianTest, AskedTwiceItDoesNotWait) {
  options_.command = {"fake_server", "deaf"};
  start();
  pid_t server = server_pid();
  kill(guardian_, SIGINT);
  std::this_thread::sleep_for(milliseconds(50));  // or the two signals would be one
  kill(guardian_, SIGINT);
  EXPECT_EQ(guardian_status(), static_cast<int>(ExitStatus::stopped));
  EXPECT_TRUE(is_gone_soon(server));
}

TEST_F(GuardianTest, AStoppedServerProcessCanBeAskedToStop) {
  options_.hang_limit = milliseconds(0);
  start();
  pid_t server = server_pid();
  kill(server, SIGSTOP);
  kill(guardian_, SIGTERM);
  EXPECT_EQ(guardian_status(), static_cast<int>(ExitStatus::stopped));
}

TEST_F(GuardianTest, EveryServerProcessGetsTheConfigurationOfTheFirst) {
  options_.config_text = std::string(10'000, 'x') + "end";
  start();
  EXPECT_EQ(ask('c'), options_.config_text);
  ask('k');
  ASSERT_GT(server_pid_again(), 0);
  EXPECT_EQ(ask('c'), options_.config_text);
}

TEST_F(GuardianTest, ItTellsSystemd) {
  std::string directory = testing::TempDir() + "notify" + std::to_string(getpid());
  std::filesystem::create_directory(directory);
  sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = {}};
  std::snprintf(address.sun_path, sizeof(address.sun_path), "%s/socket", directory.c_str());
  int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  ASSERT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  setenv("NOTIFY_SOCKET", address.sun_path, 1);
  setenv("WATCHDOG_USEC", "20000", 1);
  start();
  unsetenv("NOTIFY_SOCKET");
  unsetenv("WATCHDOG_USEC");

  auto wait_for = [&](const std::string& wanted) {
    char message[256];
    pollfd event = {.fd = fd, .events = POLLIN, .revents = 0};
    while (poll(&event, 1, patience_ms) == 1) {
      ssize_t got = recv(fd, message, sizeof(message), 0);
      if (std::string(message, static_cast<size_t>(std::max<ssize_t>(got, 0))).find(wanted) == 0) return true;
    }
    return false;
  };
  EXPECT_TRUE(wait_for("READY=1\nSTATUS=serving"));
  EXPECT_TRUE(wait_for("WATCHDOG=1"));
  kill(server_pid(), SIGKILL);
  EXPECT_TRUE(wait_for("STATUS=restarting"));
  EXPECT_TRUE(wait_for("STATUS=serving"));
  kill(guardian_, SIGTERM);
  EXPECT_TRUE(wait_for("STOPPING=1"));
  EXPECT_EQ(guardian_status(), 0);
  close(fd);
  std::filesystem::remove_all(directory);
}

}  // namespace
}  // namespace perdure::server
