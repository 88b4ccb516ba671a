// `perdure cluster`: makes a pair of two blades, and looks after it.
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/App.hpp>
#include <chrono>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <thread>

#include "server/config.h"
#include "server/data_directory.h"
#include "server/pair/pair_blade.h"
#include "server/pair/pair_setup.h"
#include "server/status.h"
#include "tools/commands.h"

namespace perdure::tools {
namespace {

using Clock = std::chrono::steady_clock;
using nlohmann::json;

int refuse(const Error& error) {
  fmt::print(stderr, "perdure: {}\n", error.message);
  return 1;
}

Result<server::Config> config_of(const std::string& data) {
  const server::ConfigFile file = TRY(server::read_config_file(data + "/" + server::config_name));
  server::Config config = TRY(server::parse_config(file.text, file.path, {.data = data}));
  if (!config.pair) return error(ErrorKind::invalid, "{} is not a blade of a pair", data);
  return config;
}

Result<json> ask(const std::string& data, const char* question) {
  const std::string answer = TRY(server::ask_server(data, question));
  json j = json::parse(answer, nullptr, false);
  if (!j.is_object()) return error(ErrorKind::io, "the server's answer was cut off");
  if (std::string_view(question) == server::status_question && !j.contains("pair"))
    return error(ErrorKind::invalid, "the server on {} was started without [pair]: start it anew", data);
  return j;
}

// ---- init, join, remove

int init(const server::PairSetup& setup) {
  if (const Result<void> made = server::init_pair(setup); !made) return refuse(made.error());
  fmt::print("The pair '{}' is made, and this blade, {}, is its first primary.\n\n", setup.name, setup.blade);
  fmt::print("  here               perdure serve --data {}\n", setup.data);
  fmt::print("  {:<18} copy {} to it (it holds its key: keep it secret, and delete it afterwards), then\n",
             "on " + setup.peer, setup.bundle);
  fmt::print("                     perdure cluster join BUNDLE --data DIR\n");
  fmt::print("                     perdure serve --data DIR\n");
  for (const std::string& address : setup.addresses)
    fmt::print("  clients            mount -t nfs -o vers=4.2{} {}:/ /mnt\n",
               setup.port == 2049 ? "" : fmt::format(",port={}", setup.port),
               address.substr(0, address.find('/')));
  fmt::print("\n`perdure cluster status --data {}` says how the pair is.\n", setup.data);
  return 0;
}

int join(const std::string& bundle, const std::string& data) {
  if (const Result<void> joined = server::join_pair(bundle, data); !joined) return refuse(joined.error());
  fmt::print("This blade is ready. Start it with: perdure serve --data {}\n", data);
  return 0;
}

int remove(const std::string& data, bool force) {
  if (const Result<void> gone = server::dissolve_pair(data, force); !gone) return refuse(gone.error());
  fmt::print(
      "The pair is dissolved. {} serves alone from its next start on; the other blade's data are of no "
      "use.\n",
      data);
  return 0;
}

// ---- status

std::string in_words(const server::PairConfig& pair, const mirror::Configuration& c, const std::string& blade,
                     const json* local) {
  const bool primary = c.primary.blade == blade;
  const bool in_sync =
      std::ranges::any_of(c.in_sync, [&](const mirror::Start& s) { return s.blade == blade; });
  std::string text = primary ? "primary" : in_sync ? "mirror, in sync" : "not in sync";
  if (local != nullptr && blade == pair.blade)
    text += fmt::format(" (this blade: {})", local->value("says", ""));
  if (local != nullptr && blade == pair.peer && local->contains("follower"))
    text += fmt::format(", {} KiB behind", (*local)["follower"].value("behind_bytes", 0ULL) / 1024);
  return text;
}

void print_outlook(const server::PairConfig& pair, const mirror::Configuration& c, bool arbiter) {
  const std::string& primary = c.primary.blade;
  const std::string& other = primary == pair.blade ? pair.peer : pair.blade;
  if (!c.alone() && arbiter) {
    fmt::print("if {} failed now: {} takes over within a second; nothing that was acknowledged is lost\n",
               primary, other);
    fmt::print("if {} failed now: {} goes on alone after a pause of less than a second\n", other, primary);
  } else if (!c.alone()) {
    fmt::print(
        "if {} failed now: NO SERVICE until it, or the arbiter, is back: without the arbiter {} may not take "
        "over\n",
        primary, other);
    fmt::print(
        "if {} failed now: NO SERVICE until it, or the arbiter, is back: without the arbiter {} may not go "
        "on alone\n",
        other, primary);
  } else {
    fmt::print("if {} failed now: NO SERVICE until it is back; {} is not in sync, and cannot take over\n",
               primary, other);
    fmt::print("if {} failed now: nothing changes\n", other);
  }
  if (arbiter)
    fmt::print("if the arbiter failed now: service goes on; until it is back {}\n",
               c.alone() ? "no mirror can join" : "no blade can take over, or go on alone");
}

int status(const std::string& data, bool as_json) {
  const Result<server::Config> config = config_of(data);
  if (!config) return refuse(config.error());
  const server::PairConfig& pair = *config->pair;
  server::EtcdClient arbiter(server::etcd_options(pair));
  const Result<mirror::Arbiter::Versioned> known = arbiter.read();
  const Result<json> asked = ask(data, server::status_question);
  json local = asked ? asked->value("pair", json::object()) : json::object();
  if (as_json) {
    const json j{
        {"arbiter", known ? json::parse(server::to_json(known->configuration)) : json(known.error().message)},
        {"server", asked ? *asked : json(asked.error().message)}};
    fmt::print("{}\n", j.dump(2, ' ', false, json::error_handler_t::replace));
    return known || asked ? 0 : 1;
  }
  mirror::Configuration c;
  if (known) {
    if (known->version == 0)
      return refuse(error(ErrorKind::not_found, "the arbiter knows nothing of the pair '{}'", pair.name));
    c = known->configuration;
  } else if (asked) {
    const auto start = [](const json& j) { return mirror::Start{j.value("blade", ""), 0}; };
    c.epoch = Epoch(local.value("epoch", 0ULL));
    c.primary = start(local.value("primary", json::object()));
    for (const json& s : local.value("in_sync", json::array())) c.in_sync.push_back(start(s));
  } else {
    fmt::print(stderr, "perdure: {}\n", known.error().message);
    return refuse(asked.error());
  }
  fmt::print("pair {}, epoch {}\n", pair.name, c.epoch.value);
  for (const std::string& blade : {pair.blade, pair.peer})
    fmt::print("  {:<12} {}\n", blade, in_words(pair, c, blade, asked ? &local : nullptr));
  for (const server::VserverAddress& address : pair.addresses)
    fmt::print("  {:<12} port {}, at {}\n", to_string(address), pair.port, c.primary.blade);
  fmt::print("  {:<12} {}\n", "arbiter", known ? "reached" : known.error().message);
  if (!asked) fmt::print("  {:<12} {}\n", "this server", asked.error().message);
  if (local.contains("paths"))
    fmt::print("  {:<12} {} of {} between the blades are up\n", "paths", local["paths"].value("up", 0ULL),
               local["paths"].value("configured", 0ULL));
  print_outlook(pair, c, known.has_value());
  return known && asked && !c.alone() ? 0 : 1;
}

// ---- planned work

Result<double> switch_over(const std::string& data) {
  const server::Config config = TRY(config_of(data));
  const json before = TRY(ask(data, server::status_question));
  const std::string primary = before.at("pair").at("primary").value("blade", "");
  const Clock::time_point began = Clock::now();
  const json answer = TRY(ask(data, server::switchover_question));
  if (!answer.value("done", false)) return error(ErrorKind::invalid, "{}", answer.value("error", "refused"));
  server::EtcdClient arbiter(server::etcd_options(*config.pair));
  constexpr auto patience = std::chrono::seconds(5);
  while (Clock::now() - began < patience) {
    const Result<mirror::Arbiter::Versioned> known = arbiter.read();
    if (known && known->configuration.primary.blade != primary)
      return std::chrono::duration<double, std::milli>(Clock::now() - began).count();
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return error(ErrorKind::io, "{} is still the primary after {} s; its messages say why", primary,
               patience.count());
}

int switchover(const std::string& data) {
  const Result<double> took = switch_over(data);
  if (!took) return refuse(took.error());
  fmt::print("The other blade is the primary, after {:.0f} ms.\n", *took);
  return 0;
}

int drain(const std::vector<std::string>& directories) {
  int result = 0;
  for (const std::string& data : directories) {
    const Result<server::Config> config = config_of(data);
    if (!config) return refuse(config.error());
    const Result<json> asked = ask(data, server::status_question);
    if (!asked) return refuse(asked.error());
    const std::string role = asked->at("pair").value("role", "");
    if (role != "primary") {
      fmt::print("{}: nothing to do, this blade is not the primary ({})\n", config->pair->name, role);
      continue;
    }
    if (const Result<double> took = switch_over(data); took)
      fmt::print("{}: moved to {} in {:.0f} ms\n", config->pair->name, config->pair->peer, *took);
    else
      result = refuse(took.error());
  }
  if (result == 0) fmt::print("This machine can be stopped.\n");
  return result;
}

std::string host_name() {
  char name[256] = {};
  ::gethostname(name, sizeof name - 1);
  return std::string(name).substr(0, std::string(name).find('.'));
}

void add_data(CLI::App& command, std::string& data) {
  command.add_option("--data", data, "Data directory (default perdure-data)")->type_name("DIR");
}

void add_init(CLI::App& cluster, int& exit_status) {
  auto setup = std::make_shared<server::PairSetup>();
  setup->data = "perdure-data";
  setup->blade = host_name();
  CLI::App* command = cluster.add_subcommand("init", "Makes a pair, with this blade as its first primary.");
  command->footer(
      "The data directory may be new, or that of a stopped server, whose files the pair then keeps.\n"
      "Prints what to do next.");
  add_data(*command, setup->data);
  command->add_option("--name", setup->name, "Of the pair in the arbiter (default vserver)");
  command->add_option("--blade", setup->blade, "This blade's name (default: the machine's)");
  command->add_option("--peer", setup->peer, "The other blade's name")->required();
  command->add_option("--listen", setup->listen, "Where the peer connects to this blade; a path each")
      ->required()
      ->type_name("ADDR:PORT");
  command->add_option("--peer-listen", setup->peer_listen, "The same of the other blade")
      ->required()
      ->type_name("ADDR:PORT");
  command->add_option("--arbiter", setup->arbiter, "Endpoints of etcd")->required()->type_name("URL");
  command
      ->add_option("--arbiter-authority", setup->arbiter_authority,
                   "For https: who has signed etcd's certificates")
      ->type_name("FILE");
  command->add_option("--arbiter-certificate", setup->arbiter_certificate, "What this blade shows to etcd")
      ->type_name("FILE");
  command->add_option("--arbiter-key", setup->arbiter_key, "And its key")->type_name("FILE");
  command->add_option("--address", setup->addresses, "Where clients connect: moves with the primary")
      ->type_name("IP/PREFIX@INTERFACE");
  command->add_option("--port", setup->port, "Of that address (default 2049)");
  command->add_option("--durability", setup->durability, "disk, mirror or disk+mirror (default disk)")
      ->type_name("LEVEL");
  command->add_option("--clients", setup->clients, "Networks that may connect (default: this machine)")
      ->type_name("NETWORK");
  command->add_option("--bundle", setup->bundle, "File for the other blade (default NAME-PEER.bundle)")
      ->type_name("FILE");
  command->callback([setup, &exit_status] {
    if (setup->bundle.empty()) setup->bundle = setup->name + "-" + setup->peer + ".bundle";
    exit_status = init(*setup);
  });
}

}  // namespace

void add_cluster(CLI::App& app, int& exit_status) {
  struct Options {
    std::string data = "perdure-data", bundle;
    std::vector<std::string> directories{"perdure-data"};
    bool json = false, force = false;
  };
  auto options = std::make_shared<Options>();
  CLI::App* cluster = app.add_subcommand("cluster", "Pairs: two blades that keep one vserver.");
  cluster->require_subcommand(1);
  add_init(*cluster, exit_status);
  CLI::App* command = cluster->add_subcommand("join", "Makes this blade the other one of a pair.");
  command->add_option("BUNDLE", options->bundle, "What `perdure cluster init` wrote")->required();
  add_data(*command, options->data);
  command->callback([options, &exit_status] { exit_status = join(options->bundle, options->data); });

  command = cluster->add_subcommand("status", "Who is what, and what would happen if a machine failed now.");
  command->footer("Exit status 0: the pair can stand the loss of either blade.");
  add_data(*command, options->data);
  command->add_flag("--json", options->json, "One JSON object instead of words");
  command->callback([options, &exit_status] { exit_status = status(options->data, options->json); });

  command =
      cluster->add_subcommand("switchover", "Makes the mirror the primary, without an error for any client.");
  command->footer("May be given on either blade.");
  add_data(*command, options->data);
  command->callback([options, &exit_status] { exit_status = switchover(options->data); });

  command = cluster->add_subcommand("drain", "Moves everything off this machine, before work on it.");
  command->add_option("--data", options->directories, "Data directories of its vservers")->type_name("DIR");
  command->callback([options, &exit_status] { exit_status = drain(options->directories); });

  command = cluster->add_subcommand("remove", "Dissolves a pair: this (stopped) blade goes on alone.");
  add_data(*command, options->data);
  command->add_flag(
      "--force", options->force,
      "Even if the other blade may have more, which is lost then, or the arbiter cannot be reached");
  command->callback([options, &exit_status] { exit_status = remove(options->data, options->force); });
}

}  // namespace perdure::tools
