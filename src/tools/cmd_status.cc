// `perdure status`: what the running server on a data directory says of itself.
#include <fmt/format.h>

#include <CLI/App.hpp>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "server/status.h"
#include "tools/commands.h"

namespace perdure::tools {
namespace {

std::string bytes(const nlohmann::json& j, const char* key) {
  const double n = j.value(key, 0.0);
  return n < 1024 * 1024 ? fmt::format("{:.1f} KiB", n / 1024) : fmt::format("{:.1f} MiB", n / 1024 / 1024);
}

void print_log(const nlohmann::json& log) {
  fmt::print("log           next LSN {}, durable {}, in the checkpoint {}\n", log.value("next_lsn", 0ULL),
             log.value("durable_lsn", 0ULL), log.value("applied_lsn", 0ULL));
  if (log.contains("capacity_bytes"))
    fmt::print("              {} of {} used; start number {}\n", bytes(log, "used_bytes"),
               bytes(log, "capacity_bytes"), log.value("start_number", 0ULL));
  fmt::print("              {} records in {} writes of {:.3f} ms\n", log.value("records", 0ULL),
             log.value("batches", 0ULL), log.value("batch_ms", 0.0));
}

void print_transactions(const nlohmann::json& t) {
  const nlohmann::json in_flight = t.value("in_flight", nlohmann::json::array());
  fmt::print("transactions  {} finished, {} runs abandoned for a fetch, {} waits, {} in flight\n",
             t.value("finished", 0ULL), t.value("faults", 0ULL), t.value("waits", 0ULL), in_flight.size());
  for (const nlohmann::json& f : in_flight)
    fmt::print("              {} client {} {} step {} on inode {}: {} for {:.1f} ms\n",
               f.value("transaction", 0ULL), f.value("client", ""), f.value("operation", ""),
               f.value("step", 0), f.value("inode", 0ULL), f.value("state", ""), f.value("age_ms", 0.0));
}

// Of a blade of a pair.
void print_pair(const nlohmann::json& pair) {
  fmt::print("pair          {}: this blade, {}, is {} ({}), epoch {}\n", pair.value("name", ""),
             pair.value("blade", ""), pair.value("role", ""), pair.value("says", ""),
             pair.value("epoch", 0ULL));
  const nlohmann::json paths = pair.value("paths", nlohmann::json::object());
  fmt::print("paths         {} of {} to {} are up\n", paths.value("up", 0ULL),
             paths.value("configured", 0ULL), pair.value("peer", ""));
}

void print_clients(const nlohmann::json& c) {
  fmt::print(
      "clients       {} with {} sessions, {} opens, {} lock owners, {} lock rows, {} delegations; {} "
      "expired, {} replays answered\n",
      c.value("clients", 0ULL), c.value("sessions", 0ULL), c.value("opens", 0ULL),
      c.value("lock_states", 0ULL), c.value("lock_rows", 0ULL), c.value("delegations", 0ULL),
      c.value("expired", 0ULL), c.value("replays", 0ULL));
}

void print_memory(const nlohmann::json& m) {
  fmt::print("memory        {} resident: tables {}, pages {} (dirty {}, logged {}), store {}\n",
             bytes(m, "resident_bytes"), bytes(m, "tables_bytes"), bytes(m, "pages_bytes"),
             bytes(m, "dirty_bytes"), bytes(m, "page_row_bytes"), bytes(m, "store_bytes"));
}

void print_checkpoints(const nlohmann::json& p) {
  fmt::print("checkpoints   {} made, {} rows; the last took {:.1f} ms{}\n", p.value("made", 0ULL),
             p.value("rows_applied", 0ULL), p.value("last_ms", 0.0),
             p.value("under_way", false) ? "; one is under way" : "");
}

void print_restoration(const nlohmann::json& r) {
  fmt::print("restoration   {} records ({}) redone in {:.1f} ms, {} transactions resumed; {:.1f} ms in all\n",
             r.value("records_redone", 0ULL), bytes(r, "bytes_redone"), r.value("redo_ms", 0.0),
             r.value("transactions_resumed", 0ULL), r.value("total_ms", 0.0));
}

// A blade that follows a primary has a part of all this, and one that is not loaded nothing.
void print_words(const nlohmann::json& j) {
  if (j.contains("pair")) print_pair(j["pair"]);
  if (j.contains("vserver")) fmt::print("vserver       {}\n", j.value("vserver", ""));
  for (const nlohmann::json& e : j.value("exports", nlohmann::json::array()))
    fmt::print("export        {} from volume {}{}\n", e.value("path", ""), e.value("volume", ""),
               e.value("read_only", false) ? ", read-only" : "");
  if (j.contains("log")) print_log(j["log"]);
  if (j.contains("transactions")) print_transactions(j["transactions"]);
  if (j.contains("client_state")) print_clients(j["client_state"]);
  if (j.contains("memory")) print_memory(j["memory"]);
  if (j.contains("space"))
    fmt::print("space         {} of {} available\n", bytes(j["space"], "available_bytes"),
               bytes(j["space"], "total_bytes"));
  if (j.contains("checkpoint")) print_checkpoints(j["checkpoint"]);
  if (j.contains("restoration")) print_restoration(j["restoration"]);
}

int status(const std::string& data, bool as_json) {
  const Result<std::string> answer = server::ask_server(data, server::status_question);
  if (!answer) {
    fmt::print(stderr, "perdure: {}\n", answer.error().message);
    return 1;
  }
  if (as_json) {
    fmt::print("{}", *answer);
    return 0;
  }
  const nlohmann::json j = nlohmann::json::parse(*answer, nullptr, false);
  if (!j.is_object()) {
    fmt::print(stderr, "perdure: the server's answer was cut off\n");
    return 1;
  }
  print_words(j);
  return 0;
}

}  // namespace

void add_status(CLI::App& app, int& exit_status) {
  struct Options {
    std::string data = "perdure-data";
    bool json = false;
  };
  auto options = std::make_shared<Options>();
  CLI::App* command =
      app.add_subcommand("status", "Asks the running server: log, transactions in flight, clients, memory.");
  command->add_option("DIR,--data", options->data, "Data directory (default perdure-data)");
  command->add_flag("--json", options->json, "One JSON object instead of words");
  command->callback([options, &exit_status] { exit_status = status(options->data, options->json); });
}

}  // namespace perdure::tools
