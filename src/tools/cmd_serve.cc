// `perdure serve`: reads the configuration, opens the sockets, and then is the guardian, or, started by one
// or with --no-guardian, the server process.
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/App.hpp>
#include <algorithm>
#include <array>
#include <csignal>
#include <cstdio>
#include <fstream>
#include <memory>

#include "server/config.h"
#include "server/data_directory.h"
#include "server/guardian.h"
#include "server/listener.h"
#include "server/messages.h"
#include "server/server.h"
#include "server/socket_address.h"
#include "server/supervision.h"
#include "server/systemd.h"
#include "tools/commands.h"

namespace perdure::tools {
namespace {

using server::Config;
using server::ExitStatus;

struct Options {
  std::string config_path;
  std::string data;
  server::Overrides overrides;
};

ExitStatus refuse(ExitStatus status, const Error& error) {
  fmt::print(stderr, "perdure: {}\n", error.message);
  return status;
}

Result<server::ConfigFile> find_config(const Options& options, const server::Supervision& supervision) {
  if (supervision.has_guardian()) {
    std::string path =
        options.config_path.empty() ? options.data + "/" + server::config_name : options.config_path;
    return server::ConfigFile{path, TRY(supervision.config_text()), false};
  }
  if (!options.config_path.empty()) return server::read_config_file(options.config_path);
  return server::config_of_directory(options.data);
}

// The sockets that systemd or the guardian passed, or new ones.
Result<std::vector<int>> find_sockets(const Config& config) {
  std::vector<int> sockets = TRY(server::inherited_sockets());
  if (!sockets.empty()) return sockets;
  // The primary of a pair has its addresses only while it is that.
  const bool free = config.pair && !config.pair->addresses.empty();
  for (const wire::Address& address : config.listen) {
    Result<int> socket = server::open_listening_socket(address, free);
    if (!socket && socket.error().kind == ErrorKind::busy) {
      return error(ErrorKind::busy,
                   "{} (is another NFS server running? --listen ADDRESS:PORT chooses another port)",
                   socket.error().message);
    }
    sockets.push_back(TRY(std::move(socket)));
  }
  return sockets;
}

std::string mount_command(const wire::Address& address) {
  std::string text = to_string(address);
  std::string host = text.substr(0, text.rfind(':'));
  if (server::is_wildcard(address)) {
    std::array<char, 256> name = {};
    gethostname(name.data(), name.size() - 1);
    host = name.data();
  }
  std::string port = address.port == 2049 ? "" : fmt::format(",port={}", address.port);
  return fmt::format("mount -t nfs -o vers=4.2,proto=tcp{} {}:/ /mnt", port, host);
}

std::string promise(server::Durability durability) {
  switch (durability) {
    case server::Durability::disk:
      return "disk: what was acknowledged survives a crash and a power cut";
    case server::Durability::memory:
      return "MEMORY: NOTHING SURVIVES the end of the server process";
    case server::Durability::mirror:
      return "mirror: what was acknowledged survives the loss of either blade, and a power cut of the only "
             "one; a power "
             "cut of both at once may lose the newest of it";
    case server::Durability::disk_and_mirror:
      return "disk+mirror: what was acknowledged is on the stable storage of both blades, or of the only one";
  }
  return "";
}

// What somebody who has just started the server wants to know.
void greet(const Config& config, const server::ConfigFile& file, const std::vector<int>& sockets) {
  fmt::print("perdure {}: serving {}{}\n", PERDURE_VERSION, config.data, file.is_new ? " (new)" : "");
  for (int socket : sockets)
    fmt::print("  mount it with   {}\n", mount_command(server::local_address(socket)));
  if (config.pair)
    fmt::print(
        "  pair            {}: this blade is {}, its peer {}; `perdure cluster status` says how it is\n",
        config.pair->name, config.pair->blade, config.pair->peer);
  fmt::print("  durability      {}\n", promise(config.durability));
  fmt::print("  log             {} ({})\n", config.log_path, server::bytes_text(config.log_bytes));
  fmt::print("  configuration   {}\n", file.path);
  fmt::print("  messages        standard error (level {})\n", config.log_level);
  auto is_local = [](const server::Network& network) { return network.is_loopback(); };
  bool reachable =
      std::ranges::any_of(sockets, [](int s) { return !server::is_loopback(server::local_address(s)); });
  if (reachable && std::ranges::all_of(config.exports, [&](const auto& e) {
        return std::ranges::all_of(e.clients, is_local);
      })) {
    fmt::print(
        "  note            only clients on this machine are admitted; see clients in [[export]] of {}\n",
        file.path);
  }
  if (config.guardian) fmt::print("Ctrl-C stops it; the next start goes on where it was.\n");
  std::fflush(stdout);
}

// The server process gets the same: it comes to the same configuration.
std::vector<std::string> arguments_of_this_process() {
  std::ifstream file("/proc/self/cmdline");
  std::vector<std::string> arguments;
  for (std::string argument; std::getline(file, argument, '\0');) arguments.push_back(argument);
  return arguments;
}

ExitStatus guard(const Config& config, const server::ConfigFile& file, std::vector<int> sockets,
                 const server::SystemdNotifier& systemd) {
  auto seconds = [](uint32_t n) { return std::chrono::milliseconds(n * 1000ULL); };
  return server::run_guardian({.command = arguments_of_this_process(),
                               .listening = std::move(sockets),
                               .config_text = file.text,
                               .tick = server::Supervision::heartbeat_interval,
                               .start_limit = seconds(config.start_seconds),
                               .hang_limit = seconds(config.hang_seconds),
                               .stop_limit = seconds(config.stop_seconds),
                               .crashes_max = config.crashes_max,
                               .crash_window = seconds(config.crash_seconds)},
                              systemd);
}

ExitStatus serve(const Options& options) {
  server::set_up_messages("info");
  auto systemd = server::SystemdNotifier::from_environment();
  auto supervision = server::Supervision::from_environment(systemd);
  Result<server::ConfigFile> file = find_config(options, supervision);
  if (!file) return refuse(ExitStatus::usage, file.error());
  server::Overrides overrides = options.overrides;
  if (!options.data.empty()) overrides.data = options.data;
  Result<Config> config = server::parse_config(file->text, file->path, overrides);
  if (!config) return refuse(ExitStatus::usage, config.error());
  server::set_up_messages(config->log_level);
  if (Result<void> made = server::make_data_directory(config->data); !made)
    return refuse(ExitStatus::cannot_start, made.error());
  Result<std::vector<int>> sockets = find_sockets(*config);
  if (!sockets) return refuse(ExitStatus::cannot_start, sockets.error());

  if (!supervision.has_guardian()) greet(*config, *file, *sockets);
  if (config->guardian && !supervision.has_guardian())
    return guard(*config, *file, std::move(*sockets), systemd);
  if (supervision.has_guardian())
    std::signal(SIGINT, SIG_IGN);  // the terminal's; the guardian passes on what it means
  return server::run_server(*config, std::move(*sockets), supervision);
}

constexpr const char* more =
    "The first start makes the data directory, with a commented perdure.toml in it. Options go\n"
    "before what that file says.\n\n"
    "Exit status: 0 stopped as asked; 1 the server process died again and again; 2 the command line\n"
    "or the configuration is wrong; 3 it cannot start (port in use, data directory locked or damaged).";

}  // namespace

void add_serve(CLI::App& app, int& status) {
  auto options = std::make_shared<Options>();
  CLI::App* command =
      app.add_subcommand("serve", "Serves a data directory to NFS clients, until Ctrl-C or SIGTERM.");
  command->footer(more);
  command
      ->add_option("--data", options->data,
                   "Data directory (default perdure-data, unless --config names one)")
      ->type_name("DIR");
  command
      ->add_option("--config", options->config_path,
                   "Configuration (default perdure.toml in the data directory)")
      ->type_name("FILE");
  command->add_option("--listen", options->overrides.listen, "Where clients connect (default 127.0.0.1:2049)")
      ->type_name("ADDR:PORT")
      ->allow_extra_args(false);
  command
      ->add_option("--durability", options->overrides.durability, "What an answer promises: disk or memory")
      ->type_name("LEVEL");
  command->add_option("--log-path", options->overrides.log_path, "File or device of the state machine log")
      ->type_name("PATH");
  command
      ->add_option("--memory", options->overrides.memory,
                   "For caches and unwritten data, as in 4GiB (default half of the machine's)")
      ->type_name("BYTES");
  command->add_flag("--no-guardian", options->overrides.no_guardian,
                    "Only the server process, for another supervisor that restarts it");
  command->callback([options, &status] {
    if (options->data.empty() && options->config_path.empty()) options->data = "perdure-data";
    status = static_cast<int>(serve(*options));
  });
}

}  // namespace perdure::tools
