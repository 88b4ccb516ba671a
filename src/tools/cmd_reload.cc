// `perdure reload`: the running server reads its configuration file again, and exports what that says.
#include <fmt/format.h>

#include <CLI/App.hpp>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "server/status.h"
#include "tools/commands.h"

namespace perdure::tools {
namespace {

int reload(const std::string& data) {
  const Result<std::string> answer = server::ask_server(data, server::reload_question);
  if (!answer) {
    fmt::print(stderr, "perdure: {}\n", answer.error().message);
    return 1;
  }
  const nlohmann::json j = nlohmann::json::parse(*answer, nullptr, false);
  if (j.is_object() && j.value("done", false)) return 0;
  fmt::print(stderr, "perdure: {}\n",
             j.is_object() ? j.value("error", "no reason was given") : "the server's answer was cut off");
  return 1;
}

constexpr const char* more =
    "Only the exports change: those that are new are made, those that are gone are answered with ESTALE,\n"
    "and clients work on meanwhile. Everything else counts from the next start on. What is wrong with the\n"
    "file is said, and then nothing changes.";

}  // namespace

void add_reload(CLI::App& app, int& exit_status) {
  auto data = std::make_shared<std::string>("perdure-data");
  CLI::App* command = app.add_subcommand(
      "reload", "Tells the running server to read the exports of its configuration again.");
  command->footer(more);
  command->add_option("DIR,--data", *data, "Data directory (default perdure-data)");
  command->callback([data, &exit_status] { exit_status = reload(*data); });
}

}  // namespace perdure::tools
