// `perdure log`: the state machine log in words.
#include <fmt/format.h>

#include <CLI/App.hpp>
#include <charconv>
#include <cstdio>
#include <memory>
#include <thread>

#include "client/rows.h"
#include "env/linux/read_only_env.h"
#include "log/log_follower.h"
#include "server/log_view.h"
#include "server/messages.h"
#include "server/row_words.h"
#include "state/database.h"
#include "state/row_reader.h"
#include "store/rocksdb_beside_server.h"
#include "tools/commands.h"
#include "tools/stopped_config.h"

namespace perdure::tools {
namespace {

struct Options {
  StoppedOptions stopped;
  std::string transaction, client, from;
  bool follow = false, json = false;
};

constexpr int unreadable = 3;
constexpr auto poll_interval = std::chrono::milliseconds(100);

int refuse(int status, const Error& error) {
  fmt::print(stderr, "perdure: {}\n", error.message);
  return status;
}

// Clients that came before the oldest record have their names in the checkpoint. Without it they have none.
void learn_clients(const server::Config& config, server::LogView& view) {
  constexpr uint64_t cache_bytes = 1U << 20U;
  env::ReadOnlyEnv env;
  const auto store = store::open_rocksdb_beside_server(env, config.data + "/store", cache_bytes);
  if (!store) return;
  state::Database database(env, **store);
  state::Table<client::ClientRow> clients(database);
  state::RowReader<client::ClientRow> rows(clients, [](const std::string&) {});
  for (auto more = rows.next(); more && *more; more = rows.next())
    view.know_client(rows.key().client, server::client_name(rows.row()));
}

Result<server::LogFilter> filter_of(const Options& options) {
  server::LogFilter filter{.transaction = {}, .client = options.client};
  if (options.transaction.empty()) return filter;
  filter.transaction = server::parse_transaction(options.transaction);
  if (!filter.transaction)
    return error(ErrorKind::invalid, "--transaction {}: an id looks like 12.345", options.transaction);
  return filter;
}

Result<void> show(const Options& options, const server::Config& config, const server::LogFilter& filter) {
  server::LogView view(filter, options.json, [](const std::string& line) { fmt::print("{}\n", line); });
  learn_clients(config, view);
  const auto follower = TRY(log::LogFollower::open(config.log_path));
  auto extent = TRY(follower->find());
  if (!options.from.empty()) {
    uint64_t from = 0;
    const char* end = options.from.data() + options.from.size();
    if (const auto [at, problem] = std::from_chars(options.from.data(), end, from);
        problem != std::errc() || at != end)
      return error(ErrorKind::invalid, "--from {}: an LSN is a number", options.from);
    follower->begin_at(Lsn(from));
  } else if (options.follow) {
    follower->begin_at(extent.end);
  }
  const log::LogFollower::Consumer consumer{[&view](const log::LogFollower::Batch& batch, Bytes record,
                                                    Lsn lsn) { return view.record(batch, record, lsn); },
                                            [&view](Lsn from, Lsn to) { view.lost(from, to); }};
  for (;;) {
    const bool any = TRY(follower->read_more(consumer));
    if (any) std::fflush(stdout);
    if (any) continue;
    if (!options.follow) break;
    std::this_thread::sleep_for(poll_interval);
  }
  extent = TRY(follower->find());
  view.end(follower->position(), extent.last_start);
  return {};
}

int log_command(const Options& options) {
  server::set_up_messages("err");
  const Result<server::Config> config = config_of_stopped(options.stopped);
  if (!config) return refuse(usage_status, config.error());
  const Result<server::LogFilter> filter = filter_of(options);
  if (!filter) return refuse(usage_status, filter.error());
  const Result<void> shown = show(options, *config, *filter);
  if (shown) return 0;
  const bool usage = shown.error().kind == ErrorKind::invalid || shown.error().kind == ErrorKind::not_found;
  return refuse(usage ? usage_status : unreadable, shown.error());
}

constexpr const char* more =
    "Each record is one run of a transaction: its LSN, epoch, time (UTC), transaction, client; then its "
    "steps,\n"
    "each with the file handles behind it and the rows that it changed. Lines with ==== tell where a server\n"
    "process began, and which transactions it found in flight. Works beside a running server, too.\n\n"
    "Exit status: 0; 2 the command line is wrong; 3 the log cannot be read.";

}  // namespace

void add_log(CLI::App& app, int& status) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("log", "Shows the state machine log in words, record by record.");
  command->footer(more);
  add_stopped_options(*command, options->stopped);
  command->add_option("--transaction", options->transaction, "Only this one, as in 12.345")->type_name("ID");
  command
      ->add_option("--client", options->client,
                   "Only of this client: its id (0x...), or a part of its owner's or implementation's name")
      ->type_name("ID|NAME");
  command
      ->add_option("--from", options->from,
                   "Begin at this LSN (default: the oldest record that is there; with --follow, now)")
      ->type_name("LSN");
  command->add_flag("--follow", options->follow, "Goes on as the server writes, until Ctrl-C");
  command->add_flag("--json", options->json, "One JSON object per line");
  command->callback([options, &status] { status = log_command(*options); });
}

}  // namespace perdure::tools
