// `perdure check`: whether the data of a stopped server are consistent.
#include <fmt/format.h>

#include <CLI/App.hpp>
#include <chrono>
#include <cstdio>
#include <memory>

#include "server/check.h"
#include "server/messages.h"
#include "server/row_digest.h"
#include "server/stopped_vserver.h"
#include "tools/commands.h"
#include "tools/stopped_config.h"

namespace perdure::tools {
namespace {

constexpr int clean = 0, damaged = 1, unreadable = 3;

int refuse(int status, const Error& error) {
  fmt::print(stderr, "perdure: {}\n", error.message);
  return status;
}

void print_summary(const server::CheckFigures& figures, const server::StoppedVserver& stopped,
                   uint64_t findings, double seconds, bool data) {
  const fs::CheckFigures& f = figures.fs;
  const client::CheckFigures& c = figures.clients;
  fmt::print("checked       checkpoint up to LSN {}, and {} log records redone up to LSN {}\n",
             stopped.figures().applied, stopped.figures().records, stopped.figures().end);
  fmt::print("files         {} inodes, {} of them directories, with {} entries; {} extended attributes\n",
             f.inodes, f.directories, f.entries, f.xattrs);
  fmt::print("blocks        {} in use, {} to be freed after a checkpoint; {} pages in the log\n",
             f.used_blocks, f.freed_blocks, f.page_rows);
  if (data) fmt::print("data          {} blocks read and compared with their checksums\n", f.verified_blocks);
  fmt::print("clients       {} with {} sessions, {} opens, {} lock owners, {} locks\n", c.clients, c.sessions,
             c.opens, c.lock_states, c.locks);
  fmt::print("transactions  {} in flight\n", figures.transactions);
  fmt::print(
      "{} in {:.1f} s\n",
      findings == 0 ? std::string("clean") : fmt::format("{} finding{}", findings, findings == 1 ? "" : "s"),
      seconds);
}

int check(const StoppedOptions& options, bool data, bool digest) {
  server::set_up_messages("warn");
  const auto began = std::chrono::steady_clock::now();
  const Result<server::Config> config = config_of_stopped(options);
  if (!config) return refuse(usage_status, config.error());
  const auto stopped = server::StoppedVserver::open(*config);
  if (!stopped) {
    if (stopped.error().kind == ErrorKind::busy)
      return refuse(usage_status, error(ErrorKind::busy, "{}; stop the server before checking its data",
                                        stopped.error().message));
    if (stopped.error().kind == ErrorKind::not_found)
      return refuse(usage_status, error(ErrorKind::not_found, "{}: nothing has been served from there: {}",
                                        config->data, stopped.error().message));
    return refuse(unreadable, stopped.error());
  }
  server::StoppedVserver& s = **stopped;
  server::CheckArguments arguments{
      .fs = s.fs(), .clients = s.clients(), .transactions = s.transactions(), .blocks = s.blocks()};
  if (data)
    arguments.read_blocks = [&s](BlockNo first, MutableBytes into) { return s.read_blocks(first, into); };
  state::Findings findings([](const std::string& line) { fmt::print("{}\n", line); });
  const Result<server::CheckFigures> figures = server::check(arguments, findings);
  if (!figures) return refuse(unreadable, figures.error());
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
  print_summary(*figures, s, findings.count(), took.count(), data);
  if (digest) {
    const auto digests = server::digest_rows(s.database());
    if (!digests) return refuse(unreadable, digests.error());
    for (const server::TableDigest& d : *digests)
      fmt::print("digest        {:08x} {} {}\n", d.crc, d.table, d.rows);
  }
  return findings.count() == 0 ? clean : damaged;
}

constexpr const char* more =
    "Reads everything as a start of the server would, redoes the log in memory, and changes nothing.\n"
    "The server must be stopped, or have died; a copy of its directory can be checked while it runs.\n\n"
    "Exit status: 0 clean; 1 something was found; 2 the command line is wrong, or a server is running;\n"
    "3 the data cannot be read.";

}  // namespace

void add_check(CLI::App& app, int& status) {
  struct Options {
    StoppedOptions stopped;
    bool data = false, digest = false;
  };
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("check", "Checks the data of a stopped server for consistency.");
  command->footer(more);
  add_stopped_options(*command, options->stopped);
  command->add_flag("--data", options->data, "Reads all file data, too, and compares it with its checksums");
  command->add_flag(
      "--digest", options->digest,
      "Prints of each table how many rows it has, and a checksum: the same on both blades of a pair");
  command->callback([options, &status] { status = check(options->stopped, options->data, options->digest); });
}

}  // namespace perdure::tools
