// perdure bench: load for any NFSv4.1 server, and the local disk beside it; and the crash test of such a
// server.
#include <fmt/format.h>

#include <CLI/App.hpp>
#include <map>
#include <memory>

#include "bench/bench.h"
#include "bench/crash/crash_run.h"
#include "bench/workload.h"
#include "tools/commands.h"

namespace perdure::tools {
namespace {

std::string describe_workloads() {
  std::string text = "Workloads:\n";
  for (const auto& e : bench::workloads()) text += fmt::format("  {:<22}{}\n", e.name, e.what);
  for (const auto& e : bench::local_workloads()) text += fmt::format("  {:<22}{}\n", e.name, e.what);
  text +=
      "\nEach cell works in a directory of its own under the path and removes it at the end. Data that is "
      "read is\n"
      "compared with what was written. The exit status is 1 if there were errors, 2 if a cell could not be "
      "run.\n";
  return text;
}

struct Arguments {
  bench::BenchOptions bench;
  std::vector<std::string> compare;
  bool one_session = false;
  bool no_persist = false;
};

int run(Arguments& arguments) {
  bench::BenchOptions& options = arguments.bench;
  for (const std::string& text : arguments.compare) {
    auto target = bench::parse_target(text);
    if (!target) {
      fmt::print(stderr, "perdure bench: {}\n", target.error().message);
      return 2;
    }
    options.targets.push_back(std::move(*target));
  }
  options.client.sessions = arguments.one_session ? bench::Sessions::one : bench::Sessions::per_connection;
  options.client.persist = !arguments.no_persist;
  options.local.seconds = options.cell.seconds;
  options.local.warmup_seconds = options.cell.warmup_seconds;
  options.local.file_bytes = options.cell.file_bytes;
  return bench::run_bench(std::move(options));
}

// What all that talk to a server are told.
void add_client_options(CLI::App* command, bench::ClientOptions& client) {
  command->add_option("--server", client.server, "HOST:PORT of the server")->capture_default_str();
  command->add_option("--path", client.path, "An export, or a directory in one; must be writable")
      ->capture_default_str();
  command->add_option("--conns", client.connections, "TCP connections")
      ->capture_default_str()
      ->check(CLI::Range(1, 1024));
  command->add_option("--depth", client.depth, "Requests outstanding on each connection")
      ->capture_default_str()
      ->check(CLI::Range(1, 1024));
  command->add_option("--minorversion", client.minor_version, "1 or 2")
      ->capture_default_str()
      ->check(CLI::Range(1, 2));
  command->add_option("--uid", client.identity.uid, "User of the requests")->capture_default_str();
  command->add_option("--gid", client.identity.gid, "Group of the requests")->capture_default_str();
}

// Seconds as an option, nanoseconds inside.
void add_seconds(CLI::App* command, const std::string& name, bench::Nanoseconds& value,
                 const std::string& what) {
  command
      ->add_option_function<double>(
          name, [&value](double s) { value = static_cast<bench::Nanoseconds>(s * 1e9); },
          fmt::format("{} [{}]", what, static_cast<double>(value) * 1e-9))
      ->type_name("SECONDS")
      ->check(CLI::Range(0.0, 86400.0));
}

void add_crash(CLI::App* bench_command, int& status) {
  auto options = std::make_shared<bench::CrashOptions>();
  options->client.sessions = bench::Sessions::one;
  CLI::App* command = bench_command->add_subcommand(
      "crash", "Kills a server under load and proves that all was done exactly once");
  command->footer(
      "Many slots of one session make, write, rename, link and remove files, and lock and count, while the "
      "server is\n"
      "killed or connections are cut. Unanswered requests are sent again as they were, with the same "
      "sequence ids. Each\n"
      "answer is compared with what it must be, and in the end the whole tree. Somebody else has to start "
      "the server\n"
      "again (a guardian, or the kill command). The exit status is 0 only if nothing was lost or done "
      "twice.");
  add_client_options(command, options->client);
  command->add_option("--seconds", options->seconds, "Length of the test")->capture_default_str();
  command->add_flag("--stop-on-eof", options->stop_on_eof, "End when the standard input has ended");
  bench::DisturbOptions& disturb = options->disturb;
  command->add_option("--kill-every", disturb.kill_every_seconds, "Seconds between kills, on average");
  auto* shell =
      command->add_option("--kill-cmd", disturb.kill_command, "Shell command that kills the server");
  auto* file = command->add_option("--kill-pid-file", disturb.kill_pid_file,
                                   "Kill the process whose id is in this file");
  auto* children = command->add_option("--kill-children-of", disturb.kill_children_of,
                                       "Kill the children of this process");
  shell->excludes(file)->excludes(children);
  file->excludes(children);
  command->add_option("--cut-every", disturb.cut_every_seconds,
                      "Seconds between cuts of a connection, on average");
  command->add_option("--crash-log", options->journal,
                      "Log of all that was asked and acknowledged, for `bench verify`");
  command->add_option("--dir", options->directory, "What the name of the working directory begins with")
      ->capture_default_str();
  command->add_option("--seed", options->seed, "Of the random choices")->capture_default_str();
  command->add_flag("!--no-change-check", options->check_change, "Do not compare change attributes");
  add_seconds(command, "--reconnect-max", options->client.reconnect_max,
              "How long the server may be unreachable");
  add_seconds(command, "--stall-max", options->client.stall_max, "How long a request may be unanswered");
  add_seconds(command, "--suspect-after", options->client.suspect_after,
              "Silence after which a connection is made anew; 0: never");
  command->add_flag("--keep", options->keep, "Leave the working directory");
  command->add_flag("--json", options->json, "The result as one JSON object");
  // For the test of the test: the checks have to notice this.
  command->add_option("--plant-twice-every", options->client.plant_twice_every)->group("");
  command->callback([options, &status] { status = bench::run_crash_test(*options); });
}

void add_verify(CLI::App* bench_command, int& status) {
  auto options = std::make_shared<bench::CrashOptions>();
  CLI::App* command = bench_command->add_subcommand(
      "verify", "Compares the tree of a crash test (run with --keep) with its log");
  add_client_options(command, options->client);
  command->add_option("--crash-log", options->journal, "The log")->required();
  command->add_flag("--json", options->json, "The result as one JSON object");
  command->callback([options, &status] { status = bench::run_crash_verify(*options); });
}

}  // namespace

void add_bench(CLI::App& app, int& status) {
  auto arguments = std::make_shared<Arguments>();
  bench::BenchOptions& b = arguments->bench;
  b.workloads = {"all"};
  CLI::App* command = app.add_subcommand("bench", "Measures NFSv4.1 servers, this one or any other");
  command->footer(describe_workloads());
  command->add_option("--workload", b.workloads, "What to run: names from the list below, or all")
      ->delimiter(',');
  add_client_options(command, b.client);
  command->add_option(
      "--compare", arguments->compare,
      "Servers to be measured in turn, NAME=HOST:PORT/PATH[,pid=N], and a table of their ratios");
  command->add_option("--runs", b.runs, "Runs of each cell, with --compare")
      ->capture_default_str()
      ->check(CLI::Range(1, 100));
  command->add_option("--settle", b.settle_seconds, "Quiet seconds before each run, with --compare")
      ->capture_default_str()
      ->check(CLI::Range(0.0, 3600.0));
  command->add_option("--seconds", b.cell.seconds, "Length of a measurement")
      ->capture_default_str()
      ->check(CLI::Range(0.1, 86400.0));
  command->add_option("--warmup", b.cell.warmup_seconds, "Seconds before it")
      ->capture_default_str()
      ->check(CLI::Range(0.0, 3600.0));
  command->add_option("--dir", b.cell.directory, "What the names of the working directories begin with")
      ->capture_default_str();
  command
      ->add_option("--file-size", b.cell.file_bytes, "Size of the file of random reads and writes (256M, 1G)")
      ->transform(CLI::AsSizeValue(false));
  command
      ->add_option("--seq-size", b.cell.sequential_bytes, "Size of each connection's file of sequential ones")
      ->transform(CLI::AsSizeValue(false));
  command->add_option("--dirs", b.cell.directories, "Directories to spread names over")
      ->capture_default_str()
      ->check(CLI::Range(1, 100000));
  command->add_option("--files-per-dir", b.cell.files_per_directory, "Files in each of them beforehand")
      ->capture_default_str()
      ->check(CLI::Range(1, 100000));
  command->add_option("--commit-every", b.cell.commit_every, "Unstable writes of a slot between two COMMITs")
      ->capture_default_str()
      ->check(CLI::Range(1, 1 << 20));
  const std::map<std::string, bench::CreateMode> modes{{"guarded", bench::CreateMode::GUARDED4},
                                                       {"unchecked", bench::CreateMode::UNCHECKED4},
                                                       {"exclusive", bench::CreateMode::EXCLUSIVE4_1}};
  command
      ->add_option("--create-mode", b.cell.create_mode,
                   "How files are created: guarded, unchecked or exclusive")
      ->transform(CLI::CheckedTransformer(modes));
  command->add_flag("--one-session", arguments->one_session,
                    "One session over all connections instead of one for each");
  command->add_flag("--no-persist", arguments->no_persist, "Do not ask for a persistent session");
  command->add_option("--seed", b.cell.seed, "Of the random choices")->capture_default_str();
  command->add_option("--server-pid", b.cell.server_pid,
                      "Process of the server, to count its CPU time and memory (its children's included)");
  command->add_option("--local-dir", b.local.directory,
                      "Where local-* work; with --compare they run beside their NFS counterparts");
  command->add_option("--threads", b.local.threads, "Threads of local-*")
      ->capture_default_str()
      ->check(CLI::Range(1, 1024));
  command->add_flag("--keep", b.cell.keep, "Leave the working directories");
  command->add_flag("--json", b.json, "One JSON object per line instead of a table");
  command->require_subcommand(0, 1);
  add_crash(command, status);
  add_verify(command, status);
  command->callback([arguments, command, &status] {
    if (command->get_subcommands().empty()) status = run(*arguments);
  });
}

}  // namespace perdure::tools
